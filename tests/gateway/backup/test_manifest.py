"""What a backup says of itself, and what it may not say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.backup.errors import BackupDamaged
from gateway.backup.manifest import DATABASE, KEYS, Digest, Manifest, decode

MANIFEST = Manifest(
    kind=DATABASE,
    node="node-1",
    taken_at=1_800_000_000_000_000,
    program="0.1",
    schema=10,
    counts={"messages.ACCEPTED": 3},
    files={"smsgw.db": Digest(size_bytes=4096, sha256="ab" * 32)},
)


def test_round_trip() -> None:
    """What was written is read."""
    assert decode(MANIFEST.encode(), DATABASE) == MANIFEST


def test_another_kind() -> None:
    """The keys are not taken for the database."""
    with pytest.raises(BackupDamaged, match="backup of database, and not of keys"):
        decode(MANIFEST.encode(), KEYS)


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../smsgw.db": {"size_bytes": 1, "sha256": "ab" * 32}}},
        {"files": {"/etc/passwd": {"size_bytes": 1, "sha256": "ab" * 32}}},
        {"files": {".hidden": {"size_bytes": 1, "sha256": "ab" * 32}}},
        {"files": {"manifest.json": {"size_bytes": 1, "sha256": "ab" * 32}}},
        {"files": {"smsgw.db": {"size_bytes": 1, "sha256": "ab"}}},
        {"files": {"smsgw.db": {"size_bytes": "1", "sha256": "ab" * 32}}},
        {"files": ["smsgw.db"]},
        {"taken_at": None},
        {"counts": 3},
        {"format": 2},
    ],
)
def test_what_is_refused(change: dict[str, Any]) -> None:
    """No name leads out of the backup's folder, and nothing is guessed."""
    with pytest.raises(BackupDamaged):
        decode(json.dumps({**json.loads(MANIFEST.encode()), **change}).encode(), DATABASE)


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b"null", b"\xff"])
def test_what_is_no_manifest(octets: bytes) -> None:
    """Any octets are read or refused, and nothing else."""
    with pytest.raises(BackupDamaged):
        decode(octets, DATABASE)
