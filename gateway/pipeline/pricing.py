"""What a carrier bills for a segment of a message that is about to go to it."""

from __future__ import annotations

from collections.abc import Callable

from gateway.store.contract import Waiting
from gateway.usage.prices import PriceTable


class Pricing:
    """The prices in force, and how the number of a message is had where they go by prefix."""

    def __init__(self, number_of: Callable[[Waiting], str], table: PriceTable) -> None:
        self._number_of = number_of
        self._table = table

    def use(self, table: PriceTable) -> None:
        """Go by these prices from now on; what is with a link already costs what it did."""
        self._table = table

    def price(self, message: Waiting, carrier: str, now: int) -> int:
        """Return the price in millionths, 0 without one. Raises StoreCorrupt or Unavailable when the number is needed,
        and cannot be had."""
        table = self._table
        if not table:
            return 0
        number = self._number_of(message) if table.by_prefix else ""
        return table.price(carrier, message.category, number, message.country, now)
