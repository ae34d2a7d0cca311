"""Filters: what tells in memory that no run of a generation has a key, so that a new one asks none of them.

A generation is some ten runs. Its filter has sixteen bits for each of its keys, of which a key sets three: of the keys
that it does not have it takes about one in two hundred for its own. It never misses one: bits are only added, and those
of a key are there before it is stored. What is stored of a filter is that of a generation in which no key will come any
more.

A key is its hash, cut to 16 octets. The first two stand for the index key and are no chance; the last twelve are taken.
"""

from __future__ import annotations

from struct import Struct

import apsw

from gateway.store.sqlite import key_runs
from gateway.store.sqlite.bulk import fetch

GENERATION_BITS = 5  # a generation is so many runs, as a power of two
PART_OCTETS = 65_536  # of a filter, written in one step

PARTS = "SELECT bits FROM key_filter WHERE generation = ? ORDER BY part"
COUNT = "SELECT count(*) FROM key_filter WHERE generation = ?"
HASHES = "SELECT key_hash FROM key_record WHERE no BETWEEN ? AND ?"
HAS_ENTRIES = "SELECT 1 FROM key_entry WHERE run = ? LIMIT 1"
_STORE = "INSERT INTO key_filter (generation, part, bits) VALUES (?, ?, ?)"
_DROP = (
    "DELETE FROM key_filter WHERE generation = ?1 AND part = (SELECT max(part) FROM key_filter WHERE generation = ?1)"
)
ANY_RUN = "SELECT 1 FROM key_run WHERE no BETWEEN ? AND ? LIMIT 1"
_POSITIONS = Struct("<4xIII").unpack  # of a key


class Filters:
    """The filters of all generations (mutable; hot). The writer's thread changes them, and the readers' look."""

    __slots__ = ("_filters", "_octets", "_of", "_shift")

    def __init__(self) -> None:
        self._octets = 2 << (key_runs.RUN_BITS + GENERATION_BITS)
        self._shift = 33 - self._octets.bit_length()  # from a position to its octet
        self._of: dict[int, bytearray] = {}
        self._filters: tuple[tuple[int, bytearray], ...] = ()  # the same, for those who go through them

    def add(self, generation: int, key: bytes) -> None:
        """Note that a generation has a key, before that is stored."""
        bits = self._of.get(generation)
        if bits is None:
            bits = self._put(generation, bytearray(self._octets))
        self._set(bits, key)

    def _set(self, bits: bytearray, key: bytes) -> None:
        first, second, third = _POSITIONS(key)
        shift = self._shift
        bits[first >> shift] |= 1 << (first & 7)
        bits[second >> shift] |= 1 << (second & 7)
        bits[third >> shift] |= 1 << (third & 7)

    def generations(self, key: bytes) -> list[int]:
        """Return the generations that can have a key: mostly none."""
        first, second, third = _POSITIONS(key)
        shift = self._shift
        return [
            generation
            for generation, bits in self._filters
            if bits[first >> shift] >> (first & 7) & 1
            and bits[second >> shift] >> (second & 7) & 1
            and bits[third >> shift] >> (third & 7) & 1
        ]

    def load(self, db: apsw.Connection, first: int, last: int) -> None:
        """Take the generations from `first` to `last` that are not known: what is stored whole of one, else its
        records."""
        for generation in range(first, last + 1):
            if generation not in self._of:
                self._put(generation, self._stored(db, generation) or self._made(db, generation))

    def _stored(self, db: apsw.Connection, generation: int) -> bytearray | None:
        stored = bytearray().join(part for (part,) in fetch(db, PARTS, (generation,)))
        return stored if len(stored) == self._octets else None

    def _made(self, db: apsw.Connection, generation: int) -> bytearray:
        bits, size = bytearray(self._octets), key_runs.RUN_BITS + GENERATION_BITS
        for (key,) in db.execute(HASHES, (generation << size, ((generation + 1) << size) - 1)):
            self._set(bits, key)
        return bits

    def store(self, db: apsw.Connection, merged: int) -> bool:
        """Write a part of a filter that is whole; False when there is nothing to write. `merged`: the last run that is
        whole. Not of a generation whose first run is gone: little of it is left to be read after a start."""
        for generation, bits in self._filters:
            first = generation << GENERATION_BITS
            if merged < first + (1 << GENERATION_BITS) - 1:
                continue
            ((part,),) = fetch(db, COUNT, (generation,))
            begin = part * PART_OCTETS
            if begin < self._octets and fetch(db, HAS_ENTRIES, (first,)):
                db.execute(_STORE, (generation, part, bytes(bits[begin : begin + PART_OCTETS])))
                return True
        return False

    def unstore(self, db: apsw.Connection, run: int) -> bool:
        """Delete the last part of the filter whose generation begins with a run; False when there is none: its bits
        are not to be kept for long after their keys."""
        generation = run >> GENERATION_BITS
        if generation << GENERATION_BITS != run:
            return False
        db.execute(_DROP, (generation,))
        return db.changes() > 0

    def ended(self, db: apsw.Connection, run: int, merged: int) -> int | None:
        """Return the generation of a run that was forgotten, if none of its runs is left, or will come."""
        generation = run >> GENERATION_BITS
        first = generation << GENERATION_BITS
        last = first + (1 << GENERATION_BITS) - 1
        return generation if last <= merged and not fetch(db, ANY_RUN, (first, last)) else None

    def drop(self, generations: list[int]) -> None:
        """Forget generations of which nothing is stored any more."""
        for generation in generations:
            self._of.pop(generation, None)
        self._filters = tuple(self._of.items())

    def _put(self, generation: int, bits: bytearray) -> bytearray:
        self._of[generation] = bits
        self._filters = tuple(self._of.items())
        return bits
