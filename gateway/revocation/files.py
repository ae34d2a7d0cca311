"""The deny list on disk, in the data folder: what is in force after a restart, and what a node has seen.

    deny-list        head and body, as they were signed
    deny-list.seen   the highest version that this node has seen, its digest, and up to which version it has dealt with
                     messages that wait: outlives a deny-list that is put back from somewhere
    deny-list.lock   held while the publisher's list is changed, by the node or by `smsgw revoke --offline`

Each file is replaced in one step, and is on disk before anything else happens.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from certs.errors import SvidFileError
from certs.svid import write_file
from gateway.revocation.codec import HEAD_BYTES, MAX_BODY_BYTES, SignedList
from gateway.revocation.errors import DenyListFileError
from gateway.revocation.taking import Seen

LIST, SEEN, LOCK = "deny-list", "deny-list.seen", "deny-list.lock"
_LOCK_WAIT_S = 10.0
_MAX_SEEN_BYTES = 1024
_SEEN_VERSION = 1

Stamp = tuple[int, int, int]


_NOTHING = Seen()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What outlives the process beside the list itself."""

    seen: Seen = _NOTHING
    settled: int = 0  # the version up to which messages that wait have been dealt with


class ListFiles:
    """The files of one node. Raises DenyListFileError, everywhere."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LIST
        self._seen = folder / SEEN
        self._lock = folder / LOCK

    def stamp(self) -> Stamp | None:
        """Return what changes when the list is replaced; None while there is none."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DenyListFileError(f"{self.path} cannot be looked at: {error.strerror}") from error
        return status.st_mtime_ns, status.st_size, status.st_ino

    def read(self) -> SignedList | None:
        """Return the list, unverified; None when there is none."""
        octets = _read(self.path, HEAD_BYTES + MAX_BODY_BYTES)
        return None if octets is None else SignedList(octets[:HEAD_BYTES], octets[HEAD_BYTES:])

    def write(self, signed: SignedList) -> None:
        """Replace the list."""
        _write(self.path, signed.head + signed.body)

    def memory(self) -> Memory:
        """Return what this node remembers; of a new one, nothing."""
        octets = _read(self._seen, _MAX_SEEN_BYTES)
        if octets is None:
            return Memory()
        try:
            document = json.loads(octets)
            if document["format"] != _SEEN_VERSION:
                raise ValueError("another format")
            seen = Seen(version=int(document["version"]), digest=bytes.fromhex(document["digest"]))
            return Memory(seen=seen, settled=int(document["settled"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DenyListFileError(
                f"{self._seen} is damaged: put back a copy. Without it this node could not tell an old deny list from "
                "the newest; delete it only if you are sure that the publisher's list is the newest"
            ) from error

    def see(self, seen: Seen) -> None:
        """Remember a list as the newest that was seen, if it is."""
        with self.locked():
            self.see_locked(seen)

    def see_locked(self, seen: Seen) -> None:
        """The same, for who holds the list already."""
        memory = self.memory()
        if seen.version > memory.seen.version:
            self._remember(replace(memory, seen=seen))

    def settle(self, version: int) -> None:
        """Remember up to which version messages that wait have been dealt with."""
        with self.locked():
            self._remember(replace(self.memory(), settled=version))

    def _remember(self, memory: Memory) -> None:
        document = {
            "format": _SEEN_VERSION,
            "version": memory.seen.version,
            "digest": memory.seen.digest.hex(),
            "settled": memory.settled,
        }
        _write(self._seen, json.dumps(document).encode() + b"\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the list for a change; waits for whoever else does, for some seconds."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DenyListFileError(f"{self._lock} cannot be opened: {error.strerror}") from error
        try:
            self._wait(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES} or time.monotonic() > deadline:
                    raise DenyListFileError(f"{self._lock} is held by another process: try again") from error
            time.sleep(0.005)


def _read(path: Path, at_most: int) -> bytes | None:
    try:
        with path.open("rb") as stream:
            octets = stream.read(at_most + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DenyListFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(octets) > at_most:
        raise DenyListFileError(f"{path} is longer than {at_most} octets: it is no such file")
    return octets


def _write(path: Path, octets: bytes) -> None:
    try:
        write_file(path, octets, mode=0o600)
    except SvidFileError as error:
        raise DenyListFileError(str(error)) from error
