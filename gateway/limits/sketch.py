"""Horizons of very many keys in a fixed amount of memory, and never too low a horizon.

A key has two places, chosen by two halves of its hash. It may share each with other keys; the lower of the two horizons
is its own or a later one. Spending sets both places to the new horizon, unless they are later already (conservative
update, Estan and Varghese 2002). So a key may be refused too early, when both of its places are shared with keys that
are near their burst, and never too late: no key gets more than its rate, however many there are.

It holds no keys: nothing in it leads back to a number. Horizons are microseconds, so that keys of different rates may
share places; 0 is none.
"""

# ruff: noqa: FURB136 -- a call of min or max costs three times as much as the comparison

from __future__ import annotations

import mmap

_WIDTH = 8  # octets of a place
MIN_PLACES = 1 << 10
MAX_PLACES = 1 << 28


class Sketch:
    """`places` horizons (rounded up to a power of two), eight octets each; memory is taken as it is used."""

    __slots__ = ("mask", "places")

    def __init__(self, places: int) -> None:
        if not MIN_PLACES <= places <= MAX_PLACES:
            raise ValueError(f"a sketch has {MIN_PLACES} to {MAX_PLACES} places, not {places}")
        size = 1 << (places - 1).bit_length()
        self.mask = size - 1
        self.places = memoryview(mmap.mmap(-1, size * _WIDTH)).cast("Q")

    def __len__(self) -> int:
        return len(self.places)

    def horizon(self, key: int) -> int:
        """Return the horizon of a key, which is a hash of 64 bits: its own or a later one."""
        mask, places = self.mask, self.places
        one, other = places[key & mask], places[(key >> 32) & mask]
        return one if one < other else other

    def spend(self, key: int, interval: int, now: int) -> None:
        """Move the horizon of a key on by one `interval`, from `now` if it lies in the past."""
        mask, places = self.mask, self.places
        at, other_at = key & mask, (key >> 32) & mask
        one, other = places[at], places[other_at]
        horizon = one if one < other else other
        horizon = (horizon if horizon > now else now) + interval
        if one < horizon:
            places[at] = horizon
        if other < horizon:
            places[other_at] = horizon
