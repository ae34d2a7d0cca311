"""The part of the store's contract that lets go of what is old enough, in small steps.

See `gateway.store.contract` for what holds of every call: one transaction, on disk when it returns. Each step looks at
a bounded number of rows, goes through a tenant's messages in the order of their ids, and leaves a mark of how far it
has come: after a crash the next step goes on there.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.ids import made_at

# Younger messages are not looked at: most of them are still on their way, and a lower id may still be committed.
YOUNGEST = 600 * 1_000_000  # microseconds
LOOK_AGAIN = 6 * 3600 * 1_000_000  # what is left is looked at as often as that: periods may have been made shorter


class Stage(enum.IntEnum):
    """What goes; stored."""

    CONTENT = 1  # what the message says
    ENVELOPE = 2  # recipient, client reference and labels; the masked recipient stays
    MESSAGE = 3  # all the rest


class Rule(NamedTuple):
    """How long a stage of a tenant's categories is kept after the final state, in microseconds."""

    tenant: str
    categories: int  # as bits, `1 << category`: those that are kept for the same time
    stage: int
    keep: int


# By (tenant, category, stage): microseconds.
Keeps = Mapping[tuple[str, int, int], int]


class Retained(NamedTuple):
    """What a step did: how many messages it looked at, and of how many something went."""

    looked: int
    removed: int


class Due(NamedTuple):
    """A rule that has messages to look at, and the first of them."""

    rule: Rule
    message_id: bytes

    def late(self, now: int) -> int:
        """Return for how long it could have been looked at already, in microseconds."""
        return max(0, now - max(self.rule.keep, YOUNGEST) - made_at(self.message_id))


class RefPlace(NamedTuple):
    """Where a look through the carriers' ids goes on."""

    carrier: int
    carrier_id: str


class RetentionStore(Protocol):
    """What `Store` lets go of."""

    async def retention_due(self, rules: Sequence[Rule], now: int) -> list[Due]:
        """Return those of `rules` that have messages to look at."""

    async def stored_tenants(self) -> list[str]:
        """Return the names of all tenants that anything is or was stored of."""

    async def retain(self, rule: Rule, now: int, limit: int) -> Retained:
        """Look at the next `limit` messages, of whatever category, and let go of what is due by the rule."""

    async def retain_left(self, keeps: Keeps, now: int, limit: int) -> Retained:
        """Look again at what was passed over and is due for that."""

    async def retain_events(self, tenant: str, before: int, limit: int) -> int:
        """Delete the tenant's events from before that time, the oldest first and never the newest of all; returns how
        many. The log's numbers go on."""

    async def retain_inbound(self, tenant: str, before: int, limit: int) -> int:
        """Delete parts of messages from handsets that came before that time; returns how many. Their events stay."""

    async def retain_usage(self, tenant: str, before: int, limit: int) -> int:
        """Delete `limit` rows of the tenant's usage at most, of UTC days that were over before that time, the oldest
        first; returns how many."""

    async def retain_refs(self, after: RefPlace | None, limit: int) -> tuple[int, RefPlace | None]:
        """Look at `limit` ids of carriers, and delete those that lead to no message any more: how many, and where to go
        on; None at the end."""
