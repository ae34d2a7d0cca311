"""Wrapped data keys on disk: a folder of its own, with one append-only file for each UTC day.

A key is a line of JSON; its key id begins with the day on which it was made, so that the id names the file. The folder
is no part of the database or of its backups: destroying a file destroys, for good, what its keys have sealed.

A line that a crash cut short belongs to a key that was never used: it is left behind, and the next line begins anew.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from gateway.errors import StoreCorrupt
from gateway.records import join_fields
from gateway.sealing.envelope import KEY_ID_BYTES
from gateway.sealing.providers import Wrapped

WRAPPED_KEYS = "keys-wrapped"  # the folder's name in the data folder

_VERSION = 1
_SUFFIX = ".keys"
_DAY_BYTES = 2  # of the key id; days since 1970, until 2149
_RANDOM_BYTES = KEY_ID_BYTES - _DAY_BYTES
_DAY_S = 86_400
_MAX_FILE_BYTES = 256 << 20  # a million keys
_MAX_LINE_BYTES = 4096
_EPOCH = date(1970, 1, 1)


class KeyringUnavailable(Exception):
    """The folder cannot be read or written at the moment; the text says why."""


class WrappedKey(NamedTuple):
    """A wrapped data key and what it is for; all of it is authenticated by the wrap. Times in Unix seconds."""

    key_id: bytes
    node: str
    tenant: str
    made_at: int
    usable_until: int  # it seals nothing after that
    wrapped: Wrapped


def new_key_id(made_at: int, random: bytes) -> bytes:
    """Return a key id for a key made at `made_at` (Unix seconds); `random` has 6 octets."""
    if len(random) != _RANDOM_BYTES:
        raise ValueError(f"{_RANDOM_BYTES} random octets are wanted, not {len(random)}")
    return (made_at // _DAY_S).to_bytes(_DAY_BYTES, "big") + random


def wrap_context(key_id: bytes, node: str, tenant: str, made_at: int, usable_until: int) -> bytes:
    """Return the octets that bind a wrap to its key id, node, tenant and period."""
    period = made_at.to_bytes(8, "big") + usable_until.to_bytes(8, "big")
    return join_fields(b"smsgw.data-key", bytes((_VERSION,)), key_id, node.encode(), tenant.encode(), period)


class Keyring:
    """The folder of wrapped keys. May be used by several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._appending = threading.Lock()

    def append(self, keys: Sequence[WrappedKey]) -> None:
        """Put `keys` on disk: file and folder are synced on return. Raises KeyringUnavailable; use none of them then.

        All keys of one call were made on the same UTC day, which their ids name.
        """
        if not keys:
            return
        path = self._file(keys[0].key_id)
        lines = b"".join(_line(key) for key in keys)
        with self._appending:
            try:
                self._make_folder()
                self._append(path, lines)
            except OSError as error:
                raise KeyringUnavailable(f"wrapped keys cannot be written to {path}: {error.strerror}") from error

    def find(self, key_id: bytes) -> WrappedKey | None:
        """Return a key's record, None when there is none. Raises KeyringUnavailable, StoreCorrupt."""
        path = self._file(key_id)
        try:
            line = _line_with(path, b'"key":"%s"' % key_id.hex().encode())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyringUnavailable(f"wrapped keys cannot be read from {path}: {error.strerror}") from error
        if line is None:
            return None
        record = _record(line)
        if record is None or record.key_id != key_id:
            raise StoreCorrupt(
                f"the data key {key_id.hex()} cannot be read: its line in {path} is damaged; restore it from a copy"
            )
        return record

    def records(self, days: int | None = None) -> Iterator[WrappedKey]:
        """Yield the records that can be read, oldest file first; of the newest `days` files only when given.

        Raises KeyringUnavailable.
        """
        try:
            files = sorted(self.folder.glob(f"*{_SUFFIX}"))
            for file in files if days is None else files[-days:]:
                with file.open("rb") as stream:
                    for line in iter(lambda: stream.readline(_MAX_LINE_BYTES), b""):
                        record = _record(line)
                        if record is not None:
                            yield record
        except OSError as error:
            raise KeyringUnavailable(f"wrapped keys cannot be read from {self.folder}: {error.strerror}") from error

    def _file(self, key_id: bytes) -> Path:
        day = _EPOCH + timedelta(days=int.from_bytes(key_id[:_DAY_BYTES], "big"))
        return self.folder / f"{day.isoformat()}{_SUFFIX}"

    def _make_folder(self) -> None:
        if self.folder.is_dir():
            return
        self.folder.mkdir(mode=0o700, parents=True)
        _sync(self.folder.parent)

    def _append(self, path: Path, lines: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size + len(lines) > _MAX_FILE_BYTES:
                raise KeyringUnavailable(f"{path} is full ({size} bytes): this node has made too many keys today")
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                lines = b"\n" + lines
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not size:
            _sync(path.parent)


def _sync(folder: Path) -> None:
    """Put a folder's entries on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(key: WrappedKey) -> bytes:
    document = {
        "v": _VERSION,
        "key": key.key_id.hex(),
        "node": key.node,
        "tenant": key.tenant,
        "made": _text(key.made_at),
        "usable_until": _text(key.usable_until),
        "kek": key.wrapped.kek_id,
        "wrapped": base64.b64encode(key.wrapped.octets).decode("ascii"),
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _text(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def _record(line: bytes) -> WrappedKey | None:
    """Return the record in a line, None when it is none."""
    try:
        document = json.loads(line)
        if not isinstance(document, dict) or document["v"] != _VERSION:
            return None
        return WrappedKey(
            bytes.fromhex(document["key"]),
            str(document["node"]),
            str(document["tenant"]),
            _time(document["made"]),
            _time(document["usable_until"]),
            Wrapped(str(document["kek"]), base64.b64decode(document["wrapped"], validate=True)),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _line_with(path: Path, words: bytes) -> bytes | None:
    """Return the first line of a file that has `words` in it. The file is mapped: it may be large."""
    with path.open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return None
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.find(words)
            if at < 0:
                return None
            start = text.rfind(b"\n", max(0, at - _MAX_LINE_BYTES), at) + 1
            end = text.find(b"\n", at, at + _MAX_LINE_BYTES)
            return text[start : end if end >= 0 else at + _MAX_LINE_BYTES]
