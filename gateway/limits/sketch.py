"""Horizons of very many keys in a fixed amount of memory, and never too low a horizon.

A key has two places, chosen by two halves of its hash. It may share each with other keys; the lower of the two horizons
is its own or a later one. Spending sets both places to the new horizon, unless they are later already (conservative
update, Estan and Varghese 2002). So a key may be refused too early, when both of its places are shared with keys that
are near their burst, and never too late: no key gets more than its rate, however many there are.

It holds no keys: nothing in it leads back to a number. Horizons are microseconds, so that keys of different rates may
share places; 0 is none.
"""

from __future__ import annotations

import mmap

_WIDTH = 8  # octets of a place
MIN_PLACES = 1 << 10
MAX_PLACES = 1 << 28


class Sketch:
    """`places` horizons (rounded up to a power of two), eight octets each; memory is taken as it is used."""

    __slots__ = ("_mask", "_memory", "_places")

    def __init__(self, places: int) -> None:
        if not MIN_PLACES <= places <= MAX_PLACES:
            raise ValueError(f"a sketch has {MIN_PLACES} to {MAX_PLACES} places, not {places}")
        size = 1 << (places - 1).bit_length()
        self._mask = size - 1
        self._memory = mmap.mmap(-1, size * _WIDTH)
        self._places = memoryview(self._memory).cast("Q")

    def __len__(self) -> int:
        return len(self._places)

    def horizon(self, key: int) -> int:
        """Return the horizon of a key, given as a hash of 64 bits (or a negative number): its own or a later one."""
        mask, places = self._mask, self._places
        one, other = places[key & mask], places[(key >> 32) & mask]
        return one if one < other else other

    def set(self, key: int, horizon: int) -> None:
        """Move the horizon of a key to `horizon`, or leave it where it is later already."""
        mask, places = self._mask, self._places
        at = key & mask
        if places[at] < horizon:
            places[at] = horizon
        at = (key >> 32) & mask
        if places[at] < horizon:
            places[at] = horizon
