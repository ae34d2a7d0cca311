"""Folders and files of a backup: private, copied whole, on disk before anybody relies on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.backup.errors import BackupDamaged, BackupRefused
from gateway.backup.manifest import MANIFEST, MAX_BYTES, Digest, Manifest, decode

_CHUNK_BYTES = 1 << 20


def new_folder(folder: Path) -> None:
    """Make a folder (0700) for a backup, or take an empty one. Raises BackupRefused for one that holds something."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BackupRefused(f"{folder} is not empty: name a folder of its own for each backup")
        folder.chmod(0o700)
    except OSError as error:
        raise BackupRefused(f"{folder}: {error.strerror}") from error


def apart(one: Path, other: Path) -> bool:
    """Say whether neither folder lies in the other."""
    first, second = one.resolve(), other.resolve()
    return not (first.is_relative_to(second) or second.is_relative_to(first))


def create(path: Path) -> int:
    """Return a descriptor of a new private file. Raises OSError; FileExistsError when there is one."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def copy(source: Path, target: Path) -> Digest:
    """Copy a file into a new private one, on disk when this returns; what was copied. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    descriptor = create(target)
    with source.open("rb") as octets, os.fdopen(descriptor, "wb") as copied:
        while chunk := octets.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            copied.write(chunk)
        copied.flush()
        os.fsync(copied.fileno())
    return Digest(size_bytes=size, sha256=digest.hexdigest())


def digest_of(path: Path) -> Digest:
    """Return what a file holds. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as octets:
        while chunk := octets.read(_CHUNK_BYTES):
            digest.update(chunk)
        return Digest(size_bytes=octets.tell(), sha256=digest.hexdigest())


def sync(path: Path) -> None:
    """Put a file, or a folder's entries, on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finish(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, which makes a backup of what is in the folder. Raises OSError."""
    unfinished = folder / f"{MANIFEST}.new"
    with os.fdopen(create(unfinished), "wb") as file:
        file.write(manifest.encode())
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / MANIFEST)
    sync(folder)
    sync(folder.parent)


def read_manifest(folder: Path, kind: str) -> Manifest:
    """Return what a backup says of itself. Raises BackupDamaged."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            return decode(file.read(MAX_BYTES), kind)
    except FileNotFoundError:
        raise BackupDamaged(f"{folder} holds no backup that was finished: it has no {MANIFEST}") from None
    except OSError as error:
        raise BackupDamaged(f"{folder}: {error.strerror}") from error
    except BackupDamaged as error:
        raise BackupDamaged(f"{folder}: {error}") from None


def copy_verified(folder: Path, files: Mapping[str, Digest], names: Mapping[str, Path]) -> None:
    """Copy files of a backup, `names` to where. Raises BackupDamaged for one that is not what the manifest says."""
    for name, target in names.items():
        try:
            found = copy(folder / name, target)
        except OSError as error:
            raise BackupDamaged(f"{error.filename or folder / name}: {error.strerror}") from error
        if found != files[name]:
            with suppress(OSError):
                target.unlink()
            raise BackupDamaged(f"{folder / name} is not the file that was backed up: its digest is another one")
