"""Revoked identities: a list in a file, a guard on every call and every message, and the end of what is under way.

The list names single certificates, by authority key id and serial (the two that a copy of a certificate cannot change:
the fingerprint of one can), or whole SPIFFE IDs. `smsgw revoke` writes it; the node looks at the file ten times a
second. A list that cannot be read stops the start; later it leaves the list in force and is logged as an error, so that
a damaged file never lets anybody back in.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from certs.errors import BadSpiffeId
from certs.spiffe_id import SpiffeId
from gateway.errors import GatewayError, Unauthenticated
from gateway.identity import Caller

DENY_LIST = "denied.json"  # in the data folder
MAX_FILE_BYTES = 16 << 20
MAX_ENTRIES = 100_000
_VERSION = 1
_HEX = frozenset("0123456789abcdef")


class DenyListError(Exception):
    """The deny list cannot be read or written; the text says where, why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyList:
    """Who is revoked: certificates as (authority key id, serial) in lower-case hexadecimal, and SPIFFE IDs."""

    certificates: frozenset[tuple[str, str]] = frozenset()
    spiffe_ids: frozenset[str] = frozenset()

    def denies(self, caller: Caller) -> bool:
        """Say whether `caller` is revoked."""
        return caller.spiffe_id in self.spiffe_ids or (caller.authority_key_id, caller.serial) in self.certificates

    def with_certificate(self, authority_key_id: str, serial: str) -> DenyList:
        """Return the list with one more certificate. Raises DenyListError for what is not hexadecimal."""
        pair = _certificate(authority_key_id, serial)
        return DenyList(certificates=self.certificates | {pair}, spiffe_ids=self.spiffe_ids)

    def with_spiffe_id(self, text: str) -> DenyList:
        """Return the list with one more SPIFFE ID. Raises DenyListError for what is none."""
        return DenyList(certificates=self.certificates, spiffe_ids=self.spiffe_ids | {_spiffe_id(text)})


def _certificate(authority_key_id: str, serial: str) -> tuple[str, str]:
    """Return both as `Caller` has them: a serial is a number, and has no leading zeros; a key id may have some."""
    return _hex(authority_key_id, "an authority key id"), _hex(serial, "a serial number").lstrip("0") or "0"


def _spiffe_id(text: str) -> str:
    try:
        return str(SpiffeId.parse(text))
    except BadSpiffeId as error:
        raise DenyListError(str(error)) from error


def _hex(text: str, what: str) -> str:
    plain = text.lower().replace(":", "")
    if not plain or not _HEX.issuperset(plain) or len(plain) > 128:
        raise DenyListError(f"{text!a} is not {what} in hexadecimal")
    return plain


def parse(octets: bytes, where: str) -> DenyList:
    """Read a list from its file form. Raises DenyListError for anything else: nothing in it is skipped."""
    try:
        document = json.loads(octets)
        if document["version"] != _VERSION or set(document) != {"version", "certificates", "spiffe_ids"}:
            raise DenyListError(f"{where} is not a deny list of version {_VERSION}; was it written by a newer smsgw?")
        entries, texts = document["certificates"], document["spiffe_ids"]
        if len(entries) + len(texts) > MAX_ENTRIES:
            raise DenyListError(f"{where} has more than {MAX_ENTRIES} entries")
        return DenyList(
            certificates=frozenset(
                _certificate(str(entry["authority_key_id"]), str(entry["serial"])) for entry in entries
            ),
            spiffe_ids=frozenset(_spiffe_id(str(text)) for text in texts),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DenyListError(f"{where} is no deny list: {error!a}; put back the last good copy") from error


def dump(deny: DenyList) -> bytes:
    """Return the file form of a list, the same for the same list."""
    document = {
        "version": _VERSION,
        "certificates": [{"authority_key_id": key, "serial": serial} for key, serial in sorted(deny.certificates)],
        "spiffe_ids": sorted(deny.spiffe_ids),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


class DenyListFile:
    """A list in a file that another process may replace; `deny` is what it held when it was last read."""

    def __init__(self, path: Path) -> None:
        """Read it; a file that does not exist is an empty list. Raises DenyListError."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self.deny = DenyList()
        self.refresh()

    def refresh(self) -> bool:
        """Read the file if it has changed; say whether it had. Raises DenyListError: then the old list stays."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            if self._stamp is None:
                return False
            raise DenyListError(f"{self._path} is gone: put it back; what it held stays in force") from None
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return False
        if status.st_size > MAX_FILE_BYTES:
            raise DenyListError(f"{self._path} is longer than {MAX_FILE_BYTES} octets")
        self.deny = parse(self._path.read_bytes(), str(self._path))
        self._stamp = stamp
        return True

    def replace(self, deny: DenyList) -> None:
        """Write a list in the place of the old one, durably and at once. Raises DenyListError."""
        try:
            descriptor, name = tempfile.mkstemp(prefix=".denied-", dir=self._path.parent)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(dump(deny))
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise DenyListError(f"{self._path} cannot be written: {error.strerror}") from error
        self.refresh()


class UnderWay(Protocol):
    """A call under way."""

    caller: Caller

    def cut(self, refusal: GatewayError) -> None:
        """End it where it stands, and tell the caller why."""


class RevokedCalls:
    """The calls under way, and who of them is revoked. Belongs to one event loop."""

    def __init__(self, deny: DenyList) -> None:
        self._deny = deny
        self._under_way: set[UnderWay] = set()  # as many as the server lets in: bounded there

    def require(self, caller: Caller) -> None:
        """Raise Unauthenticated (reason REVOKED) for a revoked caller."""
        if self._deny.denies(caller):
            raise _revoked()

    def begin(self, call: UnderWay) -> None:
        """Note a call under way."""
        self._under_way.add(call)

    def end(self, call: UnderWay) -> None:
        """The call is over."""
        self._under_way.discard(call)

    def apply(self, deny: DenyList) -> int:
        """Put a new list in force, and cut the calls under way of those it names; how many."""
        self._deny = deny
        cut = [call for call in self._under_way if deny.denies(call.caller)]
        for call in cut:
            call.cut(_revoked())
        return len(cut)


def _revoked() -> Unauthenticated:
    return Unauthenticated("this identity has been revoked: ask the security team", reason="REVOKED")


async def follow(file: DenyListFile, calls: RevokedCalls, told: Callable[[int], None], every_s: float = 0.1) -> None:
    """Look at the file until cancelled, and put its changes in force; `told` gets the number of calls cut, or -1 for a
    file that cannot be read (once for each reading of the same fault)."""
    broken = ""
    while True:
        await asyncio.sleep(every_s)
        try:
            if file.refresh():
                told(calls.apply(file.deny))
            broken = ""
        except (DenyListError, OSError) as error:
            if str(error) != broken:
                broken = str(error)
                told(-1)
