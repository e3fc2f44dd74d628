"""`besace`: the agent's command line. stdout is data, stderr is talk; 0 ok, 1 failed check, 2 usage, 3 unreachable."""

import argparse
import json
import logging
import os
import sys
from pathlib import Path

# One thread of linear algebra is enough for a bag, and each more costs memory; numpy reads this when imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from agent import __version__
from agent.errors import BesaceError, ConfigError

CONFIG = Path("/etc/besace/besace.toml")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="besace", description="The agent inside a connected medical backpack.")
    parser.add_argument("--version", action="version", version=f"besace {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="work as this bag until stopped (what systemd starts)")
    run.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")
    run.add_argument("--verbose", action="store_true", help="log what is refused and why")

    demo = commands.add_parser("demo", help="a whole bag, broker and hub on this machine, with simulated instruments")
    demo.add_argument("--headless", action="store_true", help="no pages, no live status")
    demo.add_argument("--seconds", type=float, help="end by itself after so long (default: until Ctrl-C)")
    demo.add_argument("--json", action="store_true", help="print the outcome as one JSON object")
    demo.add_argument("--seed", type=int, default=1, help="of the simulated instruments' noise")
    demo.add_argument("--page-port", type=int, default=8080, help="the nurse's page (the doctor's is the next port)")
    demo.add_argument(
        "--kill", action="append", default=[], metavar="PART@SECOND",
        help="kill the agent, the broker or the hub (SIGKILL) and start it again, e.g. agent@8",
    )  # fmt: skip
    demo.add_argument("--keep", type=Path, metavar="DIR", help="leave every file of the run in DIR")

    status = commands.add_parser("status", help="what the running agent is doing")
    status.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")
    status.add_argument("--json", action="store_true", help="one JSON object")

    visit = commands.add_parser("visit", help="begin or end a visit on the running agent")
    visit.add_argument("step", choices=["new", "end"])
    visit.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")

    scan = commands.add_parser("scan", help="give the running agent a card's text, as its scanner would")
    scan.add_argument("text", help="BSC1:…")
    scan.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")

    ledger = commands.add_parser("ledger", help="the custody log")
    ledger.add_argument("step", choices=["verify"])
    ledger.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")
    ledger.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _run(args: argparse.Namespace) -> int:
    from agent.config import load

    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="level=%(levelname)s part=%(name)s %(message)s",
    )
    for noisy in ("bumble", "bleak", "asyncio", "mqtt"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    config = load(args.config)
    from agent.app import run

    run(config)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from agent.demo import demo

    return demo(
        headless=args.headless,
        seconds=args.seconds,
        as_json=args.json,
        seed=args.seed,
        page_port=args.page_port,
        keep=args.keep,
        kill=args.kill,
    )


def _status(args: argparse.Namespace) -> int:
    from agent.config import load
    from agent.control import ask

    status = ask(load(args.config).bag.control_socket, {"do": "status"})
    if args.json:
        print(json.dumps(status, ensure_ascii=False))
        return 0
    for name in ("bag", "visit", "code", "connected", "unreceipted", "disk_error", "rss_mib"):
        print(f"{name:12} {status[name]}")
    for key, part in status["instruments"].items():
        print(f"{key:16} {part['state']:11} failures {part['failures']}  {part['last_error']}")
    return 0


def _visit(args: argparse.Namespace) -> int:
    from agent.config import load
    from agent.control import ask

    answer = ask(load(args.config).bag.control_socket, {"do": f"{args.step}_visit"})
    if args.step == "new":
        print(answer["code"])
    return 0


def _scan(args: argparse.Namespace) -> int:
    from agent.config import load
    from agent.custody_commands import scan

    print(scan(load(args.config), args.text)["sentence"])
    return 0


def _ledger(args: argparse.Namespace) -> int:
    from agent.config import load
    from agent.custody_commands import verify
    from agent.ledger import LedgerError

    try:
        found = verify(load(args.config))
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 1
    known = "no entry" if found["countersigned"] is None else f"entry {found['countersigned']}"
    print(json.dumps(found) if args.json else f"{found['entries']} entries, whole; the hub vouches for {known}")
    return 0


_COMMANDS = {"run": _run, "demo": _demo, "status": _status, "visit": _visit, "scan": _scan, "ledger": _ledger}


def main() -> int:
    """Run one command."""
    args = _parser().parse_args()
    try:
        return _COMMANDS[args.command](args)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except BesaceError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
