"""The commits that have a message's records, found without a search through the log and without an index.

The message's row says when it was accepted, last sent, submitted and done. Commits are in the order of their times, so
each of these leads to the commit that made the change, or to one shortly before it. Where that does not give every step
(a message that was tried several times, one in doubt), what was committed since its acceptance is read from there on
until nothing is missing. All of it is bounded in octets; what was not found is not in the receipt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from gateway.proving.way import Place, places_of, way_of
from gateway.store.contract import AuditCommit, MessageRow

POINT_BYTES = 4 << 20  # read for one time: at full load some seconds of commits
TOTAL_BYTES = 48 << 20  # and altogether
_PAGE = 16  # commits asked for first; more when they are small
_MAX_PAGE = 256
_BEHIND = 4_096  # commits: how far before its time a message is looked for that was found nowhere
_SLACK = 3_000_000  # microseconds: of the clocks of several nodes


class HistoryStore(Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def audit_read(self, after_seq: int, limit: int) -> list[AuditCommit]:
        """Return commits above `after_seq`, in order: a page."""

    async def audit_before(self, at: int) -> int:
        """Return the seq before the first commit that was made at `at` or later."""


class Told(NamedTuple):
    """A commit, and which of its records are about the message."""

    commit: AuditCommit
    places: tuple[Place, ...]


async def history_of(store: HistoryStore, row: MessageRow) -> list[Told]:
    """Return the commits that have records of a message, in order. Raises what the store raises, and
    gateway.audit.fields.Malformed for a record that cannot be read."""
    search = _Search(store, row)
    for at in search.times():
        if not search.knows(at):
            await search.look(at)
    if not search.finished():
        await search.read_on()
    return search.found()


class _Search:
    """One search; `_octets` counts what has been read."""

    def __init__(self, store: HistoryStore, row: MessageRow) -> None:
        self._store = store
        self._row = row
        self._found: dict[int, Told] = {}
        self._octets = 0

    def times(self) -> Sequence[int]:
        """Return when something of the message was recorded, as its row knows."""
        row = self._row
        known = (row.accepted_at, row.sending_at, row.submitted_at, row.done_at)
        return sorted({at for at in known if at is not None})

    def found(self) -> list[Told]:
        return [self._found[seq] for seq in sorted(self._found)]

    def knows(self, at: int) -> bool:
        """Say whether there is a record of this time."""
        return any(place.record.at == at for told in self._found.values() for place in told.places)

    def finished(self) -> bool:
        """Say whether the records lead to where the message stands, and none is missing."""
        row, way = self._row, way_of(place.record for told in self.found() for place in told.places)
        return way.gapless and way.state == row.state and way.attempts == row.attempts

    async def look(self, at: int) -> None:
        """Look for the record of this time: from the commits of that time on, then a little before."""
        after = await self._store.audit_before(at)
        if not await self._until_known(at, after):
            await self._until_known(at, await self._store.audit_before(at - _SLACK))

    async def _until_known(self, at: int, after: int) -> bool:
        octets = 0
        async for commit in self._commits(after):
            self._take(commit)
            octets += len(commit.records)
            if self.knows(at):
                return True
            if octets > POINT_BYTES:
                break
        return False

    async def read_on(self) -> None:
        """Read from the acceptance on until nothing is missing."""
        first = min(self._found, default=None)
        if first is None:  # a clock was set meanwhile
            first = max(await self._store.audit_before(self._row.accepted_at) - _BEHIND, 0) + 1
        after = first - 1
        async for commit in self._commits(after):
            if self._take(commit) and self.finished():
                return

    def _take(self, commit: AuditCommit) -> bool:
        """Keep a commit that is about the message; says whether it is new."""
        if commit.seq in self._found:
            return False
        places = tuple(places_of(self._row.id, commit.records))
        if places:
            self._found[commit.seq] = Told(commit, places)
        return bool(places)

    async def _commits(self, after: int) -> AsyncIterator[AuditCommit]:
        limit = _PAGE
        while self._octets < TOTAL_BYTES:
            page = await self._store.audit_read(after, limit)
            if not page:
                return
            for commit in page:
                self._octets += len(commit.records)
                yield commit
            after, limit = page[-1].seq, min(2 * limit, _MAX_PAGE)
