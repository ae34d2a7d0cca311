"""Callers for tests that begin behind the identity guard."""

from __future__ import annotations

import datetime as dt

from gateway.identity import Caller


def caller(*, tenant: str = "demo", spiffe_id: str = "spiffe://example.org/demo/api") -> Caller:
    """Return a caller as the identity guard would make it, valid for a century."""
    trust_domain, _, path = spiffe_id.removeprefix("spiffe://").partition("/")
    return Caller(
        spiffe_id=spiffe_id,
        trust_domain=trust_domain,
        path="/" + path,
        tenant=tenant,
        serial="01",
        authority_key_id="02",
        issuer_keys=("03",),
        not_before=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(2126, 1, 1, tzinfo=dt.UTC),
        fingerprint="04",
    )
