"""Entries, lists and keys for tests."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.revocation.codec import SignedList, encode_body, sign
from gateway.revocation.entries import FOR_GOOD, DenyList, Entry, What

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
ROBBED = "spiffe://example.org/demo/robbed"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYS = [KEY.public_key()]
_ids = iter(range(1, 1 << 30))


def certificate(serial: str = "3d54", authority_key_id: str = "1e44", **fields: Any) -> Entry:
    """Return an entry that names a certificate."""
    return _entry(What.CERTIFICATE, serial=serial, authority_key_id=authority_key_id, **fields)


def identity(spiffe_id: str = ROBBED, **fields: Any) -> Entry:
    """Return an entry that names an identity, for good unless there is a cutoff."""
    return _entry(What.IDENTITY, spiffe_id=spiffe_id, **{"cutoff": FOR_GOOD, **fields})


def authority(key_hash: str = "a7" * 32, **fields: Any) -> Entry:
    """Return an entry that names an authority."""
    return _entry(What.AUTHORITY, key_hash=key_hash, **fields)


def _entry(what: What, **fields: Any) -> Entry:
    return Entry(**{"id": f"{next(_ids):08x}", "what": what, "revoked_at": NOW, "reason": "stolen", **fields})


def deny_list(*entries: Entry, now: int = NOW) -> DenyList:
    """Return a list of these."""
    return DenyList().changed(entries, (), now)


def signed(
    deny: DenyList, key: Ed25519PrivateKey = KEY, *, issued_at: int = NOW, expires_at: int = NOW + 60 * SECOND
) -> SignedList:
    """Return a list as a publisher signs it."""
    body = encode_body(deny)
    return SignedList(sign(deny, body, key, issued_at=issued_at, expires_at=expires_at), body)
