"""The records of the audit log that are about one message, as docs/audit.md gives their octets. Sans-IO.

A record has one form: what reads here as a record is exactly these octets.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

from smsgw.client.errors import ReceiptInvalid
from smsgw.client.messages import State

_VERSION = 1
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_CATEGORIES = {1: "OTP", 2: "TRANSACTIONAL", 3: "PROMOTIONAL"}
# As the records number them (smsgw.v1.MessageState).
_STATES = {
    1: State.ACCEPTED, 2: State.SENDING, 3: State.SUBMITTED, 4: State.DELIVERED, 5: State.UNDELIVERABLE,
    6: State.EXPIRED, 7: State.CANCELLED, 8: State.REJECTED, 9: State.UNKNOWN,
}  # fmt: skip
Value = str | int | bool | bytes | dt.datetime | tuple[str, ...] | None


class LogRecord(NamedTuple):
    """One record: what it says (MESSAGE_STORED, STATE_CHANGED ...), when that was, and its fields by their names."""

    kind: str
    at: dt.datetime
    fields: Mapping[str, Value]


class _Reader:
    """Takes fields from octets, one after the other. Raises ReceiptInvalid."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._octets):
            raise _malformed()
        found, self._at = self._octets[self._at : end], end
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def time(self) -> dt.datetime:
        try:
            return _EPOCH + dt.timedelta(microseconds=self.number(8))
        except OverflowError:
            raise _malformed() from None

    def text(self, prefix: int) -> str:
        try:
            return self.take(self.number(prefix)).decode()
        except UnicodeDecodeError:
            raise _malformed() from None

    def id(self) -> str:
        return str(uuid.UUID(bytes=self.take(16)))

    def flag(self) -> bool:
        octet = self.number(1)
        if octet > 1:
            raise _malformed()
        return bool(octet)

    def status(self) -> int | None:
        return self.number(4) if self.flag() else None

    def ids(self) -> tuple[str, ...]:
        return tuple(self.id() for _ in range(self.number(2)))

    def named(self, names: Mapping[int, str]) -> str:
        name = names.get(self.number(1))
        if name is None:
            raise _malformed()
        return str(name)

    def end(self) -> None:
        if self._at != len(self._octets):
            raise _malformed()


def _malformed() -> ReceiptInvalid:
    return ReceiptInvalid("a record cannot be read: has it been altered?", reason="MALFORMED")


_Read = Callable[[_Reader], Value]


def _name(reader: _Reader) -> str:
    return reader.text(1)


def _long(reader: _Reader) -> str:
    return reader.text(2)


def _count(reader: _Reader) -> int:
    return reader.number(2)


def _state(reader: _Reader) -> str:
    return reader.named(_STATES)


def _category(reader: _Reader) -> str:
    return reader.named(_CATEGORIES)


_OF_ONE: tuple[tuple[str, _Read], ...] = (("message_id", _Reader.id), ("tenant", _name))
_ACCEPTED: tuple[tuple[str, _Read], ...] = (
    *_OF_ONE, ("owner", _long), ("category", _category), ("sender", _name), ("country", _name), ("segments", _count),
)  # fmt: skip
_LISTED: tuple[tuple[str, _Read], ...] = (("tenant", _name), ("carrier", _name), ("policy", _long))
# By number: the name of a kind, and its fields behind the time.
_KINDS: Mapping[int, tuple[str, tuple[tuple[str, _Read], ...]]] = {
    2: ("MESSAGE_ACCEPTED", (*_ACCEPTED, ("replayed", _Reader.flag))),
    3: (
        "STATE_CHANGED",
        (
            *_OF_ONE,
            ("before", _state),
            ("state", _state),
            ("carrier", _name),
            ("reason", _name),
            ("smpp_status", _Reader.status),
            ("by", _long),
        ),
    ),
    4: ("MESSAGES_SENDING", (*_LISTED, ("message_ids", _Reader.ids))),
    6: ("ROUTE_DENIED", (*_OF_ONE, ("carrier", _name), ("reason", _name), ("policy", _long))),
    14: ("MESSAGES_ROUTED", (*_LISTED, ("route", _name), ("sender", _name), ("message_ids", _Reader.ids))),
    15: ("CANCEL_ASKED", (*_OF_ONE, ("carrier", _name), ("parts", _count), ("by", _long))),
    16: (
        "CANCEL_ANSWERED",
        (
            *_OF_ONE,
            ("carrier", _name),
            ("cancelled", _count),
            ("unanswered", _count),
            ("smpp_status", _Reader.status),
        ),
    ),
    20: ("MESSAGE_STORED", (*_ACCEPTED, ("commitment", lambda reader: reader.take(32)))),
}


def read_record(octets: bytes) -> LogRecord:
    """Return the record that these octets are. Raises ReceiptInvalid, also for a kind that is about no message."""
    reader = _Reader(octets)
    version, kind = reader.number(1), reader.number(1)
    if version != _VERSION or kind not in _KINDS:
        text = f"a record of version {version} and kind {kind} is none of a message that is known here"
        raise ReceiptInvalid(text, reason="MALFORMED")
    name, fields = _KINDS[kind]
    at = reader.time()
    values = {field: read(reader) for field, read in fields}
    reader.end()
    return LogRecord(name, at, values)


def is_about(record: LogRecord, message_id: str) -> bool:
    """Say whether a record is about this message, alone or among others."""
    listed = record.fields.get("message_ids", ())
    return record.fields.get("message_id") == message_id or (isinstance(listed, tuple) and message_id in listed)
