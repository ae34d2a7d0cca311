"""Blocks: messages in the order of their ids, some thousand each, and what looks for recipients in one after another.

Hashes of recipients come in no order, so one index over all of them changes another page for each message: one of the
log, and one of its checkpoint. Within the block that is being filled they share few pages, and what is older is only
read. A look-up takes a step into the index for each block that it asks about, so those that are full are merged
(`gateway.store.sqlite.runs`).

The blocks part the messages by their ids, so going through them from the newest gives messages in the order of their
ids, and stops when a page is full. Messages of before there were blocks are in an index of their own, and those that
come when their block has been merged.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import apsw

from gateway.store.engine.statements import Value
from gateway.store.sqlite.bulk import Select, fetch
from gateway.store.sqlite.runs import MERGED

SIZE = 4_096  # messages of a block, at least; what comes late goes to where its id belongs

NEWEST = "SELECT no, from_id FROM block ORDER BY no DESC LIMIT 1"
FILLED = "SELECT count(*), max(id) FROM message INDEXED BY message_block WHERE block = ?"
_BEGIN = "INSERT INTO block (no, from_id) VALUES (?, ?)"
OF_ID = "SELECT no FROM block WHERE from_id <= ? ORDER BY from_id DESC LIMIT 1"
# NULL where that is in a run, or will be.
OPEN = (
    "SELECT iif(no > (SELECT ifnull(max(last), 0) FROM run), no, NULL) FROM block"
    " WHERE from_id <= ? ORDER BY from_id DESC LIMIT 1"
)
OF_MESSAGE = "SELECT block FROM message WHERE tenant_no = ? AND id = ?"
_VERSION_BYTES = 2  # of a hash: they stand for its index key


class Blocks:
    """Where the writer's new messages go (mutable; hot). It belongs to the writer's thread."""

    __slots__ = ("_db", "_from", "_last", "_left", "_no")

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._no = 0
        self._from = self._last = b""  # the least id of the newest block, and the greatest in it
        self._left = 0  # messages until the next one

    def load(self) -> None:
        """Take what the database knows."""
        ((self._no, self._from),) = fetch(self._db, NEWEST)
        ((filled, last),) = fetch(self._db, FILLED, (self._no,))
        self._last = last or self._from
        self._left = SIZE - filled

    def place(self, message_id: bytes) -> int | None:
        """Return the block of a new message; None for one of a block that has been merged."""
        if message_id < self._from:  # made before the newest block began
            ((number,),) = fetch(self._db, OPEN, (message_id,))
            return None if number is None else int(number)
        if self._left <= 0 and message_id > self._last:
            self._begin()
        self._left -= 1
        if message_id > self._last:
            self._last = message_id
        return self._no

    def _begin(self) -> None:
        """Begin a block behind all messages."""
        self._no, self._from, self._left = self._no + 1, self._last + b"\x00", SIZE
        self._db.execute(_BEGIN, (self._no, self._from))


class Part(NamedTuple):
    """Where a recipient's messages can be: whether there are any, which is said ten times as quickly, and all."""

    any: str
    select: str


class ByRecipient:
    """A SELECT of messages by recipient, the newest first: of blocks, of runs, and of what is in neither."""

    def __init__(self, columns: str, of_blocks: str, of_runs: Part, of_old: Part) -> None:
        """All take the same bindings, of which the third is the limit, and all but `of_old` the last block that is in
        a run; `id` is the second of `columns`."""
        self.blocks = Select(columns, of_blocks)
        self.any_run, self.runs = of_runs.any, Select(columns, of_runs.select)
        self.any_old, self.old = of_old.any, Select(columns, of_old.select)
        self.text = self.blocks.text

    def rows(self, db: apsw.Connection, bindings: Sequence[Value]) -> list[Any]:
        """Return the rows as tuples."""
        # Each is a view of its own. What is merged between them stays in its blocks, and is asked for there.
        ((merged,),) = fetch(db, MERGED)
        tenant, before, limit, *rest = bindings
        found = self.blocks.rows(db, (*bindings, merged))
        left = int(limit or 0) - len(found)
        behind = (tenant, before, left, *rest, merged)
        if left and merged and fetch(db, self.any_run, behind):
            found += self.runs.rows(db, behind)
        if not fetch(db, self.any_old, bindings):
            return found
        old = self.old.rows(db, bindings)
        newest = heapq.merge(found, old, key=lambda row: row[1], reverse=True)
        return list(islice(newest, int(limit or 0)))


class HashedPage:
    """A SELECT of messages under a version of the index key: what is older than blocks first, then block by block."""

    def __init__(self, columns: str, of_blocks: str, of_old: str) -> None:
        """`of_old` takes tenant_no, hash, id, what is greater than all hashes of the version, and limit; `of_blocks`
        the number of the block, too, and the least hash of the version."""
        self.blocks, self.old = Select(columns, of_blocks), Select(columns, of_old)
        self.text = self.blocks.text

    def rows(self, db: apsw.Connection, bindings: Sequence[Value]) -> list[Any]:
        """Return the rows behind the message that the last page ended with."""
        tenant_no, last_hash, last_id, end, limit = bindings
        number = self._place(db, tenant_no, last_id)
        found = [] if number else self.old.rows(db, bindings)
        left = int(limit or 0) - len(found)
        if not left:
            return found
        least = bytes(last_hash or b"")[:_VERSION_BYTES]  # type: ignore[arg-type]  # octets
        return found + self.blocks.rows(db, (tenant_no, last_hash, last_id, end, left, number, least))

    def _place(self, db: apsw.Connection, tenant_no: Value, message_id: Value) -> int:
        """Return the block of a message, 0 for none: of one that is gone, where it was."""
        if not message_id:
            return 0
        found = fetch(db, OF_MESSAGE, (tenant_no, message_id)) or fetch(db, OF_ID, (message_id,))
        return found[0][0] or 0
