"""A backup of the database while its node runs, or while none does.

The wrapped data keys are no part of it, on purpose: what is destroyed in their folder is destroyed for every copy of
the database too. The deny list is: a host that came back without it would let in who was revoked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from gateway.backup import files
from gateway.backup.errors import BackupError, BackupRefused
from gateway.backup.manifest import DATABASE, Digest, Manifest
from gateway.revocation.errors import DenyListFileError
from gateway.revocation.files import LIST, SEEN, ListFiles
from gateway.store import soundness
from gateway.store.sqlite import inspecting, snapshot

DATABASE_FILE = "smsgw.db"
DENY_LIST = (LIST, SEEN)


def take(database: Path, data_dir: Path, folder: Path, *, node: str, rate: int, now: Callable[[], int]) -> Manifest:
    """Back the database up into `folder`, new or empty, at `rate` octets a second; what was written.

    Raises BackupError, StoreUnavailable or StoreCorrupt; then the folder has no manifest, and is no backup.
    """
    if not database.exists():
        raise BackupRefused(f"there is no database at {database}")
    files.new_folder(folder)
    target = folder / DATABASE_FILE
    try:
        os.close(files.create(target))
        copied = snapshot.copy(database, target, rate=rate, now=now)
        with inspecting.looking(target) as db:
            counts = soundness.counts(inspecting.fetching(db))
        files.sync(target)
        manifest = Manifest(
            kind=DATABASE,
            node=node,
            taken_at=copied.at,
            program=version("smsgw"),
            schema=copied.schema,
            counts={name: number for name, number in counts.items() if not name.startswith("queues.")},
            files={DATABASE_FILE: files.digest_of(target), **_deny_list(data_dir, folder)},
        )
        files.finish(folder, manifest)
    except OSError as error:
        raise BackupError(f"{error.filename or folder}: {error.strerror}") from error
    return manifest


def _deny_list(data_dir: Path, folder: Path) -> dict[str, Digest]:
    """Copy the list and what remembers its version, of one moment."""
    present = [name for name in DENY_LIST if (data_dir / name).exists()]
    if not present:
        return {}
    try:
        with ListFiles(data_dir).locked():
            return {name: files.copy(data_dir / name, folder / name) for name in present}
    except DenyListFileError as error:
        raise BackupError(str(error)) from error
