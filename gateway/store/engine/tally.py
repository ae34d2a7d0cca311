"""What a transaction adds to the usage of tenants: gathered in memory, and written as one row for each distinct key.

Adding is all that is done to a row, and rows are written in the order of their keys: so several nodes can add to the
same ones, and none waits for another in a circle. See `gateway.store.usage` for what is counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gateway.ids import made_at
from gateway.states import State
from gateway.store.engine.database import Look
from gateway.store.engine.statements import Row, UsageSql
from gateway.store.usage import DAY, Correction

# The columns of a row behind its key.
ACCEPTED, SUBMITTED, DELIVERED, FAILED, SPENT, RELEASED, COMMITTED = 0, 2, 4, 6, 8, 9, 10
_WIDTH = 11
_UNSENT = frozenset({int(State.ACCEPTED), int(State.SENDING)})
_DELIVERED = int(State.DELIVERED)

Key = tuple[int, int, int, int, int]  # tenant_no, day, category, country's number, carrier_no


class Countries(dict[str, int]):
    """Countries as numbers of ten bits: `AA` is 0, `ZZ`, the unknown one, 675. What is no country is unknown."""

    def __missing__(self, country: str) -> int:
        """Return the number of a country, and keep it: there are 676 at most."""
        if len(country) != 2 or not ("A" <= country[0] <= "Z" and "A" <= country[1] <= "Z"):
            return 675
        number = self[country] = (ord(country[0]) - 65) * 26 + ord(country[1]) - 65
        return number


COUNTRIES = Countries()


def country_text(number: int) -> str:
    """Return the country that has this number."""
    return chr(65 + number // 26) + chr(65 + number % 26)


class Facts(NamedTuple):
    """What is stored of a message, for those who do not have it at hand."""

    category: int
    country: int
    segments: int
    reserved: int  # 0 for one that has been submitted
    unsent: int  # 1: it has never been submitted
    accepted_at: int

    def is_free(self, before: int) -> bool:
        """Say whether a message that ends from the state `before` has cost nothing. One in doubt may have."""
        return bool(self.unsent) and before in _UNSENT


End = tuple[int, bytes, int, int, int, int]  # tenant_no, id, at, carrier_no, the state before, and the final one


class Counting(Look, Protocol):
    """The transaction that counts."""

    @property
    def tally(self) -> Tally:
        """What it gathers."""


def _pair() -> list[int]:
    return [0, 0]


def _row() -> list[int]:
    return [0] * _WIDTH


class Tally:
    """The rows of one transaction (mutable; hot)."""

    __slots__ = ("corrected", "currency", "rows")

    def __init__(self, currency: str) -> None:
        """`currency`: of all amounts, "" where there are no prices."""
        self.currency = currency
        self.rows: defaultdict[Key, list[int]] = defaultdict(_row)
        # For the caps, what those who accept do not know: released and committed, by tenant_no, day, category, country.
        self.corrected: defaultdict[tuple[int, int, int, int], list[int]] = defaultdict(_pair)

    def took(
        self,
        key: tuple[int, bytes],
        at: int,
        kind: tuple[int, int, int],
        submitted: int,
        parts: int,
        price: int,
        freed: int,
    ) -> None:
        """A carrier has taken `parts` of a message at `price` each, and what was reserved for it is `freed` (hot).
        `kind`: category, country, carrier_no; `submitted`: 1 when the message has become SUBMITTED by it."""
        row = self.rows[(key[0], at // DAY, *kind)]
        row[SUBMITTED] += submitted
        row[SUBMITTED + 1] += parts
        cost = parts * price
        if cost or freed:
            row[SPENT] += cost
            self.correct(key, kind[0], kind[1], cost - freed)

    def reserve(self, key: tuple[int, bytes], category: int, country: int, amount: int) -> None:
        """Reserve for a message that is accepted."""
        self.rows[key[0], made_at(key[1]) // DAY, category, country, 0][COMMITTED] += amount

    def correct(self, key: tuple[int, bytes], category: int, country: int, amount: int) -> None:
        """Add to what messages of the day have cost on which this one was accepted."""
        self.reserve(key, category, country, amount)
        self.corrected[key[0], made_at(key[1]) // DAY, category, country][1] += amount

    def ended(self, tenant_no: int, at: int, kind: tuple[int, int, int], state: int, segments: int) -> None:
        """A message has come to its end (hot). `kind`: category, country, carrier_no."""
        row = self.rows[(tenant_no, at // DAY, *kind)]
        column = DELIVERED if state == _DELIVERED else FAILED
        row[column] += 1
        row[column + 1] += segments

    def release(self, key: tuple[int, bytes], facts: Facts) -> None:
        """Let a message count towards caps no more: it has ended, and cost nothing."""
        place = key[0], facts.accepted_at // DAY, facts.category, facts.country
        self.rows[(*place, 0)][RELEASED] += 1
        self.corrected[place][0] += 1

    def write(self, db: Any, sql: UsageSql) -> None:
        """Add all rows to those of the database."""
        if self.rows:
            sql.add.run(db, [self._stored(key, row) for key, row in sorted(self.rows.items())])

    def corrections(self, tenants: Mapping[int, str]) -> list[Correction]:
        """Return what others have to know of it."""
        return [
            Correction(tenants[tenant_no], day, category, country_text(country), released, committed)
            for (tenant_no, day, category, country), (released, committed) in self.corrected.items()
        ]

    def _stored(self, key: Key, row: list[int]) -> Row:
        return (*key[:3], country_text(key[3]), key[4], self.currency, *row)

    def clear(self) -> None:
        """Forget all."""
        self.rows.clear()
        self.corrected.clear()


def facts_of(db: Any, sql: UsageSql, keys: Sequence[Row]) -> dict[int, Facts]:
    """Return what is stored of messages, by the index into `keys`."""
    return {n: Facts._make(rest) for n, *rest in sql.facts.find(db, keys)}


def count_ends(tx: Counting, ends: Sequence[End]) -> None:
    """Count messages that have come to their end by what happened in the gateway."""
    for n, facts in facts_of(tx.db, tx.sql.usage, [end[:2] for end in ends]).items():
        tenant_no, message_id, at, carrier_no, before, state = ends[n]
        tx.tally.ended(tenant_no, at, (facts.category, facts.country, carrier_no), state, facts.segments)
        if facts.is_free(before):
            tx.tally.release((tenant_no, message_id), facts)
            if facts.reserved:
                tx.tally.correct((tenant_no, message_id), facts.category, facts.country, -facts.reserved)
