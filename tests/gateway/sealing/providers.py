"""What every key-encryption provider does: one suite, for providers of all sorts."""

from __future__ import annotations

import os

import pytest

from gateway.sealing.keyring import new_key_id, wrap_context
from gateway.sealing.provider_set import NamedProvider
from gateway.sealing.providers import UnwrapRefused, Wrapped

MADE_AT = 1_790_000_000


def context(number: int = 1, tenant: str = "demo") -> bytes:
    """Return what a wrap is bound to."""
    return wrap_context(new_key_id(MADE_AT, number.to_bytes(6, "big")), "node-1", tenant, MADE_AT, MADE_AT + 900)


def conforms(provider: NamedProvider, *, flip: slice = slice(None)) -> Wrapped:
    """See that a provider wraps and unwraps, and refuses what is another's or altered; `flip` names the octets that are
    altered one by one. Return a wrap."""
    key = os.urandom(32)
    wrapped, again = provider.wrap(key, context()), provider.wrap(key, context())
    assert wrapped.octets != again.octets, "two wraps of one key are two"
    assert key not in wrapped.octets
    assert len(wrapped.octets) <= 4096
    assert provider.knows(wrapped.kek_id)
    assert not provider.knows("00" * 8)
    first, second = provider.unwrap(wrapped, context()), provider.unwrap(again, context())
    assert first == second == key
    assert first is not second, "each caller may overwrite what it got"
    for other in (context(2), context(tenant="other")):
        with pytest.raises(UnwrapRefused):
            provider.unwrap(wrapped, other)
    for at in range(*flip.indices(len(wrapped.octets))):
        octets = bytearray(wrapped.octets)
        octets[at] ^= 1
        with pytest.raises(UnwrapRefused):
            provider.unwrap(Wrapped(wrapped.kek_id, bytes(octets)), context())
    return wrapped
