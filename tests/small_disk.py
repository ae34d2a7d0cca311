"""A real file system that is small: it gets full, and can be made read-only, as disks do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDisk:
    """A tmpfs at `folder`."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    @property
    def taken(self) -> int:
        """How much room has been taken away."""
        return self._ballast.stat().st_size if self._ballast.exists() else 0

    def take(self, octets: int) -> None:
        """Take so much room away, in all."""
        with self._ballast.open("wb") as file:
            file.write(bytes(octets))

    def free(self) -> None:
        """Give back the room that was taken."""
        self._ballast.unlink()

    def remount(self, mode: str) -> None:
        """Make it read-only ("ro"), or writable again ("rw"); nobody may have a file of it open for writing."""
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.folder)], check=True, timeout=30)


@contextmanager
def small_disk(folder: Path, octets: int) -> Iterator[SmallDisk]:
    """Mount one for the length of the block. Who may not mount skips the test: root in a name space of its own may."""
    folder.mkdir(mode=0o700, parents=True)
    options = f"size={octets},mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a file system can be mounted by root alone: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder=folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=30)
