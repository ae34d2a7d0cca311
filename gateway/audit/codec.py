"""The octets of audit records: canonical, versioned, length-prefixed.

    record  =  version (1) kind (1) fields, in the order of the class, each as `_LAYOUTS` says
    frame   =  length of the record (2) record
    commit  =  frames: all records of one commit, in the order in which they came about

A record is whole by itself (it names its tenant and its time), so that it can be hashed, shown and proven alone; the
leaf of a commit is to be the Merkle root of its records. The same record has the same octets everywhere and always, and
no other octets are read as it. What is here for all kinds is written again for the hot ones in `gateway.audit.hot`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.audit.fields import Digest, Field, Flag, Id, Ids, Malformed, Maybe, Number, Text
from gateway.audit.records import KINDS, Kind, Record

VERSION = 1
MAX_RECORD_BYTES = 0xFFFF

TIME = Number(8)
_POLICY = Text(2, 1024)
_NAME = Text(1, 255)
_SPIFFE_ID = Text(2, 2048)  # SPIFFE-ID §2.3
_REASON = Text(2, 1024)
_ID = Id()
_STATE = Number(1, 1, 9)
_COUNT32 = Number(4)

# The fields of each kind, in order. Released layouts never change: another layout is another version.
_LAYOUTS: dict[Kind, tuple[Field[Any], ...]] = {
    Kind.DECISION: (
        TIME, Flag(), _SPIFFE_ID, _NAME, _NAME, _NAME, _NAME, _NAME, _NAME, _NAME, _POLICY, TIME, Number(4, 1),
    ),
    Kind.MESSAGE_ACCEPTED: (TIME, _ID, _NAME, _SPIFFE_ID, Number(1, 1, 3), _NAME, _NAME, Number(2), Flag()),
    Kind.STATE_CHANGED: (TIME, _ID, _NAME, _STATE, _STATE, _NAME, _NAME, Maybe(), _SPIFFE_ID),
    Kind.MESSAGES_SENDING: (TIME, _NAME, _NAME, _POLICY, Ids()),
    Kind.INBOUND_RECEIVED: (TIME, _ID, _NAME, _NAME, Number(2)),
    Kind.ROUTE_DENIED: (TIME, _ID, _NAME, _NAME, _NAME, _POLICY),
    Kind.RECOVERED: (TIME, _COUNT32, _COUNT32),
    Kind.NODE_STARTED: (TIME, _NAME, _NAME, _NAME),
    Kind.NODE_STOPPED: (TIME, _NAME),
    Kind.CONFIG_LOADED: (TIME, _NAME, _NAME, _NAME),
    Kind.KEY_CREATED: (TIME, _NAME, _NAME),
    Kind.CERTIFICATE_RENEWED: (TIME, _NAME, _NAME),
    Kind.OPERATOR_ACTED: (
        TIME, _NAME, _SPIFFE_ID, _NAME, _NAME, _NAME, Number(1, 0, 3), Flag(), Number(8), _REASON,
    ),
    Kind.MESSAGES_ROUTED: (TIME, _NAME, _NAME, _POLICY, _NAME, _NAME, Ids()),
    Kind.CANCEL_ASKED: (TIME, _ID, _NAME, _NAME, Number(2, 1), _SPIFFE_ID),
    Kind.CANCEL_ANSWERED: (TIME, _ID, _NAME, _NAME, Number(2), Number(2), Maybe()),
    Kind.ALERT_CHANGED: (TIME, _NAME, _NAME, _NAME, Flag()),
    Kind.POLICIES_REPLACED: (TIME, _NAME, _SPIFFE_ID, _NAME, _NAME, _COUNT32),
    Kind.REVOCATION_CHANGED: (
        TIME, _NAME, _SPIFFE_ID, Flag(), _NAME, _NAME, _SPIFFE_ID, _NAME, _NAME, _NAME, _NAME, _REASON,
    ),
    Kind.MESSAGE_STORED: (TIME, _ID, _NAME, _SPIFFE_ID, Number(1, 1, 3), _NAME, _NAME, Number(2), Digest()),
    Kind.PRIVACY_ACTED: (
        TIME, _NAME, _SPIFFE_ID, _NAME, _NAME, Number(8), Number(8), Number(8), _REASON,
    ),
    Kind.KEY_DESTROYED: (TIME, _NAME, _SPIFFE_ID, _NAME, _NAME, _REASON),
}  # fmt: skip
_TYPES: dict[Kind, type[Record]] = {kind: type_ for type_, kind in KINDS.items()}
_LENGTH = struct.Struct(">H")


def encode(record: Record) -> bytes:
    """Return the octets of a record. Raises Malformed for a value that it cannot hold."""
    kind = KINDS[type(record)]
    parts = [bytes((VERSION, kind))]
    for name, field, value in zip(record._fields, _LAYOUTS[kind], record, strict=True):
        try:
            parts.append(field.pack(value))
        except Malformed as error:
            raise Malformed(f"{kind.name}.{name}: {error}") from None
    return b"".join(parts)


def decode(octets: bytes) -> Record:
    """Return the record that `octets` are, exactly. Raises Malformed for anything else."""
    kind = kind_of(octets)
    values = []
    at = 2
    for name, field in zip(_TYPES[kind]._fields, _LAYOUTS[kind], strict=True):
        try:
            value, at = field.unpack(octets, at)
        except Malformed as error:
            raise Malformed(f"{kind.name}.{name}: {error}") from None
        values.append(value)
    if at != len(octets):
        raise Malformed(f"{kind.name}: {len(octets) - at} octets are left over")
    return _TYPES[kind]._make(values)


def kind_of(octets: bytes) -> Kind:
    """Return the kind of a record. Raises Malformed for an unknown one or an unknown version."""
    if len(octets) < 2:
        raise Malformed("it is too short for a record")
    if octets[0] != VERSION:
        raise Malformed(f"its version is {octets[0]}, and this smsgw reads {VERSION}: was it written by a newer one?")
    try:
        return Kind(octets[1])
    except ValueError:
        raise Malformed(f"its kind is {octets[1]}, which is not known: was it written by a newer smsgw?") from None


def frame(octets: bytes) -> bytes:
    """Return a record's octets as they stand in a commit. Raises Malformed for more than 65,535."""
    if len(octets) > MAX_RECORD_BYTES:
        raise Malformed(f"it has {len(octets)} octets: at most {MAX_RECORD_BYTES} are allowed")
    return _LENGTH.pack(len(octets)) + octets


def frames(records: Sequence[Record]) -> bytes:
    """Return the octets of these records, in order, as they stand in a commit. Raises Malformed."""
    return b"".join(frame(encode(record)) for record in records)


def split(commit: bytes) -> Iterator[bytes]:
    """Yield the octets of each record of a commit, in order. Raises Malformed when it does not end with a frame."""
    at, end = 0, len(commit)
    while at < end:
        if at + _LENGTH.size > end:
            raise Malformed("the commit ends within a length")
        (size,) = _LENGTH.unpack_from(commit, at)
        at += _LENGTH.size
        if at + size > end:
            raise Malformed("the commit ends within a record")
        yield commit[at : at + size]
        at += size
