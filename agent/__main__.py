"""`besace`: the agent's command line. stdout is data, stderr is talk; 0 ok, 1 failed check, 2 usage, 3 unreachable."""

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# One thread of linear algebra is enough for a bag, and each more costs memory; numpy reads this when imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from agent import __version__
from agent.errors import BesaceError, ConfigError

if TYPE_CHECKING:
    from agent.config import Config

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

    _instrument_parsers(commands)

    doctor = commands.add_parser("doctor", help="examine this bag: ok, warn or FAIL, and the command that repairs")
    doctor.add_argument("--json", action="store_true", help="one JSON object a line")
    bring = commands.add_parser("import", help="give a 12-lead recording (SCP-ECG) or a PDF to the open visit")
    bring.add_argument("file", type=Path)
    bring.add_argument("--anyway", action="store_true", help="though the recording says it was taken at another time")
    identify = commands.add_parser("identify", help="let this bag say for 15 s that it is the one looked for")
    erase = commands.add_parser(
        "wipe", help="erase what the hub does not have of this bag's visits; the agent must rest"
    )
    erase.add_argument("--unsent", action="store_true", help="though it is lost then")
    for command in (doctor, identify, bring, erase):
        command.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")

    ledger = commands.add_parser("ledger", help="the custody log")
    ledger.add_argument("step", choices=["verify"])
    ledger.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")
    ledger.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _instrument_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    which = "a key of the catalogue, or a family: oximeter, blood-pressure, ecg..."
    watch = commands.add_parser(
        "watch", help="show what an instrument gives, through the running agent if there is one"
    )
    watch.add_argument("--json", action="store_true", help="one JSON object a line, with every sample")
    record = commands.add_parser("record", help="write down what an instrument sends, as text that replays as a test")
    record.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="must not be there yet")
    for command in (watch, record):
        command.add_argument("instrument", help=which)
        command.add_argument("--at", metavar="WHERE", help="port or address (default: as configured)")
        command.add_argument("--seconds", type=float, help="end by itself (default: until Ctrl-C)")
    replay = commands.add_parser("replay", help="play a capture back; exit 1 if it no longer gives what it says")
    replay.add_argument("file", type=Path)
    replay.add_argument("--json", action="store_true", help="one JSON object a line, with every sample")
    pair = commands.add_parser("pair", help="bond with a Bluetooth instrument, once")
    pair.add_argument("instrument", help=which)
    pair.add_argument("address", nargs="?", help="default: as configured, else whatever answers to the description")
    pair.add_argument("--passkey-file", type=Path, metavar="FILE", help="the six digits, where there is no terminal")
    unpair = commands.add_parser("unpair", help="forget a bond")
    unpair.add_argument("instrument", help="a key of the catalogue, a family, or an address")
    for command in (watch, record, pair, unpair):
        command.add_argument("--config", type=Path, default=CONFIG, help=f"default {CONFIG}")


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
    for name in ("bag", "visit", "code", "connected", "unreceipted", "disk_error", "custody", "self_test", "rss_mib"):
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
    from agent.commands.custody import scan
    from agent.config import load

    print(scan(load(args.config), args.text)["sentence"])
    return 0


def _ledger(args: argparse.Namespace) -> int:
    from agent.commands.custody import verify
    from agent.config import load
    from agent.ledger import LedgerError

    try:
        found = verify(load(args.config))
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 1
    known = "no entry" if found["countersigned"] is None else f"entry {found['countersigned']}"
    print(json.dumps(found) if args.json else f"{found['entries']} entries, whole; the hub vouches for {known}")
    return 0


def _config_if_any(path: Path) -> "Config | None":
    """The configuration; None where this machine has none (a technician's, with --at or an address)."""
    from agent.config import load

    return None if path == CONFIG and not path.exists() else load(path)


def _talk(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(text, flush=True)


def _watch(args: argparse.Namespace) -> int:
    from agent.commands.instruments import target, watch

    config = _config_if_any(args.config)
    wanted = target(args.instrument, config, args.at)
    if watch(wanted, config, seconds=args.seconds, as_json=args.json, out=_say):
        return 0
    _talk(f"{wanted.key} gave nothing\nNext: wake it, then again; besace doctor looks at the rest")
    return 1


def _record(args: argparse.Namespace) -> int:
    from agent.commands.instruments import alone, record, target

    config = _config_if_any(args.config)
    alone(config, "record")
    pieces = record(target(args.instrument, config, args.at), args.output, seconds=args.seconds, talk=_talk)
    if not pieces:
        _talk("it sent nothing\nNext: wake it, then again")
        return 1
    _talk(f"{pieces} pieces in {args.output}\nNext: besace replay {args.output}")
    return 0


def _replay(args: argparse.Namespace) -> int:
    from agent.commands.instruments import show_replay

    return 0 if show_replay(args.file, as_json=args.json, out=_say, talk=_talk) else 1


def _pair(args: argparse.Namespace) -> int:
    from agent.commands.instruments import alone
    from agent.commands.pairing import Passkey, config_lines, configured, pair_now, pairing_target

    config = _config_if_any(args.config)
    wanted = pairing_target(args.instrument, config, args.address)
    alone(config, "pair")
    address = pair_now(wanted, Passkey(args.passkey_file), talk=_talk)
    _talk("paired")
    if not configured(config, wanted.key, address):
        _talk(f"Next: add these lines to {args.config}, then sudo systemctl restart besace")
    for line in config_lines(wanted.key, address):
        _say(line)
    return 0


def _unpair(args: argparse.Namespace) -> int:
    from agent.commands.pairing import is_address, pairing_target, unpair_now

    config = _config_if_any(args.config)
    address = args.instrument if is_address(args.instrument) else pairing_target(args.instrument, config, None).where
    if not address:
        _talk(f"no address is known for {args.instrument}\nNext: besace unpair ADDRESS")
        return 2
    unpair_now(address)
    _talk(f"the bond with {address} is forgotten")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from agent.commands.doctor import Line, as_dict, as_text, diagnose
    from agent.config import load

    def say(line: Line) -> None:
        _say(json.dumps(as_dict(line), ensure_ascii=False) if args.json else as_text(line))

    return 0 if diagnose(lambda: load(args.config), say) else 1


def _import(args: argparse.Namespace) -> int:
    from agent.commands.importing import import_file
    from agent.config import load

    _say(import_file(load(args.config), args.file, anyway=args.anyway))
    return 0


def _wipe(args: argparse.Namespace) -> int:
    from agent.commands.wiping import wipe
    from agent.config import load

    _say(wipe(load(args.config), sure=args.unsent))
    return 0


def _identify(args: argparse.Namespace) -> int:
    from agent.config import load
    from agent.control import ask

    ask(load(args.config).bag.control_socket, {"do": "identify"})
    return 0


_COMMANDS = {
    "run": _run,
    "demo": _demo,
    "status": _status,
    "visit": _visit,
    "scan": _scan,
    "ledger": _ledger,
    "watch": _watch,
    "record": _record,
    "replay": _replay,
    "pair": _pair,
    "unpair": _unpair,
    "doctor": _doctor,
    "identify": _identify,
    "import": _import,
    "wipe": _wipe,
}


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
