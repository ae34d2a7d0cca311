"""The keys that sign JWT-SVIDs: one signs for a week, the next is in the bundle a day before it does.

A key leaves the bundle an hour after it has signed its last token, long after that token has ended. A tainted one
leaves at once: other than for an intermediate, a bundle can say so, and whoever needs a token fetches another.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from certs.ca.keys import Keys, new_key_in
from certs.ca.ledger import Ledger
from certs.errors import AuthorityError
from certs.jwt_svid import JwtAuthority

SIGNS_FOR: Final = dt.timedelta(days=7)
PUBLISHED_BEFORE: Final = dt.timedelta(days=1)
PUBLISHED_AFTER: Final = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtKey:
    """A key of ours: it signs from `active_at` on, and is in the bundle until `ends_at`."""

    key_id: str
    key: ec.EllipticCurvePublicKey
    active_at: dt.datetime
    ends_at: dt.datetime

    @property
    def authority(self) -> JwtAuthority:
        """The key as the bundle holds it."""
        return JwtAuthority(key_id=self.key_id, key=self.key)


def jwt_keys(ledger: Ledger) -> tuple[JwtKey, ...]:
    """Return every key, the oldest first. Raises AuthorityError."""
    with ledger.reading() as db:
        rows = db.execute(
            "SELECT key_id, public, active_at, ends_at FROM jwt_keys ORDER BY active_at, key_id"
        ).fetchall()
    return tuple(_key(row) for row in rows)


def _key(row: Sequence[object]) -> JwtKey:
    key_id, public, active_at, ends_at = row
    key = load_der_public_key(public) if isinstance(public, bytes) else None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise AuthorityError(f"the JWT key {key_id} on record is no EC key: restore the directory from a backup")
    active, ends = (dt.datetime.fromtimestamp(int(str(seconds)), dt.UTC) for seconds in (active_at, ends_at))
    return JwtKey(key_id=str(key_id), key=key, active_at=active, ends_at=ends)


def signing_key(keys: tuple[JwtKey, ...], now: dt.datetime) -> JwtKey | None:
    """Return the key that signs at `now`: the last to have become active; None when there is none."""
    return next((key for key in reversed(keys) if key.active_at <= now < key.active_at + SIGNS_FOR), None)


def keep_keys(homes: Keys, ledger: Ledger, now: dt.datetime) -> bool:
    """Make the next key in time, and drop those that are over; says whether something changed.

    Raises AuthorityError, SvidFileError.
    """
    keys = jwt_keys(ledger)
    over = [key for key in keys if key.ends_at < now]
    begins = _next_begins(keys, now)
    if begins is None and not over:
        return False
    made = None if begins is None else _new_key(homes)
    with ledger.changing() as db:
        for key in over:
            db.execute("DELETE FROM jwt_keys WHERE key_id = ?", (key.key_id,))
        if made is not None and begins is not None:
            ends = begins + SIGNS_FOR + PUBLISHED_AFTER
            times = int(begins.timestamp()), int(ends.timestamp())
            key_id, public, home = made
            row = key_id, public, *times
            db.execute("INSERT INTO jwt_keys (key_id, public, active_at, ends_at) VALUES (?, ?, ?, ?)", row)
            ledger.set_home(key_id, home)
        ledger.count_bundle()
    for key in over:
        homes.destroy(key.key_id)
    return True


def _next_begins(keys: tuple[JwtKey, ...], now: dt.datetime) -> dt.datetime | None:
    """Return when a key that is to be made now begins to sign: at once when there is none; None when none is needed."""
    last = keys[-1] if keys else None
    if last is None or (signing_key(keys, now) is None and last.active_at <= now):
        return now
    follows = last.active_at + SIGNS_FOR
    return follows if now >= follows - PUBLISHED_BEFORE else None


def _new_key(homes: Keys) -> tuple[str, bytes, str]:
    """Make a key and keep it where those that issue are; returns its id, its public half and its home."""
    key, home = new_key_in(homes.default_place(), "jwt")
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_id = hashlib.sha256(public).hexdigest()[:40]
    homes.keep(key_id, key, home)
    return key_id, public, home


def taint_key(homes: Keys, ledger: Ledger, key_id: str, now: dt.datetime) -> None:
    """Take a key out of the bundle at once, destroy it, and have another that signs from now on.

    Raises AuthorityError, SvidFileError.
    """
    if not any(key.key_id == key_id for key in jwt_keys(ledger)):
        raise AuthorityError(f"no JWT key has the id {key_id[:60]!a}: `smsgw ca show` lists them")
    with ledger.changing() as db:
        db.execute("DELETE FROM jwt_keys WHERE key_id = ?", (key_id,))
        ledger.count_bundle()
    homes.destroy(key_id)
    if signing_key(jwt_keys(ledger), now) is None:
        with ledger.changing() as db:  # the next one, were there one, waits for its day no longer
            db.execute("UPDATE jwt_keys SET active_at = ? WHERE active_at > ?", (int(now.timestamp()),) * 2)
        keep_keys(homes, ledger, now)
