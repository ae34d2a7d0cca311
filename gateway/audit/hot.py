"""The records of one commit, as they come about: the octets of `gateway.audit.codec`, made quickly.

What every message causes goes around the table of layouts: all fields behind time and id are the same for many messages
(one caller, one sender, one carrier), so their octets are made once and kept. So are those of decisions, of which every
call makes one. A test holds both ways together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from gateway.audit.codec import TIME, encode, frame
from gateway.audit.fields import DIGEST_BYTES, ID_BYTES, MAX_IDS, Malformed, Number
from gateway.audit.records import (
    Decision,
    InboundReceived,
    MessageAccepted,
    MessagesRouted,
    MessagesSending,
    MessageStored,
    Record,
    StateChanged,
)

_PREFIX = struct.Struct(">HBB")  # length, version, kind
_TIME_BYTES = 8
_BEFORE_TAIL = _PREFIX.size + _TIME_BYTES + ID_BYTES
_KEPT = 4096  # tails of each kind
_TIMES = Number(4, 1)
_BEHIND_DECISION = 12  # octets: `since` and `times`
_NO_ID = bytes(ID_BYTES)
_NO_DIGEST = bytes(DIGEST_BYTES)

Fields = tuple[str | int | None, ...]


class _Tails:
    """Of one kind: the octets before time and id, and those behind them, by the values of the fields behind them."""

    def __init__(self, make: Callable[[int, bytes, tuple[Any, ...]], Record]) -> None:
        self._make = make
        self.known: dict[Fields, tuple[bytes, bytes]] = {}

    def add(self, fields: Fields) -> tuple[bytes, bytes]:
        """Encode what is around time and id, and keep it."""
        octets = frame(encode(self._make(0, _NO_ID, fields)))
        if len(self.known) >= _KEPT:
            self.known.clear()
        parts = self.known[fields] = octets[: _PREFIX.size], octets[_BEFORE_TAIL:]
        return parts


def _stored_without(at: int, message_id: bytes, fields: tuple[Any, ...]) -> MessageStored:
    """Return the record without its commitment, which is each message's own."""
    tenant, owner, category, sender, country, segments = fields
    return MessageStored(at, message_id, tenant, owner, category, sender, country, segments, _NO_DIGEST)


class Gathered:
    """The records of a commit under way. Belongs to the writer's thread; `clear` begins the next commit.

    Time and id of the hot kinds are not checked by the table: the time is encoded here, the id's length checked.
    """

    def __init__(self) -> None:
        self.number = 0  # of records
        self._parts: list[bytes] = []
        self._at = -1
        self._time = b""  # `_at`, encoded: a batch has one time
        self._stored = _Tails(_stored_without)
        self._accepted = _Tails(lambda at, id_, fields: MessageAccepted(at, id_, *fields))
        self._changed = _Tails(lambda at, id_, fields: StateChanged(at, id_, *fields))
        self._decisions: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}  # as in _Tails, without the octets behind
        self._inbound = _Tails(lambda at, id_, fields: InboundReceived(at, id_, *fields))

    def octets(self) -> bytes:
        """Return the commit as it is stored."""
        return b"".join(self._parts)

    def clear(self) -> None:
        """Forget the records."""
        self._parts.clear()
        self.number = 0

    def add(self, records: Sequence[Record]) -> None:
        """Take records of any kind. Raises Malformed: then none has been taken."""
        self._parts += [
            self._decision(record) if type(record) is Decision else frame(encode(record)) for record in records
        ]
        self.number += len(records)

    def _decision(self, record: Decision) -> bytes:
        """Return the octets of a decision (hot)."""
        at, *_, since, times = record
        fields = record[1:-2]
        known = self._decisions.get(fields)
        if known is None:
            octets = frame(encode(record))
            if len(self._decisions) >= _KEPT:
                self._decisions.clear()
            self._decisions[fields] = octets[: _PREFIX.size], octets[_PREFIX.size + _TIME_BYTES : -_BEHIND_DECISION]
            return octets
        before, behind = known
        return before + TIME.pack(at) + behind + TIME.pack(since) + _TIMES.pack(times)

    def stored(self, at: int, message_id: bytes, fields: Fields, commitment: bytes) -> None:
        """Take a MessageStored (hot). `fields`: those between id and commitment, in order. Raises Malformed, as all of
        these."""
        if len(commitment) != DIGEST_BYTES:
            raise Malformed(f"a hash has {len(commitment)} octets instead of {DIGEST_BYTES}")
        known = self._stored.known.get(fields)
        if known is None:
            before, behind = self._stored.add(fields)
            known = self._stored.known[fields] = before, behind[:-DIGEST_BYTES]
        self._take(known[0], at, message_id, known[1] + commitment)

    def accepted(self, at: int, message_id: bytes, fields: Fields) -> None:
        """Take a MessageAccepted. `fields`: those behind the id, in order."""
        before, behind = self._accepted.known.get(fields) or self._accepted.add(fields)
        self._take(before, at, message_id, behind)

    def changed(self, at: int, message_id: bytes, fields: Fields) -> None:
        """Take a StateChanged (hot). `fields`: those behind the id, in order."""
        before, behind = self._changed.known.get(fields) or self._changed.add(fields)
        self._take(before, at, message_id, behind)

    def changed_alike(self, fields: Fields, changes: Sequence[tuple[int, bytes, int, int]]) -> None:
        """Take a StateChanged with these fields of each (_, id, at, _) (hot)."""
        before, behind = self._changed.known.get(fields) or self._changed.add(fields)
        for _, message_id, at, _ in changes:
            self._take(before, at, message_id, behind)

    def inbound(self, at: int, inbound_id: bytes, fields: Fields) -> None:
        """Take an InboundReceived. `fields`: those behind the id, in order."""
        before, behind = self._inbound.known.get(fields) or self._inbound.add(fields)
        self._take(before, at, inbound_id, behind)

    def _take(self, before: bytes, at: int, id_: bytes, behind: bytes) -> None:
        if len(id_) != ID_BYTES:
            raise Malformed(f"an id has {len(id_)} octets instead of {ID_BYTES}")
        if at != self._at:
            self._time = TIME.pack(at)
            self._at = at
        self._parts += (before, self._time, id_, behind)
        self.number += 1

    def sending(
        self,
        at: int,
        tenant: str,
        carrier: str,
        policy: str,
        message_ids: Sequence[bytes],
        *,
        route: str = "",
        sender: str = "",
    ) -> None:
        """Take MessagesSending, or MessagesRouted where there is a route: one record for each thousand of the ids."""
        for start in range(0, len(message_ids), MAX_IDS):
            some = tuple(message_ids[start : start + MAX_IDS])
            if route:
                self.add([MessagesRouted(at, tenant, carrier, policy, route, sender, some)])
            else:
                self.add([MessagesSending(at, tenant, carrier, policy, some)])
