"""The part of the store's contract that has to do with usage: how much tenants send, and what it costs.

Usage is counted by the transaction that changes a message, so the sums are those of the events, whatever happens in
between. A day is a UTC day, as the number of days since 1970-01-01; amounts are millionths of the currency's unit.

    accepted    when the message was; its segments as they were known then (0 for sealed content)
    submitted   messages that became SUBMITTED, and parts that a carrier has taken, in whatever attempt: what it bills
    delivered   messages that became DELIVERED
    failed      messages that ended otherwise

Caps go by when a message was accepted: `released` messages of that day ended before any carrier had them, and
`committed` is what the others have cost, with what is reserved for those that no carrier has taken yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

DAY = 86_400_000_000  # microseconds
MAX_ROWS = 10_000  # of one answer


class Bill(NamedTuple):
    """What a settlement brings for the usage, so that nobody has to look for it: the message's own, and the price."""

    category: int
    country: str
    reserved: int
    price: int  # of each part that the carrier takes


class By(NamedTuple):
    """What the rows of an answer are told apart by; what is left out is added up."""

    tenant: bool = False
    day: bool = False
    category: bool = False
    carrier: bool = False
    country: bool = False


class UsageFilter(NamedTuple):
    """Which days, both included, and which tenant, "" for all."""

    first_day: int
    last_day: int
    tenant: str = ""


class Usage(NamedTuple):
    """One row of an answer. What it is not told apart by is "", 0, or -1 for the day."""

    tenant: str
    day: int
    category: int
    country: str
    carrier: str  # "" for what has none: that a message was accepted, and the end of one that was not sent
    currency: str
    accepted: int
    accepted_segments: int
    submitted: int
    submitted_segments: int
    delivered: int
    delivered_segments: int
    failed: int
    failed_segments: int
    spent: int
    released: int
    committed: int


NUMBERS = Usage._fields[6:]


class Correction(NamedTuple):
    """What a commit changed of messages that were stored before: how many count towards caps no more, and how much more
    (or less, when negative) they have cost than was reserved."""

    tenant: str
    day: int  # on which they were accepted
    category: int
    country: str
    released: int
    committed: int


class UsageStore(Protocol):
    """What `Store` knows of usage."""

    async def usage(self, where: UsageFilter, by: By) -> Sequence[Usage]:
        """Return sums, in the order of what they are told apart by. Raises Overloaded (TOO_MANY_ROWS) when there are
        more than `MAX_ROWS`."""
