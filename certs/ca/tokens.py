"""One-time join tokens: a secret that lets one host become one registered node, once, within minutes.

Only SHA-256 of a token is kept: it has 256 random bits, so that a slow hash would add nothing. Redeeming is one
statement that changes one row or none, which decides races between processes as well.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from typing import Final

from certs.ca.ledger import Ledger
from certs.errors import AuthorityError, ProfileRefused, TokenRefused
from certs.spiffe_id import SpiffeId

DEFAULT_TTL_S: Final = 10 * 60
MAX_TTL_S: Final = 24 * 60 * 60
MAX_OPEN: Final = 10_000
_PREFIX: Final = "smsgw-join-"  # so that secret scanners, and people, recognise one


def new_token(ledger: Ledger, spiffe_id: SpiffeId, ttl_s: int, now: dt.datetime) -> str:
    """Return a token for `spiffe_id` that is good for `ttl_s` seconds. Raises ProfileRefused, AuthorityError."""
    if not 1 <= ttl_s <= MAX_TTL_S:
        raise ProfileRefused(f"a join token of {ttl_s} s is not allowed: 1s to 24h are")
    token = _PREFIX + secrets.token_urlsafe(32)
    at = int(now.timestamp())
    with ledger.writing() as db:
        db.execute("DELETE FROM tokens WHERE expires_at < ?", (at,))
        if int(db.execute("SELECT count(*) FROM tokens WHERE used_at IS NULL").get) >= MAX_OPEN:
            raise AuthorityError(f"{MAX_OPEN} join tokens are open: wait until some are used or have expired")
        db.execute(
            "INSERT INTO tokens (hash, spiffe_id, expires_at) VALUES (?, ?, ?)",
            (_hash(token), str(spiffe_id), at + ttl_s),
        )
    return token


def redeem(ledger: Ledger, token: str, now: dt.datetime) -> SpiffeId:
    """Use a token up; returns for whom it was. Raises TokenRefused, the same for every reason."""
    at = int(now.timestamp())
    sql = "UPDATE tokens SET used_at = ? WHERE hash = ? AND used_at IS NULL AND expires_at >= ? RETURNING spiffe_id"
    with ledger.writing() as db:
        row = db.execute(sql, (at, _hash(token), at)).fetchone()
    if row is None:
        raise TokenRefused("the join token is unknown, used or expired: make another one with `smsgw ca token`")
    return SpiffeId.parse(str(row[0]))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
