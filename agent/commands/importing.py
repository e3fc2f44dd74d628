"""What `besace import` does: leaves the file where the agent may read it, and asks the agent to take it."""

import secrets
from pathlib import Path

from agent.config import Config
from agent.control import ask
from agent.errors import ConfigError, StateError
from agent.importing import read_document

TAKE_S = 30.0


def import_file(config: Config, path: Path, *, anyway: bool) -> str:
    """Give a file to the open visit; what the agent says of it. The file itself stays as it is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}\nNext: ls -l {path}") from None
    read_document(data)  # what is no document is not even left there
    left = config.bag.runtime_dir / f"import-{secrets.token_hex(8)}"
    try:
        left.touch(mode=0o600, exist_ok=False)
        left.write_bytes(data)
    except OSError as error:
        raise StateError(
            f"cannot leave the file in {left.parent}: {error.strerror}\nNext: sudo -u besace besace import {path}"
        ) from None
    try:
        asked = {"do": "import", "file": left.name, "anyway": anyway}
        answer = ask(config.bag.control_socket, asked, timeout_s=TAKE_S)
    finally:
        left.unlink(missing_ok=True)
    return f"{answer['said']}  sha256 {answer['sha256']}"
