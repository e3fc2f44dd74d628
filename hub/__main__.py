"""`besace-hub run`: the reference hub's command line."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import BesaceError, ConfigError
from hub import serve_enrolment, visit_files, visits

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.store import Store


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="besace-hub", description="The reference hub: receives, stores, receipts.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve_enrolment.add_command(commands)
    visits.add_command(commands).add_argument("--state-dir", type=Path, required=True, help="where the database lives")
    visit_files.add_command(commands).add_argument(
        "--state-dir", type=Path, required=True, help="where the database lives"
    )
    run = commands.add_parser("run", help="receive until stopped")
    run.add_argument("--state-dir", type=Path, required=True, help="where the database lives")
    run.add_argument("--broker", required=True, metavar="HOST:PORT", help="the MQTT broker")
    run.add_argument("--server-name", default="hub", help="the name in the broker's certificate")
    run.add_argument("--ca", type=Path, required=True, help="the authority's root certificate")
    run.add_argument("--cert", type=Path, required=True, help="the hub's client certificate")
    run.add_argument("--key", type=Path, required=True, help="its private key")
    run.add_argument("--sealing-key", type=Path, required=True, help="the hub's private sealing key (X25519)")
    run.add_argument("--page-port", type=int, help="serve the doctor's page on this loopback port (0: any free one)")
    return parser


def _from_store(database: Path, lines: "Callable[[Store], list[str]]") -> int:
    from hub.store import Store

    if not database.exists():
        print(f"no hub has stored anything in {database}\nNext: correct --state-dir", file=sys.stderr)
        return 2
    store = Store(database)
    try:
        print("\n".join(lines(store)))
    except (BesaceError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0


def main() -> int:
    """Run the command; 0 ended in order, 2 wrong usage or configuration, 3 something cannot be reached."""
    args = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="level=%(levelname)s part=%(name)s %(message)s")
    if args.command == "enrolment":
        try:
            return serve_enrolment.run(args)
        except BesaceError as error:
            print(error, file=sys.stderr)
            return 3
    if args.command == "visits":
        return _from_store(args.state_dir / "hub.sqlite", lambda store: visits.lines(store, as_json=args.json))
    if args.command == "files":
        return _from_store(
            args.state_dir / "hub.sqlite",
            lambda store: visit_files.write_files(store, args.device, args.code, args.output, as_json=args.json),
        )
    from hub.app import HubSettings, run

    host, _, port = args.broker.rpartition(":")
    if not host or not port.isdigit():
        print(f"--broker is {args.broker!r}, must be HOST:PORT", file=sys.stderr)
        return 2
    settings = HubSettings(
        state_dir=args.state_dir,
        broker_host=host,
        broker_port=int(port),
        server_name=args.server_name,
        ca=args.ca,
        certificate=args.cert,
        key=args.key,
        sealing_key=args.sealing_key,
        page_port=args.page_port,
    )
    try:
        asyncio.run(run(settings, page_ready=lambda url: print(f"page {url}", flush=True)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except BesaceError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
