"""The entry of a commit: what its leaf is made of.

    entry  =  version (1)  seq (8)  committed_at (8)  number of records (4)  root (32)        big-endian, 53 octets

`root` is the RFC 6962 root over the commit's records, each as it is encoded, without the length before it. So a record
is proven alone: by its path in the commit, and the commit's in the log. The records themselves are not in the log, and
can be deleted without it. Commit `seq` is leaf `seq - 1`.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import NamedTuple

from gateway.audit.codec import split
from gateway.audit.fields import Malformed
from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import HASH_BYTES, leaf_hash, path_of, root_of

VERSION = 1
_FORM = struct.Struct(f">BQQI{HASH_BYTES}s")
ENTRY_BYTES = _FORM.size
_LENGTH = struct.Struct(">H").unpack_from


class Entry(NamedTuple):
    """One commit of the audit, without its records. `at`: microseconds since the Unix epoch."""

    seq: int
    at: int
    number: int
    root: bytes

    @property
    def place(self) -> int:
        """Which leaf it is, from 0."""
        return self.seq - 1

    def encode(self) -> bytes:
        """Return its octets. Raises MalformedLog for a value that does not fit."""
        try:
            return _FORM.pack(VERSION, *self)
        except struct.error:
            raise MalformedLog(f"commit {self.seq} cannot be an entry: a value is out of range") from None

    @property
    def leaf(self) -> bytes:
        """The hash of its leaf."""
        return leaf_hash(self.encode())


def decode(octets: bytes) -> Entry:
    """Return the entry that `octets` are. Raises MalformedLog."""
    if len(octets) != ENTRY_BYTES:
        raise MalformedLog(f"an entry has {len(octets)} octets instead of {ENTRY_BYTES}")
    version, *fields = _FORM.unpack(octets)
    if version != VERSION:
        raise MalformedLog(f"an entry's version is {version}, and this smsgw reads {VERSION}")
    return Entry(*fields)


def record_hashes(records: bytes) -> list[bytes]:
    """Return the leaf hash of each record of a commit, `records` being its frames (hot). Raises MalformedLog."""
    hashes = []
    at, end = 0, len(records)
    try:
        while at < end:
            start = at + 2
            at = start + _LENGTH(records, at)[0]
            hashes.append(sha256(b"\x00" + records[start:at]).digest())
    except struct.error:
        raise MalformedLog("the commit ends within a length") from None
    if at != end:
        raise MalformedLog("the commit ends within a record")
    return hashes


def entry_of(seq: int, at: int, records: bytes) -> Entry:
    """Return the entry of a commit by its place, its time and its frames. Raises MalformedLog."""
    hashes = record_hashes(records)
    return Entry(seq, at, len(hashes), root_of(hashes))


def record_path(records: bytes, number: int) -> tuple[bytes, list[bytes]]:
    """Return record `number` (from 0) of a commit, and its path to the commit's root. Raises MalformedLog."""
    try:
        octets = list(split(records))
    except Malformed as error:
        raise MalformedLog(str(error)) from None
    path = path_of([leaf_hash(record) for record in octets], number)
    return octets[number], path
