"""What carriers bill for a segment: a table of prices by prefix, country and category. Pure.

Amounts are whole millionths of the unit of one currency; prices in others are taken at fixed rates, rounded half up.
Of the prices of a carrier that fit a message the longest prefix counts, then the country, then one for all numbers; of
those the one for its category before one for all categories, and of these the latest that is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from operator import attrgetter

from gateway.store.usage import DAY

MICROS = 1_000_000
_REMEMBERED = 10_000  # answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One row. `prefix`, `country`, `category`: "" and 0 for any. `valid_from`: the number of a UTC day."""

    carrier: str
    micros: int
    prefix: str = ""
    country: str = ""
    category: int = 0
    valid_from: int = 0


def micros(amount: Decimal, rate: Decimal = Decimal(1)) -> int:
    """Return an amount at a rate as whole millionths, rounded half up."""
    return int((amount * rate * MICROS).to_integral_value(ROUND_HALF_UP))


class _Tariff:
    """The prices of one carrier."""

    __slots__ = ("lengths", "rows")

    def __init__(self, prices: Iterable[Price]) -> None:
        # By place (a prefix, a country or "") and category; the latest first.
        self.rows: dict[tuple[str, int], list[Price]] = {}
        for price in sorted(prices, key=attrgetter("valid_from"), reverse=True):
            self.rows.setdefault((price.prefix or price.country, price.category), []).append(price)
        self.lengths = sorted({len(place) for place, _ in self.rows if place.startswith("+")}, reverse=True)

    def price(self, category: int, number: str, country: str, day: int) -> int | None:
        """Return the price of a segment, None where none fits."""
        places = [number[:length] for length in self.lengths if length <= len(number)]
        for place in (*places, country, ""):
            for of in (category, 0):
                for price in self.rows.get((place, of), ()):
                    if price.valid_from <= day:
                        return price.micros
        return None


class PriceTable:
    """The prices of all carriers."""

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        by_carrier: dict[str, list[Price]] = {}
        for price in prices:
            by_carrier.setdefault(price.carrier, []).append(price)
        self._tariffs: Mapping[str, _Tariff] = {name: _Tariff(rows) for name, rows in by_carrier.items()}
        self._longest = max((max(tariff.lengths, default=0) for tariff in self._tariffs.values()), default=0)
        self.by_prefix = self._longest > 0
        self._dearest: dict[tuple[int, str, str, int], int] = {}  # of those asked for lately

    def __bool__(self) -> bool:
        return bool(self._tariffs)

    def price(self, carrier: str, category: int, number: str, country: str, at: int) -> int:
        """Return what a carrier bills for a segment: 0 where the table has nothing. `number` matters only where
        prices go by prefix; `at` is in microseconds since the Unix epoch."""
        tariff = self._tariffs.get(carrier)
        found = None if tariff is None else tariff.price(category, number, country, at // DAY)
        return found or 0

    def dearest(self, category: int, number: str, country: str, at: int) -> int:
        """Return the highest price of a segment by any carrier: what no carrier can exceed."""
        key = category, number[: self._longest], country, at // DAY
        known = self._dearest.get(key)
        if known is None:
            found = [tariff.price(category, number, country, key[3]) for tariff in self._tariffs.values()]
            if len(self._dearest) >= _REMEMBERED:
                self._dearest.clear()
            known = self._dearest[key] = max((price for price in found if price is not None), default=0)
        return known
