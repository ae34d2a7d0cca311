"""A copy of the folder of wrapped data keys, for another place than the backups of the database.

It is to be taken after the database: a key is on disk before it seals anything, so that no row of the backup has a key
that is not in the copy. A line that is just being written belongs to a key that was not used yet.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from gateway.backup import files
from gateway.backup.errors import BackupError, BackupRefused
from gateway.backup.manifest import KEYS, Manifest


def take_keys(wrapped: Path, folder: Path, *, node: str, now: Callable[[], int]) -> Manifest:
    """Copy the folder of wrapped keys into `folder`, new or empty; what was written. Raises BackupError."""
    if not wrapped.is_dir():
        raise BackupRefused(f"there are no wrapped data keys at {wrapped}")
    files.new_folder(folder)
    at = now()
    try:
        copied = {file.name: files.copy(file, folder / file.name) for file in sorted(wrapped.glob("*.keys"))}
        manifest = Manifest(
            kind=KEYS, node=node, taken_at=at, program=version("smsgw"), schema=0, counts={}, files=copied
        )
        files.finish(folder, manifest)
    except OSError as error:
        raise BackupError(f"{error.filename or folder}: {error.strerror}") from error
    return manifest
