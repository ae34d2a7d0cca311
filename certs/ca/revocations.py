"""Leaf certificates that are revoked: which ones, when, why (RFC 5280 §5.3.1), and who asked.

A revocation reaches more than it names. With a certificate goes every other one for its key, and whatever was issued on
its word: renewals of it, and the SVIDs that a node asked for with it. A revoked key is never certified again, so keys
are remembered for good. It decides nothing about who may revoke, and makes no list (`certs.ca.crl_profile` does).
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import apsw

from certs.ca.ledger import ATTESTED_BY_SVID, KEEP_EXPIRED, Ledger
from certs.errors import NotRecorded, ProfileRefused
from certs.spiffe_id import SpiffeId

MAX_REASON: Final = 500
_PRUNED_AT_ONCE: Final = 1000
_SELECT: Final = (
    "SELECT serial, authority_key_id, spiffe_id, not_after, revoked_at, code, reason, asked_by FROM revoked "
)
# From some certificates to all that are revoked with them: UNION drops what was reached before, so that it ends.
_REACHED: Final = """
WITH RECURSIVE reached (serial, key_hash) AS (
    SELECT serial, key_hash FROM issued WHERE {start}
    UNION
    SELECT found.serial, found.key_hash FROM reached JOIN issued AS found
        ON found.key_hash = reached.key_hash OR found.attested_by = :word || reached.serial
)
SELECT serial FROM reached
"""
_BY_SERIAL: Final = _REACHED.format(start="serial = :target")
_BY_IDENTITY: Final = _REACHED.format(
    start="(spiffe_id = :target AND not_after >= :now) OR (asked_by = :target AND not_after >= :now)"
)


class Code(enum.IntEnum):
    """Why, as RFC 5280 §5.3.1 numbers it: those that fit a leaf which is revoked for good."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    PRIVILEGE_WITHDRAWN = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Why something is to be revoked, and who asks.

    Attributes:
        code: for machines and lists.
        reason: for people, 1 to 500 printable characters. Raises ProfileRefused for others.
        asked_by: a SPIFFE ID, or the account on this machine.
    """

    code: Code
    reason: str
    asked_by: str

    def __post_init__(self) -> None:
        if not (self.reason.strip() and len(self.reason) <= MAX_REASON and self.reason.isprintable()):
            raise ProfileRefused(f"a revocation needs a reason of 1 to {MAX_REASON} printable characters in one line")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One certificate that is revoked; numbers and key ids in lower-case hexadecimal, times UTC."""

    serial: str
    authority_key_id: str
    spiffe_id: str
    not_after: dt.datetime
    revoked_at: dt.datetime
    code: Code
    reason: str
    asked_by: str


def revoke_identity(ledger: Ledger, spiffe_id: SpiffeId, order: Order, now: dt.datetime) -> tuple[Revocation, ...]:
    """Revoke what an identity holds, and its open join tokens; returns what is revoked of it and not expired.

    That includes what was revoked before, so that it can be repeated; none when it holds nothing. An identity that is
    still registered, or gets another token, is issued anew. Raises AuthorityError.
    """
    return _revoke(ledger, _BY_IDENTITY, str(spiffe_id), order, now)


def revoke_serial(ledger: Ledger, serial: str, order: Order, now: dt.datetime) -> tuple[Revocation, ...]:
    """Revoke one certificate by its serial number, as openssl or we write it; returns as `revoke_identity` does.

    One that has expired and is on record still reaches what was issued on its word. Raises NotRecorded, AuthorityError.
    """
    return _revoke(ledger, _BY_SERIAL, serial.replace(":", "").lower().lstrip("0"), order, now)


def _revoke(ledger: Ledger, reached: str, target: str, order: Order, now: dt.datetime) -> tuple[Revocation, ...]:
    at, values = int(now.timestamp()), {"target": target, "word": ATTESTED_BY_SVID, "now": int(now.timestamp())}
    with ledger.changing() as db:
        serials = [str(row[0]) for row in db.execute(reached, values)]
        if reached is _BY_SERIAL and not serials:
            raise NotRecorded(f"no certificate with the serial number {target[:60]!a} is on record here")
        db.executemany(
            "INSERT OR IGNORE INTO revoked "
            "(serial, authority_key_id, spiffe_id, not_after, revoked_at, code, reason, asked_by) "
            "SELECT serial, authority_key_id, spiffe_id, not_after, ?, ?, ?, ? FROM issued "
            "WHERE serial = ? AND not_after >= ?",
            [(at, order.code, order.reason, order.asked_by, serial, at) for serial in serials],
        )
        db.executemany(
            "INSERT OR IGNORE INTO revoked_keys (key_hash, revoked_at) SELECT key_hash, ? FROM issued WHERE serial = ?",
            [(at, serial) for serial in serials],
        )
        db.execute("DELETE FROM tokens WHERE spiffe_id = ? AND used_at IS NULL", (target,))
        _prune(db, now)
        found = [_one(db, serial) for serial in serials]
    return tuple(sorted((one for one in found if one is not None and one.not_after >= now), key=lambda one: one.serial))


def _prune(db: apsw.Connection, now: dt.datetime) -> None:
    """Drop revocations of certificates that ended long ago: their records are dropped then, too."""
    db.execute(
        "DELETE FROM revoked WHERE serial IN (SELECT serial FROM revoked WHERE not_after < ? LIMIT ?)",
        (int((now - KEEP_EXPIRED).timestamp()), _PRUNED_AT_ONCE),
    )


def _one(db: apsw.Connection, serial: str) -> Revocation | None:
    row = db.execute(_SELECT + "WHERE serial = ?", (serial,)).fetchone()
    return None if row is None else _revocation(row)


def revocation(ledger: Ledger, serial: str) -> Revocation | None:
    """Return what is on record of a revoked certificate, None when it is not revoked. Raises AuthorityError."""
    with ledger.reading() as db:
        return _one(db, serial)


def revoked_since(ledger: Ledger, ended_after: dt.datetime, *, limit: int) -> tuple[Revocation, ...]:
    """Return the revoked certificates that end at `ended_after` or later, the first to end first; at most `limit`."""
    sql = _SELECT + "WHERE not_after >= ? ORDER BY not_after, serial LIMIT ?"
    with ledger.reading() as db:
        rows = db.execute(sql, (int(ended_after.timestamp()), limit)).fetchall()
    return tuple(_revocation(row) for row in rows)


def revoked_of_asker(ledger: Ledger, asked_by: str, now: dt.datetime, *, limit: int) -> tuple[str, ...]:
    """Return the serial numbers of revoked certificates that an identity asked for and that are not expired."""
    sql = (  # from the few that are revoked, and not from the many that were asked for
        "SELECT revoked.serial FROM revoked CROSS JOIN issued ON issued.serial = revoked.serial "
        "WHERE issued.asked_by = ? AND revoked.not_after >= ? ORDER BY revoked.not_after DESC LIMIT ?"
    )
    with ledger.reading() as db:
        return tuple(str(row[0]) for row in db.execute(sql, (asked_by, int(now.timestamp()), limit)))


def _revocation(row: Sequence[object]) -> Revocation:
    serial, authority_key_id, spiffe_id, not_after, revoked_at, code, reason, asked_by = row
    ends, at = (dt.datetime.fromtimestamp(int(str(seconds)), dt.UTC) for seconds in (not_after, revoked_at))
    return Revocation(
        serial=str(serial),
        authority_key_id=str(authority_key_id),
        spiffe_id=str(spiffe_id),
        not_after=ends,
        revoked_at=at,
        code=Code(int(str(code))),
        reason=str(reason),
        asked_by=str(asked_by),
    )
