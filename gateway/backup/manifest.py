"""What a backup says of itself: one JSON file beside its files, written last, so that what has none is not whole.

It tells damage and mistakes, and no forgery: whoever can write the backup can write the manifest too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gateway.backup.errors import BackupDamaged

MANIFEST = "manifest.json"
MAX_BYTES = 4 << 20
DATABASE, KEYS = "database", "keys"

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One file of a backup."""

    size_bytes: int
    sha256: str  # lower-case hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One backup: `kind` is DATABASE or KEYS. `schema` and `counts` are 0 and empty for keys."""

    kind: str
    node: str
    taken_at: int  # microseconds since the Unix epoch; what was committed before it is in the backup
    program: str  # the version of smsgw that took it
    schema: int
    counts: Mapping[str, int]  # "messages.ACCEPTED", "events", "audit_commits"
    files: Mapping[str, Digest]

    def encode(self) -> bytes:
        """Return the file's octets."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2, sort_keys=True).encode() + b"\n"


def decode(octets: bytes, kind: str) -> Manifest:
    """Return what a manifest says, of a backup of this `kind`. Raises BackupDamaged."""
    try:
        document = json.loads(octets)
        if document["format"] != _FORMAT:
            raise BackupDamaged("its manifest is of another format: use the smsgw that took it, or a newer one")
        found = Manifest(
            kind=str(document["kind"]),
            node=str(document["node"]),
            taken_at=int(document["taken_at"]),
            program=str(document["program"]),
            schema=int(document["schema"]),
            counts={str(name): int(number) for name, number in document["counts"].items()},
            files={_name(name): _digest(entry) for name, entry in document["files"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupDamaged("its manifest cannot be read") from error
    if found.kind != kind:
        raise BackupDamaged(f"it is a backup of {found.kind}, and not of {kind}")
    return found


def _name(name: str) -> str:
    """A name of the backup's own folder, and no way out of it."""
    if not _NAME.fullmatch(name) or name == MANIFEST:
        raise ValueError("no file's name")
    return name


def _digest(entry: Mapping[str, object]) -> Digest:
    size, sha256 = entry["size_bytes"], entry["sha256"]
    if not isinstance(size, int) or size < 0 or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError("no digest")
    return Digest(size_bytes=size, sha256=sha256)
