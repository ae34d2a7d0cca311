"""Whether messages may go the way that was chosen for them: asked before every attempt, at failover too.

What is asked comes from the stored message (who sent it, category, country), its sender as the carrier will be told it,
and the carrier: a policy that has changed since the message was accepted counts. Asking gives way to others while many
decisions are new. It changes nothing: the dispatcher acts on the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from gateway.policy.authorizer import Authorizer
from gateway.policy.engine import Decision
from gateway.policy.requests import USE_ROUTE
from gateway.store.contract import Waiting

_MISSES_AT_ONCE = 10  # decisions by the engine without giving way to others: about 1.5 ms


class Denied(NamedTuple):
    """A message that may not go by the carrier that was chosen; `others`: the carriers it may go by instead, each with
    the policy that permits it."""

    message: Waiting
    decision: Decision
    others: dict[str, str]


# A message that may go, and the policy that permits it. A plain tuple: there is one for each message.
Permitted = tuple[Waiting, str]


class Permits:
    """Asks the policies on behalf of the dispatcher."""

    def __init__(self, authorizer: Authorizer, carriers: Sequence[str]) -> None:
        """`carriers` are all that there are, the preferred one first."""
        self._authorizer = authorizer
        self._carriers = tuple(carriers)

    async def sort(self, carrier: str, messages: Sequence[Waiting], now: int) -> tuple[list[Permitted], list[Denied]]:
        """Return the messages that may go by `carrier`, in order, and the others."""
        authorizer = self._authorizer
        decide = authorizer.routing(carrier, now).decide
        permitted: list[Permitted] = []
        denied: list[Denied] = []
        misses = authorizer.misses
        for message in messages:
            if authorizer.misses - misses >= _MISSES_AT_ONCE:
                await asyncio.sleep(0)
                misses = authorizer.misses
            decision = decide(message.tenant, message.owner, message.sender, message.category, message.country)
            if decision.allowed:
                permitted.append((message, decision.policies[0]))
            else:
                denied.append(Denied(message, decision, self._others(carrier, message, now)))
        return permitted, denied

    def count(self, decision: Decision) -> None:
        """Count a denial that ends a message's way."""
        self._authorizer.denied(USE_ROUTE, decision)

    def _others(self, carrier: str, message: Waiting, now: int) -> dict[str, str]:
        who = (message.tenant, message.owner, message.sender, message.category, message.country)
        others = [other for other in self._carriers if other != carrier]
        decisions = {other: self._authorizer.routing(other, now).decide(*who) for other in others}
        return {other: decision.policy_id for other, decision in decisions.items() if decision.allowed}
