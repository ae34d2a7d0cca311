"""Secrets that have no file of their own, held in memory under names that libraries can open: memfd_create(2).

What is fetched from a secret store is not to lie on a disk, and OpenSSL and libpq want the name of a file. The name is
/proc/self/fd/N: it opens in this process only, and a new value takes the place of the old one in one step (dup2).
Whoever opened the old one reads it to its end. Pages may be swapped out; where that counts, encrypt the swap.
"""

from __future__ import annotations

import os
from pathlib import Path

_AT_MOST = 256


class HeldSecrets:
    """The secrets of this process, by the reference that stands in the configuration. Descriptors are a process's."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}

    def place(self, reference: str) -> Path:
        """Return where the secret of `reference` is, or will be once it was put there. Raises ValueError at 256."""
        if reference not in self._descriptors:
            if len(self._descriptors) >= _AT_MOST:
                raise ValueError(f"is one of more than {_AT_MOST} secrets that are not in files")
            self._descriptors[reference] = _in_memory(b"")
        return Path(f"/proc/self/fd/{self._descriptors[reference]}")

    def put(self, reference: str, octets: bytes) -> None:
        """Let `octets` be the secret of a reference that has a place."""
        fresh = _in_memory(octets)
        try:
            os.dup2(fresh, self._descriptors[reference], inheritable=False)
        finally:
            os.close(fresh)

    def has(self, file: Path) -> bool:
        """Return whether `file` is the place of a secret that is held here."""
        parent, _, descriptor = str(file).rpartition("/")
        return parent == "/proc/self/fd" and descriptor in map(str, self._descriptors.values())

    def close(self) -> None:
        """Forget all of them; the places are gone."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def _in_memory(octets: bytes) -> int:
    descriptor = os.memfd_create("smsgw-secret", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(octets)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


HELD = HeldSecrets()
