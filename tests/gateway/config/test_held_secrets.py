"""Secrets in memory have names that open in this process, and no others are taken for theirs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.held_secrets import HeldSecrets


@pytest.fixture
def held() -> Iterator[HeldSecrets]:
    """Secrets that are forgotten after the test."""
    secrets = HeldSecrets()
    yield secrets
    secrets.close()


def test_a_place_keeps_its_name(held: HeldSecrets) -> None:
    """A new value takes the place of the old one, whole; a reader of the old one is not disturbed."""
    place = held.place("vault:a#b")
    assert place.read_bytes() == b""
    held.put("vault:a#b", b"a longer first value")
    with place.open("rb") as opened:
        held.put("vault:a#b", b"second")
        assert opened.read() == b"a longer first value"
    assert held.place("vault:a#b") == place
    assert place.read_bytes() == b"second"


def test_private_and_not_inherited(held: HeldSecrets) -> None:
    """The mode is that of a secret file, and a program that is started does not get the descriptor."""
    place = held.place("vault:a#b")
    held.put("vault:a#b", b"secret")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert not os.get_inheritable(int(place.name))


def test_what_is_held(held: HeldSecrets, tmp_path: Path) -> None:
    """Only places given out here count, not whatever else has a descriptor."""
    assert held.has(held.place("vault:a#b"))
    with (tmp_path / "file").open("wb") as other:
        assert not held.has(Path(f"/proc/self/fd/{other.fileno()}"))
    assert not held.has(tmp_path / "file")
    assert not held.has(Path("/proc/self/fd") / ".." / "fd" / held.place("vault:a#b").name)


def test_bound(held: HeldSecrets) -> None:
    """There is an end to how many there may be."""
    for number in range(256):
        held.place(f"vault:a#{number}")
    with pytest.raises(ValueError, match="more than 256"):
        held.place("vault:a#more")
    assert held.has(held.place("vault:a#7"))


def test_forgotten(held: HeldSecrets) -> None:
    """What is forgotten cannot be opened any more."""
    place = held.place("vault:a#b")
    held.close()
    assert not place.exists()
    assert not held.has(place)
