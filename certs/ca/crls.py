"""Revocation lists (RFC 5280 §5): one for each intermediate, of what it issued, and one for each root.

A list is numbered and its contents are read in one transaction; it is signed and checked outside of it, and kept unless
a later one was kept meanwhile: so a higher number never says less. Numbers are not below the seconds since 1970, so
that they grow even after an older record was restored. A root's list is made when its key is at hand. Where
lists are published is in `certs.ca.crl_publisher`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apsw
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs.ca.crl_checker import check_crl
from certs.ca.crl_profile import DEFAULT_LIFETIME, ROOT_LIFETIME, RevokedSerial, plan_crl
from certs.ca.ledger import AuthorityRecord, Ledger, issuer_key_id_of
from certs.ca.signer import sign_crl
from certs.ca.states import Kind, State
from certs.errors import AuthorityError

_CA_COMPROMISE, _CESSATION = 2, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Crl:
    """A list as it is on record.

    Attributes:
        key_id: whose it is.
        number: its number.
        der: its octets.
        next_update: when the next one is due at the latest, UTC.
        made_at: its `this_update`, UTC.
        serials: what it lists, lower-case hexadecimal.
    """

    key_id: str
    number: int
    der: bytes
    next_update: dt.datetime
    made_at: dt.datetime
    serials: frozenset[str]

    @property
    def due_at(self) -> dt.datetime:
        """When the next one is made though nothing changes: at half its time."""
        return self.made_at + (self.next_update - self.made_at) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reserved:
    """A number that no other list will have, and what is revoked at the moment that it stands for."""

    number: int
    scheduled_before: dt.datetime | None
    revoked: tuple[RevokedSerial, ...]


def listing(records: Iterable[AuthorityRecord], now: dt.datetime) -> tuple[AuthorityRecord, ...]:
    """Return the intermediates that have lists: all that are valid and not revoked, the standby too.

    A standby's list is there before its first certificate is, so that a takeover is no outage for who looks at lists.
    """
    return tuple(
        found
        for found in records
        if found.kind is Kind.INTERMEDIATE
        and found.state is not State.REVOKED
        and found.certificate.not_valid_after_utc >= now
    )


def current(ledger: Ledger, key_id: str) -> Crl | None:
    """Return the last list of an authority, None when there is none. Raises AuthorityError."""
    sql = "SELECT made, der, next_update FROM crls WHERE key_id = ? AND der IS NOT NULL"
    with ledger.reading() as db:
        row = db.execute(sql, (key_id,)).fetchone()
    if row is None:
        return None
    number, der, next_update = row
    if not isinstance(der, bytes):
        raise AuthorityError(f"the revocation list of {key_id} on record is damaged: restore it from a backup")
    crl = x509.load_der_x509_crl(der)
    return Crl(
        key_id=key_id,
        number=int(str(number)),
        der=der,
        next_update=_moment(next_update),
        made_at=crl.last_update_utc,
        serials=frozenset(f"{entry.serial_number:x}" for entry in crl),
    )


def outdated(ledger: Ledger, record: AuthorityRecord, now: dt.datetime) -> str:
    """Return why an authority needs another list now, empty when it does not."""
    crl = current(ledger, record.key_id)
    if crl is None:
        return "there is none"
    if now >= crl.due_at:
        return "it is due"
    with ledger.reading() as db:
        revoked = _revoked(db, record)
    missing = {found.serial for found in revoked if found.not_after >= now} - crl.serials
    return "something is revoked" if missing else ""


def make(
    ledger: Ledger,
    record: AuthorityRecord,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    *,
    lifetime: dt.timedelta = DEFAULT_LIFETIME,
) -> Crl:
    """Make, check and keep the next list of an authority, whose key is `key`.

    It is a scheduled one when half of `lifetime` has passed since the last that was, and else one between, because
    something was revoked: those that have ended are left out only once a scheduled one had them (RFC 5280 §3.3).
    Raises ProfileRefused, CheckFailed, AuthorityError.
    """
    taken = _reserve(ledger, record, now)
    before = taken.scheduled_before
    plan = plan_crl(record.certificate, taken.revoked, taken.number, now, lifetime=lifetime, scheduled_before=before)
    der = sign_crl(plan, key)
    codes = {found.serial: found.code for found in taken.revoked}
    valid = {found.serial for found in taken.revoked if found.not_after >= now}
    crl = check_crl(der, record.certificate, now, number=taken.number, revoked=codes, current=valid)
    _keep(ledger, record.key_id, taken.number, crl, der, scheduled=before is None or now - before >= lifetime / 2)
    kept = current(ledger, record.key_id)
    if kept is None:
        raise AuthorityError(f"the revocation list of {record.key_id} is not on record after it was made: try again")
    return kept


def make_root(ledger: Ledger, root: AuthorityRecord, key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> Crl:
    """Make the list of a root, of its revoked intermediates, while its key is at hand. Raises as `make` does."""
    return make(ledger, root, key, now, lifetime=ROOT_LIFETIME)


def _reserve(ledger: Ledger, record: AuthorityRecord, now: dt.datetime) -> _Reserved:
    """Take the next number, and see what is revoked, in one transaction."""
    sql = (
        "INSERT INTO crls (key_id, number) VALUES (:key_id, :least) "
        "ON CONFLICT (key_id) DO UPDATE SET number = max(number + 1, :least) RETURNING number, scheduled_at"
    )
    with ledger.writing() as db:
        found = db.execute(sql, {"key_id": record.key_id, "least": int(now.timestamp())}).fetchall()
        number, scheduled_at = found[0]
        return _Reserved(
            number=int(str(number)),
            scheduled_before=None if scheduled_at is None else _moment(scheduled_at),
            revoked=_revoked(db, record),
        )


def _revoked(db: apsw.Connection, record: AuthorityRecord) -> tuple[RevokedSerial, ...]:
    """Return what is revoked of all that an authority signed."""
    if record.kind is Kind.ROOT:
        sql = "SELECT certificate, changed_at, suspect_from FROM authorities WHERE kind = ? AND state = ?"
        rows = db.execute(sql, (Kind.INTERMEDIATE.value, State.REVOKED.value))
        found = [(x509.load_der_x509_certificate(der), row) for der, *row in rows]
        return tuple(_intermediate(one, row) for one, row in found if issuer_key_id_of(one) == record.key_id)
    sql = "SELECT serial, not_after, revoked_at, code FROM revoked WHERE authority_key_id = ?"
    return tuple(
        RevokedSerial(serial=serial, not_after=_moment(ends), revoked_at=_moment(at), code=code)
        for serial, ends, at, code in db.execute(sql, (record.key_id,))
    )


def _intermediate(certificate: x509.Certificate, row: Sequence[object]) -> RevokedSerial:
    changed_at, suspect_from = row
    return RevokedSerial(
        serial=f"{certificate.serial_number:x}",
        not_after=certificate.not_valid_after_utc,
        revoked_at=_moment(changed_at),
        code=_CESSATION if suspect_from is None else _CA_COMPROMISE,
    )


def _keep(
    ledger: Ledger, key_id: str, number: int, crl: x509.CertificateRevocationList, der: bytes, *, scheduled: bool
) -> None:
    """Keep a list, unless one with a higher number is kept already: that says all that this one does."""
    sql = (
        "UPDATE crls SET made = :number, der = :der, next_update = :next, "
        "scheduled_at = CASE WHEN :scheduled THEN :this ELSE scheduled_at END "
        "WHERE key_id = :key_id AND (made IS NULL OR made < :number)"
    )
    values = {
        "number": number,
        "der": der,
        "next": None if crl.next_update_utc is None else int(crl.next_update_utc.timestamp()),
        "this": int(crl.last_update_utc.timestamp()),
        "scheduled": scheduled,
        "key_id": key_id,
    }
    with ledger.writing() as db:
        db.execute(sql, values)


def _moment(seconds: object) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(str(seconds)), dt.UTC)
