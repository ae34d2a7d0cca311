"""Whether messages may go the way that was chosen for them: asked before every attempt, at failover too.

What is asked comes from the stored message (who sent it, category, country), its sender as the carrier will be told it
on this way, and the carrier: a policy that has changed since the message was accepted counts. Asking gives way to
others while many decisions are new. It changes nothing: the dispatcher acts on the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from gateway.pipeline.lanes import Pick
from gateway.policy.authorizer import Authorizer
from gateway.policy.engine import Decision
from gateway.policy.requests import USE_ROUTE
from gateway.routing.plans import Plan
from gateway.routing.routes import Target
from gateway.store.contract import Waiting

_MISSES_AT_ONCE = 10  # decisions by the engine without giving way to others: about 1.5 ms


class Denied(NamedTuple):
    """A message that may not go by the carrier that was chosen; `others`: the carriers of its plan that it may go by
    instead, each with the policy that permits it."""

    message: Waiting
    plan: Plan
    decision: Decision
    others: dict[str, str]


# A message that may go, its plan, the policy that permits it, and the sender that the carrier is told. A plain tuple:
# there is one for each message.
Permitted = tuple[Waiting, Plan, str, str]


class Permits:
    """Asks the policies on behalf of the dispatcher."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def sort(self, carrier: str, picks: Sequence[Pick], now: int) -> tuple[list[Permitted], list[Denied]]:
        """Return the messages that may go by `carrier`, in order, and the others."""
        authorizer = self._authorizer
        decide = authorizer.routing(carrier, now, attempt=True).decide
        permitted: list[Permitted] = []
        denied: list[Denied] = []
        misses = authorizer.misses
        of_plan: Plan | None = None
        way: Target | None = None  # only where it tells the carrier another sender
        for message, plan in picks:
            if authorizer.misses - misses >= _MISSES_AT_ONCE:
                await asyncio.sleep(0)
                misses = authorizer.misses
            if plan is not of_plan:
                of_plan, way = plan, _rewriting(plan, carrier)
            told = message.sender if way is None else way.told(message.sender)
            decision = decide(message.tenant, message.owner, told, message.category, message.country, message.segments)
            if decision.allowed:
                permitted.append((message, plan, decision.policies[0], told))
            else:
                denied.append(Denied(message, plan, decision, self._others(carrier, message, plan, now)))
        return permitted, denied

    def count(self, decision: Decision) -> None:
        """Count a denial that ends a message's way."""
        self._authorizer.denied(USE_ROUTE, decision)

    def _others(self, carrier: str, message: Waiting, plan: Plan, now: int) -> dict[str, str]:
        others: dict[str, str] = {}
        for way in plan.ways:
            if way.carrier != carrier:
                decide = self._authorizer.routing(way.carrier, now).decide
                told = way.told(message.sender)
                decision = decide(
                    message.tenant, message.owner, told, message.category, message.country, message.segments
                )
                if decision.allowed:
                    others[way.carrier] = decision.policy_id
        return others


def _rewriting(plan: Plan, carrier: str) -> Target | None:
    way = plan.way(carrier)
    return way if way.rewrites else None
