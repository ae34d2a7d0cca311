"""The deny list: what an entry names, when it ends, and what a list may become.

An entry names one certificate (by its issuer's key id and serial number: the two that a copy of a certificate cannot
change), an identity (every leaf that became valid up to a moment, or for good), or an authority (by its public key,
which its name and key id are not). It ends by itself when everything that it could name has expired; without that being
known it stays until an operator takes it back. A list that is full takes no more; nothing is ever dropped to make room.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from certs.errors import BadSpiffeId
from certs.spiffe_id import SpiffeId
from gateway.identity import Caller
from gateway.revocation.errors import BadEntry, DenyListFull, UnknownEntry

MAX_ENTRIES = 10_000
FOR_GOOD = (1 << 63) - 1  # a cutoff that no leaf passes
NEVER = 0  # an end that does not come
# An entry outlives what it names by this, since clocks differ.
MARGIN = 600_000_000
_HEX = frozenset("0123456789abcdef")
_MAX_HEX = 128
_KEY_HASH_HEX = 64


class What(enum.IntEnum):
    """What an entry names; in the signed form."""

    CERTIFICATE = 1
    IDENTITY = 2
    AUTHORITY = 3


class Queued(enum.IntEnum):
    """What becomes of messages that the identity has waiting; in the signed form."""

    KEEP = 1
    HOLD = 2
    CANCEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One revocation. Times are microseconds since the Unix epoch.

    Attributes:
        id: eight hexadecimal digits, by which people name it.
        what: what it names.
        since: the version of the list that had it first; 0 before it is in one.
        revoked_at: when.
        ends_at: when everything that it names has expired; NEVER when that is not known.
        spiffe_id: the identity; of a certificate when it is known, "" otherwise.
        serial, authority_key_id: of a certificate, lower-case hexadecimal.
        cutoff: of an identity: leaves that became valid up to then are refused.
        key_hash: of an authority: SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal.
        queued: what becomes of messages that wait.
        by: the SPIFFE ID of who wanted it; "" for who did it at the files.
        reason: in the operator's words.
    """

    id: str
    what: What
    since: int = 0
    revoked_at: int
    ends_at: int = NEVER
    spiffe_id: str = ""
    serial: str = ""
    authority_key_id: str = ""
    cutoff: int = 0
    key_hash: str = ""
    queued: Queued = Queued.KEEP
    by: str = ""
    reason: str = ""

    @property
    def name(self) -> tuple[int, str, str]:
        """What it names: a list has one entry for each."""
        if self.what is What.CERTIFICATE:
            return self.what, self.authority_key_id, self.serial
        return self.what, self.spiffe_id if self.what is What.IDENTITY else self.key_hash, ""

    def widened(self, earlier: Entry) -> Entry:
        """Return it so that it refuses whatever an earlier one of the same name did."""
        ends = (self.ends_at, earlier.ends_at)
        return replace(
            self,
            cutoff=max(self.cutoff, earlier.cutoff),
            ends_at=NEVER if NEVER in ends else max(ends),
            spiffe_id=self.spiffe_id or earlier.spiffe_id,
        )


def check(entry: Entry) -> Entry:
    """Return the entry in its one form. Raises BadEntry for what names nothing."""
    spiffe_id = spiffe_id_of(entry.spiffe_id) if entry.spiffe_id else ""
    if entry.what is What.CERTIFICATE:
        return replace(
            entry,
            spiffe_id=spiffe_id,
            authority_key_id=_hex(entry.authority_key_id, "an authority key id"),
            serial=_hex(entry.serial, "a serial number").lstrip("0")
            or "0",  # a number; a key id may have leading zeros
        )
    if entry.what is What.AUTHORITY:
        key_hash = _hex(entry.key_hash, "the SHA-256 of a public key")
        if len(key_hash) != _KEY_HASH_HEX:
            raise BadEntry(f"{entry.key_hash!a} is not the SHA-256 of a public key: that has {_KEY_HASH_HEX} digits")
        return replace(entry, key_hash=key_hash, spiffe_id="")
    if not spiffe_id:
        raise BadEntry("an identity needs its SPIFFE ID")
    return replace(entry, spiffe_id=spiffe_id)


def spiffe_id_of(text: str) -> str:
    """Return a workload's SPIFFE ID. Raises BadEntry for what is none."""
    try:
        parsed = SpiffeId.parse(text)
    except BadSpiffeId as error:
        raise BadEntry(str(error)) from error
    if not parsed.path:
        raise BadEntry(f"{text!a} names a whole trust domain: name a workload, or taint the authority")
    return str(parsed)


def _hex(text: str, what: str) -> str:
    """Return hexadecimal digits as `Caller` has them, however openssl and others write them."""
    plain = text.lower().replace(":", "")
    if not plain or not _HEX.issuperset(plain) or len(plain) > _MAX_HEX:
        raise BadEntry(f"{text!a} is not {what} in hexadecimal")
    return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyList:
    """Who is revoked. `version` only grows: it is the time of the last change in microseconds, or one more than the
    version before, so that also a list put back from a backup is followed by newer ones."""

    version: int = 0
    entries: tuple[Entry, ...] = ()

    def changed(self, added: Sequence[Entry], removed: Sequence[str], now: int) -> DenyList:
        """Return the list with more entries, without some (by id), and without those that have ended at `now`.

        One that names what another names replaces it, and refuses no less. Raises BadEntry, UnknownEntry, DenyListFull.
        """
        version = max(self.version + 1, now)
        known = {entry.id for entry in self.entries}
        for entry_id in removed:
            if entry_id not in known:
                raise UnknownEntry(f"there is no revocation {entry_id!a}: `smsgw revocations` lists them")
        entries = {entry.name: entry for entry in self.entries if entry.id not in set(removed) and not over(entry, now)}
        for entry in map(check, added):
            earlier = entries.pop(entry.name, None)
            new = replace(entry, since=version)
            entries[entry.name] = new if earlier is None else new.widened(earlier)
        if len(entries) > MAX_ENTRIES:
            raise DenyListFull(
                f"the deny list has {len(self.entries)} of {MAX_ENTRIES} entries: taint the authority instead, or "
                "take back entries for good that are not needed any more (`smsgw revocations`)"
            )
        return DenyList(version=version, entries=tuple(entries.values()))

    def has_ended(self, now: int) -> bool:
        """Say whether an entry has ended."""
        return any(over(entry, now) for entry in self.entries)


def over(entry: Entry, now: int) -> bool:
    """Say whether everything that an entry names has expired for a while."""
    return entry.ends_at != NEVER and now > entry.ends_at + MARGIN


class Denials:
    """A list as it is asked on every call: three lookups, whatever its size."""

    __slots__ = ("authorities", "certificates", "cutoffs")

    def __init__(self, deny: DenyList) -> None:
        self.certificates = frozenset(
            (entry.authority_key_id, entry.serial) for entry in deny.entries if entry.what is What.CERTIFICATE
        )
        self.cutoffs = {entry.spiffe_id: _moment(entry.cutoff) for entry in deny.entries if entry.what is What.IDENTITY}
        self.authorities = frozenset(entry.key_hash for entry in deny.entries if entry.what is What.AUTHORITY)

    def deny(self, caller: Caller) -> bool:
        """Say whether `caller` is revoked. Its authorities are those on its verified path, whatever its leaf claims."""
        if self.cutoffs:
            cutoff = self.cutoffs.get(caller.spiffe_id)
            if cutoff is not None and caller.not_before <= cutoff:
                return True
        if self.certificates and (caller.authority_key_id, caller.serial) in self.certificates:
            return True
        return bool(self.authorities) and not self.authorities.isdisjoint(caller.issuer_keys)


_FAR = dt.datetime.max.replace(tzinfo=dt.UTC)


def _moment(cutoff: int) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(cutoff // 1_000_000, dt.UTC)
    except (OverflowError, ValueError, OSError):  # FOR_GOOD, and whatever else no calendar has
        return _FAR
