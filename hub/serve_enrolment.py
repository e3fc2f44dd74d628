"""`besace-hub enrolment`: the enrolment server, and what keeps the broker's lists up to date; a process of its own."""

import argparse
import logging
import shlex
import signal
from pathlib import Path

from agent.errors import ProvisioningError
from hub.enrolment import Enrolment, EnrolmentServer
from hub.revocation import Follower
from provisioning import vault
from provisioning.enrol import Address
from provisioning.office import Office

log = logging.getLogger(__name__)


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to besace-hub's."""
    parser = commands.add_parser("enrolment", help="let bags enrol and renew; carry out revocations")
    parser.add_argument("--authority", type=Path, required=True, help="the authority's folder, without keys/root.vault")
    parser.add_argument("--passphrase-file", type=Path, required=True)
    parser.add_argument("--broker", required=True, metavar="HOST:PORT", help="where bags find the MQTT broker")
    parser.add_argument("--listen", default="0.0.0.0:8443", metavar="HOST:PORT")
    parser.add_argument("--nats", type=Path, help="the NATS server's folder, to keep its user list")
    parser.add_argument(
        "--kick", metavar="COMMAND", help="ends a bag's open session on a broker with a CRL; the bag's name is appended"
    )
    parser.add_argument(
        "--reload", metavar="COMMAND", help="makes a broker with a CRL read it again, e.g. 'systemctl reload mosquitto'"
    )
    parser.add_argument("--heads", type=Path, help="where besace-hub run leaves the ledgers' countersigned heads")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    passphrase = vault.read_passphrase(args.passphrase_file)
    office = Office(args.authority)
    broker, listen = Address.parse(args.broker), Address.parse(args.listen)
    enrolment = Enrolment(office, office.issuing(passphrase), (broker.host, broker.port), args.heads)
    kick, reload = shlex.split(args.kick or ""), shlex.split(args.reload or "")
    follower = Follower(enrolment, office.cards(passphrase), args.nats, kick, reload)
    server = EnrolmentServer(enrolment, listen.host, listen.port)
    office.journal.read()  # a damaged journal is said now, not at the first bag
    follower.start()

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    log.info("enrolment=up listen=%s", listen)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise ProvisioningError(f"the enrolment server ended: {error}\nNext: start it again") from None
    finally:
        follower.stop()
        server.server_close()
    return 0
