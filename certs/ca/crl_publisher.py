"""Publishes the revocation lists: makes those that are due or say too little, and writes them for others to fetch.

    DIR/KEY_ID.crl    one list, DER: what a certificate's distribution point names, and what is served over HTTP
    DIR/crls.pem      all of them, PEM: for `openssl verify -CRLfile`, and servers that read one file

Each file is replaced in one step. It reads no clock and never waits; the loop around it is `smsgw ca serve`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.ca import crls
from certs.ca.authority import Authority
from certs.ca.crls import Crl
from certs.ca.ledger import AuthorityRecord
from certs.ca.states import Kind, State
from certs.errors import CertsError, SvidFileError
from certs.svid import read_bounded, write_file

ALL_FILE: Final = "crls.pem"
RETRY: Final = dt.timedelta(seconds=5)
_FILE: Final = re.compile(r"[0-9a-f]{40}\.crl", re.ASCII)
_MAX_FILE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A list that was made in this round, and why."""

    crl: Crl
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What was made in a round, and what could not be made or written."""

    made: tuple[Made, ...] = ()
    failed: tuple[CertsError, ...] = ()


def file_name(key_id: str) -> str:
    """Return what the list of an authority is called, in a directory and in a URL."""
    return f"{key_id}.crl"


def pem_of(found: Mapping[str, Crl]) -> bytes:
    """Return lists as PEM, in the order of their authorities' key ids."""
    return b"".join(x509.load_der_x509_crl(found[key_id].der).public_bytes(Encoding.PEM) for key_id in sorted(found))


def kept(authority: Authority, now: dt.datetime) -> Mapping[str, Crl]:
    """Return the last list of every authority that has any and is neither revoked nor expired, by key id."""
    roots = [found for found in authority.records if found.kind is Kind.ROOT and found.state is not State.REVOKED]
    found = {record.key_id: crls.current(authority.ledger, record.key_id) for record in roots}
    found |= {
        record.key_id: crls.current(authority.ledger, record.key_id) for record in crls.listing(authority.records, now)
    }
    return {key_id: crl for key_id, crl in found.items() if crl is not None}


class CrlPublisher:
    """Keeps the lists of one authority fresh. `published` may be read from any thread."""

    def __init__(self, authority: Authority, directory: Path | None, lifetime: dt.timedelta) -> None:
        """`directory`: where the files go; None for none. `lifetime`: of an intermediate's list."""
        self._authority, self._directory, self._lifetime = authority, directory, lifetime
        self._seen: tuple[int, int] | None = None
        self._next_at: dt.datetime | None = None
        self._written = False
        self.published: Mapping[str, Crl] = MappingProxyType({})

    def refresh(self, now: dt.datetime) -> Round:
        """Make what is needed and publish what changed.

        What cannot be made does not keep the others: it is tried again five seconds later, and what was published
        stays. Raises AuthorityError when the record cannot be read.
        """
        seen = self._authority.ledger.epoch, self._authority.epoch
        if seen == self._seen and self._next_at is not None and now < self._next_at:
            return Round()
        made, failed = self._make(now)
        found = kept(self._authority, now)
        try:
            if found != self.published or not self._written:
                self._written = False
                self.published = MappingProxyType(dict(found))
                self._write(found)
                self._written = True
        except CertsError as refused:
            failed.append(refused)
        due = min((crl.due_at for crl in found.values() if crl.due_at > now), default=now + self._lifetime)
        self._seen, self._next_at = seen, now + RETRY if failed else due
        return Round(made=made, failed=tuple(failed))

    def _make(self, now: dt.datetime) -> tuple[tuple[Made, ...], list[CertsError]]:
        made: list[Made] = []
        failed: list[CertsError] = []
        for record in crls.listing(self._authority.records, now):
            try:
                why = crls.outdated(self._authority.ledger, record, now)
                if why and self._has_key(record):
                    key = self._authority.key_of(record)
                    crl = crls.make(self._authority.ledger, record, key, now, lifetime=self._lifetime)
                    made.append(Made(crl=crl, why=why))
            except CertsError as refused:
                failed.append(refused)
        return tuple(made), failed

    def _has_key(self, record: AuthorityRecord) -> bool:
        """Say whether a list can be made: a standby whose key is kept elsewhere has none until it takes over."""
        return record.state is not State.STANDBY or self._authority.keys.holds(record.key_id)

    def _write(self, found: Mapping[str, Crl]) -> None:
        """Write what differs from what is there, the whole of the lists last. Raises SvidFileError."""
        if self._directory is None:
            return
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            there = {path.name for path in self._directory.iterdir() if _FILE.fullmatch(path.name)}
        except OSError as refused:
            raise SvidFileError(f"{self._directory}: cannot be used: {refused.strerror}") from refused
        for key_id, crl in found.items():
            _replace(self._directory / file_name(key_id), crl.der)
        _replace(self._directory / ALL_FILE, pem_of(found))
        for name in there - {file_name(key_id) for key_id in found}:
            (self._directory / name).unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    if not path.exists() or read_bounded(path, _MAX_FILE_BYTES) != content:
        write_file(path, content, mode=0o644)
