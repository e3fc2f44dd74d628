"""A bag to lend in tests: hand-driven clock, a database of its own, cards of one authority."""

import asyncio
import sqlite3
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import ledger
from agent.badges import Badge, Role, Utc, key_ring, make
from agent.clock import Timekeeper
from agent.custody import Say
from agent.health import Readiness
from agent.lending import desk as loan_desk
from agent.lending.desk import Sources, Terms
from agent.lending.inventory import Part, Supply
from agent.lending.loan import Loan
from agent.lending.selftest import SelfTest
from agent.lending.sentences import desk_words, tell
from agent.model import InstrumentState
from agent.transport.identity import Identity
from provisioning.authority import Authority

AUTHORITY = Authority.new("CPTS test")
CARDS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
T0 = int(datetime(2026, 11, 20, 7, 12, tzinfo=UTC).timestamp())
PARTS = (
    Part("SPO2-1", "oxymètre", essential=True, instrument="oximeter"),
    Part("BP-1", "tensiomètre", essential=True, instrument="cuff"),
    Part("OTO-1", "otoscope", essential=False),
)
SUPPLIES = (Supply("ELEC", "électrodes", 10), Supply("STRIP", "bandelettes", 5, "2026-10-31"))
SCHEMA = ledger.SCHEMA + "CREATE TABLE IF NOT EXISTS rows (place INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT;"


def make_identity(name="sac-04"):
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = AUTHORITY.issue_client(name, key.public_key())
    return Identity(certificate, key, X25519PrivateKey.generate().public_key())


IDENTITY = make_identity()


def card(role, label, number=1, key=CARDS, **changes):
    fields = {"issued_s": T0 - 3600, "from_day": 0, "days": 365} | changes
    return make(Badge(role, f"{number:06d}".encode(), label, **fields), key)


POINT = card(Role.LOAN_POINT, "Pharmacie", 1)
OTHER_POINT = card(Role.LOAN_POINT, "Maison santé", 2)
NURSE = card(Role.NURSE, "Mme D.", 3)
COLLEAGUE = card(Role.NURSE, "M. K.", 4)
TECHNICIAN = card(Role.TECHNICIAN, "Atelier", 5)
SHEET = {label: card(Role.SHEET, label, 10 + n) for n, label in enumerate(
    ("COMPLET", "INCOMPLET", "DESINFECTE", "CASSE", "CONSOMMABLES", "QUARANTAINE", "REMIS")
)}  # fmt: skip
LABELS = {part.tag: card(Role.PART, part.tag, 30 + n) for n, part in enumerate(PARTS)}


class FakeBag:
    """Everything the desk asks of the agent, set by hand; the ledger and the rows are in one real database."""

    def __init__(self, path=":memory:"):
        self.t_s = 1000.0
        self.anchored = True
        self.findings = ()
        self.visit = False
        self.seen = {"oximeter": 5.0, "cuff": 400.0}
        self.rows_waiting = 0
        self.plugged = False
        self.actions = []
        self.failing = asyncio.Event()
        self.failing.set()  # set: writes go through
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(SCHEMA)

    def now_ns(self):
        return int(self.t_s * 1e9)

    def utc(self):
        now = T0 + int(self.t_s) - 1000
        return Utc(now, now + 1) if self.anchored else Utc(T0 - 7200)

    def no_earlier_than(self, utc_s):
        self.floor_s = utc_s

    def due_s(self, utc_s):
        return utc_s // 86400 * 86400 + 18 * 3600  # 19:00 in a French winter

    def readiness(self):
        return Readiness(tuple(self.findings))

    def in_visit(self):
        return self.visit

    def seen_s(self):
        return self.seen

    def unreceipted(self):
        return self.rows_waiting

    def charging(self):
        return self.plugged

    async def store(self, entry):
        await self.failing.wait()
        self.db.execute("BEGIN IMMEDIATE")
        ledger.append(self.db, entry)
        self.db.execute("INSERT INTO rows (payload) VALUES (?)", (b"sealed" + entry.data,))
        self.db.execute("COMMIT")

    async def do(self, action):
        self.actions.append(action)


def loan_of(bag, *, identity=IDENTITY, revoked=None, parts=PARTS):
    return Loan(
        bag=bag, identity=identity, boot_id=bytes(16), entries=ledger.stored(bag.db),
        keys=key_ring([CARDS.public_key()]), revoked=revoked, parts=parts,
    )  # fmt: skip


class Desk:
    """A loan driven by scans one minute apart; remembers the last answer and its sentence."""

    def __init__(self, bag=None, **settings):
        self.bag = bag or FakeBag()
        self.loan = loan_of(self.bag, **settings)
        self.words = desk_words()

    def sentence(self, said):
        names = {part.tag: part.name for part in PARTS} | {"oximeter": "oxymètre", "cuff": "tensiomètre"}
        return tell(said, self.words, bag="sac-04", names=names, local=lambda s: datetime.fromtimestamp(s + 3600, UTC))

    async def scan(self, text, after_s=20.0):
        self.bag.t_s += after_s
        return await self.loan.scan(text)

    async def wait(self, seconds):
        self.bag.t_s += seconds
        return await self.loan.tick()

    async def placed(self):
        """Bring a new bag into service: lendable."""
        await self.loan.start()
        await self.scan(POINT)
        await self.wait(1)
        await self.wait(1)
        return self

    async def lent(self):
        await self.placed()
        await self.scan(POINT)
        await self.scan(NURSE)
        return self

    def acts(self):
        return [e.act for e in ledger.verify_ledger(ledger.stored(self.bag.db), "sac-04", [AUTHORITY.certificate])]


class HandClock:
    """Boot time by hand; UTC follows it."""

    boot_id = bytes(16)

    def __init__(self):
        self.t_s = 1000.0

    def now_ns(self):
        return int(self.t_s * 1e9)

    def utc_us(self):
        return int((T0 + self.t_s - 1000) * 1e6)


class DeskBag:
    """The agent's own Desk, and everything it asks of the agent's other parts, set by hand."""

    def __init__(self, folder, *, demo=True, cards=True):
        self.keys = folder / "identity"
        self.keys.mkdir(exist_ok=True)
        if cards:
            public = CARDS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (self.keys / "cards.pem").write_bytes(public)
        self.clock, self.disk = HandClock(), FakeBag()
        self.waiting, self.left_min = 0, None
        self.epochs, self.told, self.seen, self.serials = [], [], {}, {}
        self.disk_error, self.states, self.weak = "", {"oximeter": InstrumentState.MEASURING}, set()
        time = self.time = Timekeeper(self.clock, floor_us=IDENTITY.not_before_us)
        test = SelfTest(
            state_dir=folder, time=time, cap_bytes=1 << 30,
            essential={part.instrument: part.essential for part in PARTS if part.instrument},
            connected=lambda: True, unsent_bytes=lambda: 0, disk_error=lambda: self.disk_error,
            states=lambda: self.states, low_batteries=lambda: self.weak,
        )  # fmt: skip
        sources = Sources(
            in_visit=lambda: False, unreceipted=lambda: self.waiting, left_min=lambda: self.left_min,
            seen_s=lambda: self.seen, serial=self.serials.get,
            store=self.disk.store, begin_epoch=self.begin_epoch, said=self.told.append, time=time,
        )  # fmt: skip
        self.desk = loan_desk.Desk(
            sources=sources, terms=Terms("sac-04", PARTS, SUPPLIES, demo=demo), test=test, clock=self.clock,
            identity=IDENTITY, keys=self.keys, entries=ledger.stored(self.disk.db),
        )  # fmt: skip

    async def begin_epoch(self, reason):
        self.epochs.append(reason)

    async def scan(self, text, after_s=20.0):
        """A card is scanned; what the desk says."""
        self.clock.t_s += after_s
        said, sentence = await self.desk.scan(text)
        if said.say is Say.CONFIRM_PLEASE:  # this machine's own battery is low
            self.clock.t_s += 4
            said, sentence = await self.desk.scan(text)
        return sentence

    async def tick(self, seconds=1.0):
        """Time goes by."""
        self.clock.t_s += seconds
        await self.desk.loan.tick()

    async def lent(self):
        """Into service, and out with Mme D."""
        await self.desk.loan.start()
        await self.scan(POINT)
        await self.tick()
        await self.tick()
        await self.scan(POINT)
        await self.scan(NURSE)
        return self
