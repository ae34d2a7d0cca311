"""What the authority remembers, in SQLite: its own authorities and their states, and every certificate it has issued.

A certificate is recorded, on disk, before it leaves the authority; one that cannot be recorded is not handed out. Every
change of an authority's state is one transaction, and increments the epoch, by which a process that runs notices it.
Expired records are kept for 90 days. It knows no certificate rule, and is used from one thread at a time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.ca.events import chained
from certs.ca.schema import STEPS
from certs.ca.states import Kind, State, require_transition
from certs.errors import AuthorityError, AuthorityMissing, CertificateRevoked, Reason

KEEP_EXPIRED: Final = dt.timedelta(days=90)
MAX_LISTED: Final = 10_000
_BUSY_MS: Final = 5000
_PRUNED_AT_ONCE: Final = 100
ATTESTED_BY_SVID: Final = "svid "  # and the serial number of the certificate on whose word another was issued
_ISSUED: Final = (
    "SELECT serial, spiffe_id, key_hash, authority_key_id, asked_by, attested_by, issued_at, not_before, not_after "
    "FROM issued "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRecord:
    """One authority of ours.

    Attributes:
        key_id: its subject key id, lower-case hexadecimal: what its SVIDs carry as authority key id.
        kind, state: what it is.
        certificate: its certificate.
        created_at, changed_at: when it was made, and when its state changed last, UTC.
        suspect_from: for tainted ones, from when on its key may have been in other hands, UTC; else None.
    """

    key_id: str
    kind: Kind
    state: State
    certificate: x509.Certificate
    created_at: dt.datetime
    changed_at: dt.datetime
    suspect_from: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedRecord:
    """One certificate that was issued.

    Attributes:
        serial: its serial number, lower-case hexadecimal.
        spiffe_id: whose it is.
        key_hash: SHA-256 of its public key (SubjectPublicKeyInfo), lower-case hexadecimal.
        authority_key_id: the key id of the authority that signed it.
        asked_by: who asked for it: a SPIFFE ID, or the account on this machine.
        attested_by: what that was believed on, such as `local`, `svid` or `token`.
        issued_at, not_before, not_after: times, UTC.
    """

    serial: str
    spiffe_id: str
    key_hash: str
    authority_key_id: str
    asked_by: str
    attested_by: str
    issued_at: dt.datetime
    not_before: dt.datetime
    not_after: dt.datetime


def key_id_of(certificate: x509.Certificate) -> str:
    """Return the subject key id of an authority's certificate, lower-case hexadecimal."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def issuer_key_id_of(certificate: x509.Certificate) -> str:
    """Return the key id of the authority that signed a certificate, lower-case hexadecimal; its own for a root."""
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return (found or b"").hex()


class Ledger:
    """The authority's database, `ca.db`."""

    def __init__(self, path: Path) -> None:
        """Open the database. Raises AuthorityMissing when there is none, AuthorityError when it cannot be used."""
        if not path.exists():
            raise AuthorityMissing(f"{path}: the authority's record is missing: restore it from a backup")
        with _translated(path):
            self._path = path
            self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._db.set_busy_timeout(_BUSY_MS)
            _give_functions(self._db)
            self._db.pragma("synchronous", "full")
            version = self._db.pragma("user_version")
        if not isinstance(version, int) or not 0 < version <= len(STEPS):
            self._db.close()
            raise AuthorityError(f"{path}: format {version!r} is not known to this version of smsgw: update it")
        if version < len(STEPS):
            self._migrate()

    def _migrate(self) -> None:
        """Bring the file to this version's format, in one transaction."""
        with self.writing() as db:
            for step in STEPS[int(str(db.pragma("user_version"))) :]:
                db.execute(step)
            db.pragma("user_version", len(STEPS))

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make the database, mode 0600. Raises AuthorityError."""
        path.touch(mode=0o600, exist_ok=False)
        with _translated(path), contextlib.closing(apsw.Connection(str(path))) as db:
            db.pragma("journal_mode", "wal")
            _give_functions(db)
            with db:
                for step in STEPS:
                    db.execute(step)
                db.pragma("user_version", len(STEPS))
        return cls(path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextlib.contextmanager
    def changing(self) -> Iterator[apsw.Connection]:
        """Do what happens inside as one transaction, which increments the epoch. Raises AuthorityError."""
        with self.writing() as db:
            db.execute("UPDATE counters SET value = value + 1 WHERE name = 'epoch'")
            yield db

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Read what is committed. Raises AuthorityError."""
        with _translated(self._path):
            yield self._db

    @contextlib.contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Read what is read inside as it was at one moment, whatever other processes commit. Raises AuthorityError."""
        with _translated(self._path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """Do what happens inside as one transaction that no other process's can interleave. Raises AuthorityError."""
        with _translated(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @property
    def epoch(self) -> int:
        """A number that grows with each change of an authority, by whichever process."""
        return self._counter("epoch")

    @property
    def bundle_sequence(self) -> int:
        """A number that grows with each change of what the bundle holds."""
        return self._counter("bundle")

    def _counter(self, name: str) -> int:
        with _translated(self._path):
            return int(self._db.execute("SELECT value FROM counters WHERE name = ?", (name,)).get)

    def setting(self, name: str) -> str:
        """Return what is set for the authority by this name; empty when nothing is. Raises AuthorityError."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return "" if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        """Set something for the authority; running processes notice. Raises AuthorityError."""
        with self.changing() as db:
            db.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))

    def authorities(self) -> tuple[AuthorityRecord, ...]:
        """Return every authority, the oldest first."""
        sql = (
            "SELECT key_id, kind, state, certificate, created_at, changed_at, suspect_from FROM authorities "
            "ORDER BY created_at, key_id"
        )
        with _translated(self._path):
            rows = self._db.execute(sql).fetchall()
        return tuple(_authority(row) for row in rows)

    def add_authority(self, kind: Kind, state: State, certificate: x509.Certificate, now: dt.datetime) -> None:
        """Record a new authority; within `changing`."""
        at, der = _seconds(now), certificate.public_bytes(Encoding.DER)
        sql = (
            "INSERT INTO authorities (key_id, kind, state, certificate, created_at, changed_at) "
            "VALUES (?, ?, ?, ?, ?, ?)"
        )
        self._db.execute(sql, (key_id_of(certificate), kind.value, state.value, der, at, at))
        if kind is Kind.ROOT:
            self.count_bundle()

    def set_state(
        self, record: AuthorityRecord, state: State, now: dt.datetime, *, suspect_from: dt.datetime | None = None
    ) -> None:
        """Change an authority's state; within `changing`. Raises AuthorityError for a change that is not allowed."""
        require_transition(record.key_id, record.state, state)
        sql = (
            "UPDATE authorities SET state = ?, changed_at = ?, suspect_from = coalesce(?, suspect_from) "
            "WHERE key_id = ? AND state = ?"
        )
        suspect = None if suspect_from is None else _seconds(suspect_from)
        self._db.execute(sql, (state.value, _seconds(now), suspect, record.key_id, record.state.value))
        if self._db.changes() != 1:
            raise AuthorityError(
                f"authority {record.key_id} was changed by another process at this moment: look, and try again",
                reason=Reason.AUTHORITY_STATE,
            )
        if record.kind is Kind.ROOT and state is State.REVOKED:
            self.count_bundle()

    def set_home(self, key_id: str, home: str) -> None:
        """Record where a key is, "" for the authority's directory; within `changing`."""
        if home:
            self._db.execute("INSERT OR REPLACE INTO key_homes (key_id, home) VALUES (?, ?)", (key_id, home))
        else:
            self._db.execute("DELETE FROM key_homes WHERE key_id = ?", (key_id,))

    def count_bundle(self) -> None:
        """Note that the bundle changes; within `changing`."""
        self._db.execute("UPDATE counters SET value = value + 1 WHERE name = 'bundle'")

    def record(self, issued: IssuedRecord) -> None:
        """Put an issued certificate on record; returns when it is on disk.

        Raises CertificateRevoked when its key is revoked, or the certificate on whose word it was issued: whoever
        revokes at this moment, in whichever process, comes before it or finds it. Raises AuthorityError.
        """
        before = _seconds(issued.issued_at - KEEP_EXPIRED)
        with self.writing() as db:
            self.refuse_revoked_key(issued.key_hash)
            self.refuse_revoked(issued.attested_by.removeprefix(ATTESTED_BY_SVID))
            db.execute("INSERT INTO issued VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(issued))
            db.execute(
                "DELETE FROM issued WHERE serial IN (SELECT serial FROM issued WHERE not_after < ? LIMIT ?)",
                (before, _PRUNED_AT_ONCE),
            )

    def refuse_revoked(self, serial: str) -> None:
        """Raise CertificateRevoked when the certificate with this serial number, lower-case hexadecimal, is revoked."""
        with self.reading() as db:
            if db.execute("SELECT 1 FROM revoked WHERE serial = ?", (serial,)).fetchone() is not None:
                raise CertificateRevoked(f"the certificate with serial number {serial} is revoked: attest anew")

    def refuse_revoked_key(self, key_hash: str) -> None:
        """Raise CertificateRevoked when a certificate for this key was revoked, however long ago."""
        with self.reading() as db:
            if db.execute("SELECT 1 FROM revoked_keys WHERE key_hash = ?", (key_hash,)).fetchone() is not None:
                raise CertificateRevoked("this key belonged to a certificate that is revoked: make another key")

    def issued(self, serial: str) -> IssuedRecord | None:
        """Return the record of a serial number in lower-case hexadecimal, None when there is none."""
        with _translated(self._path):
            row = self._db.execute(_ISSUED + "WHERE serial = ?", (serial,)).fetchone()
        return None if row is None else _issued(row)

    def valid_at(
        self,
        now: dt.datetime,
        *,
        ending_by: dt.datetime | None = None,
        spiffe_id: str | None = None,
        authority_key_id: str | None = None,
        limit: int = MAX_LISTED,
    ) -> tuple[IssuedRecord, ...]:
        """Return the certificates that are not expired at `now`, the first to end first; at most `limit`."""
        wanted: Sequence[tuple[str, object]] = (
            ("not_after >= ?", _seconds(now)),
            ("not_after <= ?", None if ending_by is None else _seconds(ending_by)),
            ("spiffe_id = ?", spiffe_id),
            ("authority_key_id = ?", authority_key_id),
        )
        given = [(condition, value) for condition, value in wanted if value is not None]
        where = " AND ".join(condition for condition, _ in given)
        sql = _ISSUED + f"WHERE {where} ORDER BY not_after, serial LIMIT ?"
        with _translated(self._path):
            rows = self._db.execute(sql, (*(value for _, value in given), limit)).fetchall()
        return tuple(_issued(row) for row in rows)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise AuthorityError for what SQLite refuses: nothing is issued without its record."""
    try:
        yield
    except apsw.ConstraintError as refused:
        raise AuthorityError(f"{path}: this is recorded already: look, and try again") from refused
    except apsw.Error as refused:
        raise AuthorityError(f"{path}: the authority's record cannot be used: {refused}") from refused


def _give_functions(db: apsw.Connection) -> None:
    """Give a connection what the triggers of `certs.ca.event_schema` call."""
    db.create_scalar_function("chained", _chained, deterministic=True)
    db.create_scalar_function("actor", _actor, 0)


def _chained(*values: Any) -> bytes:  # what SQLite has
    return chained(*values)


def _actor(*_: Any) -> str:
    return f"uid {os.getuid()}"


def _seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: object) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(str(seconds)), dt.UTC)


def _authority(row: Sequence[object]) -> AuthorityRecord:
    key_id, kind, state, der, created_at, changed_at, suspect_from = row
    if not isinstance(der, bytes):
        raise AuthorityError("the record of an authority holds no certificate: restore it from a backup")
    return AuthorityRecord(
        key_id=str(key_id),
        kind=Kind(str(kind)),
        state=State(str(state)),
        certificate=x509.load_der_x509_certificate(der),
        created_at=_moment(created_at),
        changed_at=_moment(changed_at),
        suspect_from=None if suspect_from is None else _moment(suspect_from),
    )


def _row(issued: IssuedRecord) -> tuple[str | int, ...]:
    return (
        issued.serial,
        issued.spiffe_id,
        issued.key_hash,
        issued.authority_key_id,
        issued.asked_by,
        issued.attested_by,
        *(_seconds(moment) for moment in (issued.issued_at, issued.not_before, issued.not_after)),
    )


def _issued(row: Sequence[object]) -> IssuedRecord:
    serial, spiffe_id, key_hash, authority_key_id, asked_by, attested_by, issued_at, not_before, not_after = row
    return IssuedRecord(
        serial=str(serial),
        spiffe_id=str(spiffe_id),
        key_hash=str(key_hash),
        authority_key_id=str(authority_key_id),
        asked_by=str(asked_by),
        attested_by=str(attested_by),
        issued_at=_moment(issued_at),
        not_before=_moment(not_before),
        not_after=_moment(not_after),
    )
