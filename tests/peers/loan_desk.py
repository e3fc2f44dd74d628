"""A bag to lend in tests: hand-driven clock, a database of its own, cards of one authority."""

import asyncio
import sqlite3
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent import ledger
from agent.badges import Badge, Role, Utc, key_ring, make
from agent.display.desk import desk_words, tell
from agent.health import Readiness
from agent.inventory import Part
from agent.loan import Loan
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
