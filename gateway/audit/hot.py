"""The records of one commit, as they come about: the octets of `gateway.audit.codec`, made quickly.

What every message causes goes around the table of layouts: all fields behind time and id are the same for many messages
(one caller, one sender, one carrier), so their octets are made once and kept. A test holds both ways together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from gateway.audit.codec import VERSION, encode, frame
from gateway.audit.fields import ID_BYTES, MAX_IDS, Malformed
from gateway.audit.records import InboundReceived, Kind, MessageAccepted, MessagesSending, Record, StateChanged

_HEAD = struct.Struct(f">HBBQ{ID_BYTES}s")  # length, version, kind, time, id
_BEFORE_TAIL = _HEAD.size - 2
_KEPT = 4096  # tails of each kind
_NO_ID = bytes(ID_BYTES)
_ACCEPTED, _CHANGED, _INBOUND = Kind.MESSAGE_ACCEPTED, Kind.STATE_CHANGED, Kind.INBOUND_RECEIVED


class _Tails:
    """The octets behind time and id of one kind, by the values of these fields."""

    def __init__(self, make: Callable[[int, bytes, tuple[Any, ...]], Record]) -> None:
        self._make = make
        self.known: dict[tuple[Any, ...], bytes] = {}

    def add(self, fields: tuple[Any, ...]) -> bytes:
        """Encode a tail, and keep it."""
        tail = frame(encode(self._make(0, _NO_ID, fields)))[_HEAD.size :]
        if len(self.known) >= _KEPT:
            self.known.clear()
        self.known[fields] = tail
        return tail


class Gathered:
    """The records of a commit under way. Belongs to the writer's thread; `clear` begins the next commit."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._accepted = _Tails(lambda at, id_, fields: MessageAccepted(at, id_, *fields))
        self._changed = _Tails(lambda at, id_, fields: StateChanged(at, id_, *fields))
        self._inbound = _Tails(lambda at, id_, fields: InboundReceived(at, id_, *fields))

    def __len__(self) -> int:
        return len(self._frames)

    def octets(self) -> bytes:
        """Return the commit as it is stored."""
        return b"".join(self._frames)

    def clear(self) -> None:
        """Forget the records."""
        self._frames.clear()

    def add(self, records: Sequence[Record]) -> None:
        """Take records of any kind. Raises Malformed: then none has been taken."""
        self._frames += [frame(encode(record)) for record in records]

    def accepted(self, at: int, message_id: bytes, *fields: str | int) -> None:
        """Take a MessageAccepted (hot). `fields`: those behind the id, in order. Raises Malformed, as all of these."""
        self._frames.append(_framed(_ACCEPTED, at, message_id, self._accepted, fields))

    def changed(self, at: int, message_id: bytes, *fields: str | int | None) -> None:
        """Take a StateChanged (hot). `fields`: those behind the id, in order."""
        self._frames.append(_framed(_CHANGED, at, message_id, self._changed, fields))

    def inbound(self, at: int, inbound_id: bytes, *fields: str | int) -> None:
        """Take an InboundReceived. `fields`: those behind the id, in order."""
        self._frames.append(_framed(_INBOUND, at, inbound_id, self._inbound, fields))

    def sending(self, at: int, tenant: str, carrier: str, policy: str, message_ids: Sequence[bytes]) -> None:
        """Take MessagesSending, one record for each thousand of the ids."""
        for start in range(0, len(message_ids), MAX_IDS):
            self.add([MessagesSending(at, tenant, carrier, policy, tuple(message_ids[start : start + MAX_IDS]))])


def _framed(kind: int, at: int, id_: bytes, tails: _Tails, fields: tuple[Any, ...]) -> bytes:
    tail = tails.known.get(fields)
    if tail is None:
        tail = tails.add(fields)
    if len(id_) != ID_BYTES:
        raise Malformed(f"an id has {len(id_)} octets instead of {ID_BYTES}")
    return _HEAD.pack(_BEFORE_TAIL + len(tail), VERSION, kind, at, id_) + tail
