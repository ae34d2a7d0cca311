"""A database with millions of messages in it, within minutes: rows that our own code wrote, many times over.

A template is played through a real store: messages accepted with a key, sent, submitted and delivered, and messages
that wait. SQLite itself then copies its rows, with what has to differ: ids that grow with time, recipients, keys, ids
of the carrier, numbers of events. So columns and their values are those of the store, whatever the schema is. Copies
are written in the order of time, as a node writes them. The audit is not copied: nothing looks into it but by its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from gateway.states import Category
from gateway.store.sqlite import SqliteStore
from gateway.store.sqlite.blocks import SIZE
from tests.gateway.store.samples import HOUR, NOW, TENANT, digest, key, message, receipt, send

TEMPLATE = 1_000  # messages of a kind
VALIDITY_ENDS = NOW + 24 * HOUR  # of the first message; each next one's ends a microsecond later
KEYS_END = NOW + HOUR  # the same for idempotency keys
ENDED_AFTER = 5_000_000  # microseconds from a delivered message's acceptance to its end
KINDS = ("delivered", "waiting")
BEGAN_MS = NOW // 1000 - 30_000_000  # of the first copy; each next one is accepted a millisecond later

# What is another than in the template's row, by table and column. :first is the number of the copy's first message,
# t_no that of the row's message in the template; t_step counts a message's events. All other columns are copied.
_NUMBER = "(:first + t_no)"
_ID = f"CAST(unhex(printf('%012x', {BEGAN_MS} + {_NUMBER})) || substr({{}}, 7) AS BLOB)"
_AT = f"({BEGAN_MS} + {_NUMBER}) * 1000"
_CARRIER_ID = f"printf('%012d', {_NUMBER})"
_CHANGES: dict[str, dict[str, str]] = {
    "message": {
        "id": _ID.format("id"),
        "recipient_hash": "randomblob(length(recipient_hash))",
        "block": f"2 + {_NUMBER} / {SIZE}",
        "done_at": f"iif(done_at IS NULL, NULL, {_AT} + {ENDED_AFTER})",
        "carrier_ids": f"iif(carrier_ids = '', '', {_CARRIER_ID})",
        "expires_at": f"expires_at + {_NUMBER}",  # so that there is a moment at which just a few are over
    },
    "body": {"id": _ID.format("id")},
    "event": {"message_id": _ID.format("message_id"), "seq": ":seq + t_no * :steps + t_step", "at": _AT},
    "carrier_ref": {"message_id": _ID.format("message_id"), "carrier_id": _CARRIER_ID},
    "key_record": {
        "no": "NULL",
        "key_hash": "randomblob(length(key_hash))",
        "message_id": _ID.format("message_id"),
        "expires_at": f"expires_at + {_NUMBER}",
    },
}
# A copy is less than a block, so at most one begins with it: where its number of a message can be divided by the size.
_BLOCK = (
    f"INSERT OR IGNORE INTO main.block (no, from_id) SELECT 2 + n / {SIZE},"  # noqa: S608 - constants
    f" CAST(unhex(printf('%012x', {BEGAN_MS} + n)) AS BLOB)"
    f" FROM (SELECT (:first + {TEMPLATE - 1}) / {SIZE} * {SIZE} AS n)"
)
# The first message of all may be younger than the copies.
_STRAY = (
    "UPDATE main.message SET block = (SELECT no FROM main.block WHERE from_id <= id ORDER BY from_id DESC LIMIT 1)"
    " WHERE block = 1"
)
# Keys in runs, as a node leaves them after quiet moments: all but the newest. One that was half written is made anew.
_WHOLE = "no > (SELECT ifnull(max(last), -1) FROM main.key_run)"
_FULL = _WHOLE + " AND no < (SELECT max(no) FROM main.key_record) >> 15 << 15"  # noqa: S608
_OF_FULL = "FROM main.key_record WHERE " + _FULL
_ENTRIES = f"SELECT no >> 15, key_hash, no {_OF_FULL} ORDER BY 1, 2"
_RUNS = (
    "DELETE FROM main.key_entry WHERE run IN (SELECT no FROM main.key_run WHERE parts < 16)",
    "DELETE FROM main.key_run WHERE parts < 16",
    f"INSERT INTO main.key_entry (run, key_hash, no) {_ENTRIES}",
    f"INSERT INTO main.key_run (no, last, parts) SELECT DISTINCT no >> 15, no | 32767, 16 {_OF_FULL}",
)


class Filled:
    """A database that grows. Nobody else may have its file open meanwhile."""

    def __init__(self, path: Path) -> None:
        """Make it at `path`, with a template of each kind beside it."""
        self.path = path
        self.have = dict.fromkeys(KINDS, 0)
        self._templates = {kind: path.with_name(f"{kind}.db") for kind in KINDS}
        asyncio.run(_play(path, messages=0))
        asyncio.run(_play(self._templates["delivered"], messages=TEMPLATE, delivered=True))
        asyncio.run(_play(self._templates["waiting"], messages=TEMPLATE))

    @property
    def stored(self) -> int:
        """How many messages have been filled in."""
        return sum(self.have.values())

    def grow(self, *, delivered: int, waiting: int) -> None:
        """Add copies until so many are there, in multiples of TEMPLATE."""
        for kind, wanted in zip(KINDS, (delivered, waiting), strict=True):
            if wanted > self.have[kind]:
                with _filling(self.path, self._templates[kind]) as db:
                    self._copy(db, kind, wanted)

    def _copy(self, db: apsw.Connection, kind: str, wanted: int) -> None:
        statements = [_statement(db, table) for table in _CHANGES]
        steps, seq = _number(db, "SELECT max(t_step) FROM t_event"), _number(db, "SELECT max(seq) FROM main.event")
        with db:
            while self.have[kind] < wanted:
                bindings = {"first": self.stored, "seq": seq, "steps": steps}
                db.execute(_BLOCK, bindings)
                for statement in statements:
                    db.execute(statement, bindings)
                seq += TEMPLATE * steps
                self.have[kind] += TEMPLATE
            db.execute(_STRAY)
            for statement in _RUNS:
                db.execute(statement)


async def _play(path: Path, *, messages: int, delivered: bool = False) -> None:
    """Make a database with so many messages that wait, or that have been delivered."""
    store = SqliteStore(path)
    await store.open()
    try:
        numbers = range(messages)
        new = [
            message(
                category=Category.PROMOTIONAL,
                claimed=delivered,
                idempotency=key(f"k{n}", expires_at=KEYS_END),
                recipient_hash=digest(f"r{n}"),
                envelope=digest(f"e{n}", 60) * 2,
                content=digest(f"c{n}", 50) * 4,
                expires_at=VALIDITY_ENDS,
            )
            for n in numbers
        ]
        await store.accept(new)
        if delivered:
            await send(store, new, [f"id-{n}" for n in numbers])
            await store.receipts([receipt(f"id-{n}") for n in numbers])
        elif not messages:  # so that tenant and carrier have their numbers
            await store.accept([probe := message(tenant=TENANT)])
            await send(store, [probe], ["probe"])
            await store.receipts([receipt("probe")])
    finally:
        await store.close()


@contextmanager
def _filling(path: Path, template: Path) -> Iterator[apsw.Connection]:
    """Open the database for quick writing, with the template's rows numbered in the tables t_message and so on."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000", "temp_store = MEMORY"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.execute("ATTACH ? AS template", (str(template),))
        for table in _CHANGES:
            by = "id" if table in ("message", "body") else "message_id"
            step = "row_number() OVER (PARTITION BY x.message_id ORDER BY x.seq)" if table == "event" else "1"
            db.execute(
                f"CREATE TEMP TABLE t_{table} AS SELECT x.*, m.t_no, {step} AS t_step FROM template.{table} AS x JOIN"  # noqa: S608
                " (SELECT id AS t_id, row_number() OVER (ORDER BY id) - 1 AS t_no FROM template.message) AS m"
                f" ON m.t_id = x.{by} ORDER BY m.t_no, t_step"
            )
        yield db
    finally:
        db.close()


def _number(db: apsw.Connection, query: str) -> int:
    ((number,),) = db.execute(query).fetchall()
    return int(str(number))


def _statement(db: apsw.Connection, table: str) -> str:
    """Return what copies the template's rows of a table once."""
    columns = [str(row[1]) for row in db.execute(f"PRAGMA main.table_info({table})")]
    changes = _CHANGES[table]
    values = ", ".join(changes.get(column, column) for column in columns)
    return f"INSERT INTO main.{table} ({', '.join(columns)}) SELECT {values} FROM t_{table} ORDER BY rowid"  # noqa: S608
