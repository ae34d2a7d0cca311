"""Keys are overwritten where they lie."""

from __future__ import annotations

import os

from gateway.sealing.wiping import wipe


def test_overwritten() -> None:
    """Every octet of each, and nothing beside them; what the interpreter shares is left alone."""
    keys = [os.urandom(size) for size in (2, 32, 4096)]
    neighbour = os.urandom(32)
    before = bytes(bytearray(neighbour))
    wipe(*keys)
    assert [bytes(len(key)) for key in keys] == keys
    assert neighbour == before
    wipe(b"", b"a")
    assert b"a"[0] == 97
