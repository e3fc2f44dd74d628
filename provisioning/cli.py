"""`besace-provision`: the authority's commands for the technician, and enrolment on the bag.

stdout is data, stderr is talk; 0 done, 1 a check failed, 2 usage, 3 refused or unreachable. Secrets come from files
or a terminal, never from arguments. Nothing here imports a radio, a page or the signal processing.
"""

import argparse
import datetime as dt
import json
import os
import sys
from pathlib import Path

from agent.badges import Role, read_keys
from agent.config import load
from agent.errors import ConfigError, HubError, ProvisioningError, StateError
from provisioning import badges, enrol, issue, labels, office, release, retire, revoke, unit, vault
from provisioning.authority import certificate_pem, write_private

ROLES = {
    "loan-point": Role.LOAN_POINT, "nurse": Role.NURSE, "technician": Role.TECHNICIAN, "part": Role.PART,
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="besace-provision", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    _authority_commands(commands)
    _bag_commands(commands)
    return parser


def _authority_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What the technician calls at the authority."""
    authority = argparse.ArgumentParser(add_help=False)
    authority.add_argument(
        "--dir", type=Path, default=Path(os.environ.get("BESACE_AUTHORITY", "authority")), help="the authority's folder"
    )
    secret = argparse.ArgumentParser(add_help=False)
    secret.add_argument("--passphrase-file", type=Path, help="its first line; asked for on a terminal otherwise")

    init = commands.add_parser("init", parents=[authority, secret], help="make the authority of one CPTS")
    init.add_argument("--name", required=True, help="the CPTS's name, in every certificate")
    init.add_argument("--host", action="append", default=[], help="a name or address the hub is reached at (repeat)")

    hub = commands.add_parser("hub", parents=[authority, secret], help="new certificates for the hub and its broker")
    hub.add_argument("--host", action="append", default=[], help="a name or address the hub is reached at (repeat)")
    hub.add_argument("--rotate-sealing-key", action="store_true", help="a new sealing key too")

    new = commands.add_parser("new", parents=[authority], help="a one-time token for a bag, good for 48 h")
    new.add_argument("name", help="such as sac-04")
    new.add_argument("-o", "--out", type=Path, help="the token file (default NAME.token)")

    badge = commands.add_parser("badge", parents=[authority, secret], help="make a card")
    badge.add_argument("role", choices=ROLES)
    badge.add_argument("label", help="what screens show, at most 12 characters")
    badge.add_argument("--days", type=int, help="how long it is valid")
    badge.add_argument("--from-day", type=int, default=0, help="days from today until it is")
    badge.add_argument("-o", "--out", type=Path, help="a .svg or .pdf (default: the card's text on stdout)")

    sheet = commands.add_parser("sheet", parents=[authority, secret], help="make the condition sheet (PDF)")
    sheet.add_argument("-o", "--out", type=Path, default=Path("fiche-etat.pdf"))

    label = commands.add_parser("label", help="the label on a bag, for whoever finds it")
    label.add_argument("name")
    label.add_argument("--site", required=True, help="a short web address, such as cpts.example")
    label.add_argument("-o", "--out", type=Path, help="a .svg or .pdf (default NAME.svg)")

    gone = commands.add_parser("revoke", parents=[authority, secret], help="take back a bag or a card")
    gone.add_argument("what", help="a bag's name, a card's id or its label")
    gone.add_argument("--why", default="lost", help="for the journal")

    listed = commands.add_parser("list", parents=[authority], help="bags, cards and open tokens")
    listed.add_argument("--json", action="store_true")

    crl = commands.add_parser(
        "crl", parents=[authority, secret], help="sign the CRL and the list of revoked cards anew"
    )
    crl.add_argument("--check", action="store_true", help="only say whether the CRL ends soon (exit 1)")

    sign = commands.add_parser("sign", parents=[authority, secret], help="offline: certify a request that was carried")
    sign.add_argument("request", type=Path)
    sign.add_argument("--broker", required=True, metavar="HOST:PORT", help="where the bag finds the hub's broker")
    sign.add_argument("--hub", required=True, metavar="HOST[:PORT]", help="where it renews")
    sign.add_argument("-o", "--out", type=Path, required=True)

    made = commands.add_parser(
        "release", parents=[authority, secret], help="sign a folder of wheels for bags to install"
    )
    made.add_argument("folder", type=Path, help="what make release made")


def _bag_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What is called on the bag."""
    bag = argparse.ArgumentParser(add_help=False)
    bag.add_argument("--etc", type=Path, default=enrol.ETC, help=f"default {enrol.ETC}")

    enrolled = commands.add_parser("enrol", parents=[bag], help="on the bag: make its key and get its certificate")
    enrolled.add_argument("name")
    enrolled.add_argument("--hub", required=True, metavar="HOST[:PORT]", help="the hub's enrolment server")
    enrolled.add_argument("--token-file", type=Path, required=True)
    enrolled.add_argument("--no-start", action="store_true", help="do not start the agent")

    request = commands.add_parser("request", parents=[bag], help="on the bag, offline: a request to be carried")
    request.add_argument("name")
    request.add_argument("-o", "--out", type=Path, required=True)

    install = commands.add_parser("install", parents=[bag], help="on the bag, offline: put the answer in place")
    install.add_argument("answer", type=Path)
    install.add_argument("--no-start", action="store_true", help="do not start the agent")

    renew = commands.add_parser("renew", parents=[bag], help="on the bag: what the timer calls")
    renew.add_argument("--force", action="store_true", help="renew now")

    check = commands.add_parser("check", parents=[bag], help="on the bag: is this release the authority's?")
    check.add_argument("folder", type=Path)

    ending = commands.add_parser("retire", parents=[bag], help="on the bag: erase it for good")
    ending.add_argument("name", help="the bag's own name, to be sure")
    ending.add_argument("--force", action="store_true", help="erase though the hub may not have everything")
    ending.add_argument("--no-stop", action="store_true", help="leave systemd alone")


# --- the authority -----------------------------------------------------------------------------------------------


def _init(args: argparse.Namespace) -> int:
    passphrase = vault.read_passphrase(args.passphrase_file, twice=True)
    office.init(args.dir, args.name, passphrase, args.host, now=office.utc_now())
    _say(f"The authority is in {args.dir}. Without its passphrase no bag or card can be made any more, and nobody can")
    _say("recover it: write it on paper and lock it away. Back up the folder; move keys/root.vault to a memory stick.")
    _say(f"Next: copy {args.dir}/hub to the hub; besace-provision new sac-01")
    return 0


def _hub(args: argparse.Namespace) -> int:
    here = office.Office(args.dir)
    issuing = here.issuing(vault.read_passphrase(args.passphrase_file))
    office.certify_hub(here, issuing, args.host, now=office.utc_now())
    if args.rotate_sealing_key:
        office.new_sealing_key(here, now=office.utc_now())
    _say(f"Next: copy {args.dir}/hub to the hub and restart it")
    return 0


def _new(args: argparse.Namespace) -> int:
    token = issue.new_token(office.Office(args.dir), args.name, now=office.utc_now())
    out = args.out or Path(f"{args.name}.token")
    write_private(out, token.text().encode())
    print(out)
    _say(f"Next, on the bag within 48 h: sudo besace-provision enrol {args.name} --hub HOST --token-file {out.name}")
    return 0


def _badge(args: argparse.Namespace) -> int:
    here = office.Office(args.dir)
    key = here.cards(vault.read_passphrase(args.passphrase_file))
    role = ROLES[args.role]
    card = badges.issue(here, key, role, args.label, now=office.utc_now(), from_day=args.from_day, days=args.days)
    if args.out is None:
        print(card.text)
    else:
        _print_cards([card], args.out)
    return 0


def _sheet(args: argparse.Namespace) -> int:
    here = office.Office(args.dir)
    key = here.cards(vault.read_passphrase(args.passphrase_file))
    _print_cards(badges.sheet(here, key, now=office.utc_now()), args.out)
    revoke.card_list(here, key, now=office.utc_now())
    return 0


def _label(args: argparse.Namespace) -> int:
    _print_cards([labels.bag_label(args.name, args.site)], args.out or Path(f"{args.name}.svg"))
    return 0


def _print_cards(cards: list[labels.Card], out: Path) -> None:
    if out.suffix == ".pdf":
        out.write_bytes(labels.sheet_pdf(cards))
    elif out.suffix == ".svg" and len(cards) == 1:
        out.write_text(labels.card_svg(cards[0]), encoding="utf-8")
    else:
        raise ProvisioningError(f"{out} must end in .pdf, or in .svg for a single card\nNext: correct --out")
    print(out)


def _revoke(args: argparse.Namespace) -> int:
    here, now = office.Office(args.dir), office.utc_now()
    passphrase = vault.read_passphrase(args.passphrase_file)
    if args.what in here.journal.read().devices:
        revoke.revoke_device(here, args.what, args.why, now=now)
        revoke.crl(here, here.issuing(passphrase), now=now)
        _say("The running hub takes the bag off its broker within a second.")
    else:
        revoke.revoke_card(here, args.what, args.why, now=now)
        revoke.card_list(here, here.cards(passphrase), now=now)
        _say("Bags learn it at their next hourly look at the hub.")
    return 0


def _list(args: argparse.Namespace) -> int:
    register, now = office.Office(args.dir).journal.read(), office.utc_now()
    bags = [
        {
            "bag": name,
            "until": _day(device.certificates[-1].not_after_s) if device.certificates else None,
            "revoked": _day(device.revoked_s) if device.revoked_s is not None else None,
        }
        for name, device in sorted(register.devices.items())
    ]
    cards = [
        {
            "id": card_id, "role": card.role, "label": card.label, "until": _day(card.ends_s),
            "revoked": _day(card.revoked_s) if card.revoked_s is not None else None,
        }
        for card_id, card in register.cards.items()
    ]  # fmt: skip
    open_tokens = [t.name for t in register.tokens.values() if not t.used_by and t.expires_s > now.timestamp()]
    if args.json:
        print(json.dumps({"bags": bags, "cards": cards, "open_tokens": open_tokens}, ensure_ascii=False))
        return 0
    for row in bags:
        print(f"{row['bag']:<16} until {row['until']}{'  REVOKED ' + row['revoked'] if row['revoked'] else ''}")
    for row in cards:
        revoked = "  REVOKED " + row["revoked"] if row["revoked"] else ""
        print(f"{row['id']} {row['role']:<11} {row['label']:<12} until {row['until']}{revoked}")
    for name in open_tokens:
        print(f"{name:<16} token not yet used")
    return 0


def _day(utc_s: int) -> str:
    return dt.datetime.fromtimestamp(utc_s, dt.UTC).strftime("%Y-%m-%d")


def _crl(args: argparse.Namespace) -> int:
    here, now = office.Office(args.dir), office.utc_now()
    if args.check:
        path = args.dir / "crl.pem"
        alarm = (
            revoke.crl_alarm(path.read_bytes(), now)
            if path.exists()
            else "there is no CRL yet\nNext: besace-provision crl"
        )
        _say(alarm or "the CRL is good for more than ten days")
        return 1 if alarm else 0
    passphrase = vault.read_passphrase(args.passphrase_file)
    revoke.crl(here, here.issuing(passphrase), now=now)
    revoke.card_list(here, here.cards(passphrase), now=now)
    print(args.dir / "crl.pem")
    print(args.dir / "revoked.cose")
    return 0


def _sign(args: argparse.Namespace) -> int:
    here = office.Office(args.dir)
    issuing = here.issuing(vault.read_passphrase(args.passphrase_file))
    leaf = issue.sign(here, issuing, issue.read_request(_read(args.request)), now=office.utc_now())
    broker, hub = enrol.Address.parse(args.broker), enrol.Address.parse(args.hub)
    answer = {
        "certificate": certificate_pem(leaf).decode(),
        "authority": (args.dir / "authority.pem").read_text(),
        "root": (args.dir / "root.pem").read_text(),
        "sealing_key": (here.hub / "sealing.pub").read_text(),
        "cards": (args.dir / "cards.pem").read_text(),
        "enrolment": str(hub),
        "broker": [broker.host, broker.port],
    }
    args.out.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
    print(args.out)
    return 0


def _release(args: argparse.Namespace) -> int:
    key = office.Office(args.dir).cards(vault.read_passphrase(args.passphrase_file))
    _say(f"{release.sign(args.folder, key)} files signed. Next, on each bag: sudo systemd/install.sh {args.folder}")
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProvisioningError(f"cannot read {path}: {error.strerror}\nNext: check the path") from None


# --- on the bag --------------------------------------------------------------------------------------------------


def _enrol(args: argparse.Namespace) -> int:
    token = issue.read_token_file(_read(args.token_file).decode(errors="replace"))
    if token.name != args.name:
        raise ProvisioningError(f"the token is for {token.name}, not {args.name}\nNext: take the right token file")
    place = enrol.Place(args.etc)
    enrol.enrol(place, token, enrol.Address.parse(args.hub), progress=lambda step: _say(f"  {step}"))
    return unit.bring_up(place, start=not args.no_start, say=_say)


def _request(args: argparse.Namespace) -> int:
    args.out.write_bytes(enrol.request_offline(enrol.Place(args.etc), args.name))
    print(args.out)
    _say(f"Next, at the authority: besace-provision sign {args.out.name} --broker HOST:PORT --hub HOST -o answer.json")
    return 0


def _install(args: argparse.Namespace) -> int:
    place = enrol.Place(args.etc)
    enrol.install_offline(place, _read(args.answer))
    return unit.bring_up(place, start=not args.no_start, say=_say)


def _renew(args: argparse.Namespace) -> int:
    renewed = enrol.renew(enrol.Place(args.etc), now=office.utc_now(), force=args.force)
    _say("renewed: used from the agent's next start on" if renewed else "not due yet; lists fetched")
    return 0


def _check(args: argparse.Namespace) -> int:
    keys = read_keys(_read(enrol.Place(args.etc).link / "cards.pem"))
    _say(f"{release.check(args.folder, keys)} files, signed by this bag's authority")
    return 0


def _retire(args: argparse.Namespace) -> int:
    place = enrol.Place(args.etc)
    config = load(place.config)
    if config.bag.name != args.name:
        raise ProvisioningError(f"this bag is {config.bag.name}\nNext: give its own name")
    try:
        if place.link.is_symlink():  # its end is where erasing begins: interrupted there, nobody is left to ask
            retire.bid_farewell(place, say=_say)
    except (StateError, ProvisioningError) as error:
        if not args.force:
            raise
        _say(f"forced, without a record at the hub: {str(error).splitlines()[0]}")
    if not args.no_stop:
        unit.take_down()
    retire.erase(place, config.bag.state_dir)
    _say(f"erased. Next, at the authority: besace-provision revoke {args.name} --why retired")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


_COMMANDS = {
    "init": _init, "hub": _hub, "new": _new, "badge": _badge, "sheet": _sheet, "label": _label, "revoke": _revoke,
    "list": _list, "crl": _crl, "sign": _sign, "enrol": _enrol, "request": _request, "install": _install,
    "renew": _renew, "retire": _retire, "release": _release, "check": _check,
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    args = _parser().parse_args(argv)
    try:
        return _COMMANDS[args.command](args)
    except ConfigError as error:
        _say(str(error))
        return 2
    except (ProvisioningError, HubError, StateError) as error:
        _say(str(error))
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
