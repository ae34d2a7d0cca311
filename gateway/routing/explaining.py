"""Why a message goes by a carrier, in a form for people and machines: the route, its targets, what stands against each.

What stands against a target at the moment is asked of whoever knows (`Look`): the running node, or the configuration
alone. Shares say what becomes of many messages; with a message's id it is one order, and one carrier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.routing.plans import Plan, RoutePlans
from gateway.routing.routes import Match, Target


class Hindrance(NamedTuple):
    """What stands against a target: a stable code, and words."""

    code: str
    text: str


class Sight(NamedTuple):
    """A target as it was looked at."""

    hindrances: Sequence[Hindrance]  # none: it can take messages
    notes: Sequence[str]  # further facts, for people


Look = Callable[[Target], Sight]


class Verdict(NamedTuple):
    """What was found of one target."""

    target: Target
    hindrances: Sequence[Hindrance]
    notes: Sequence[str]
    share: float  # of such messages, 0 to 1, that go by it at the moment


class Explanation(NamedTuple):
    """The route of a message, and its targets in the order of their priorities (or, for one message, of its plan)."""

    route: str  # "" without configured routes
    strategy: str
    why: str  # this route
    verdicts: Sequence[Verdict]

    @property
    def carrier(self) -> str:
        """The carrier that most of such messages go by at the moment, "" when none can take them."""
        best = max(self.verdicts, key=lambda verdict: verdict.share, default=None)
        return best.target.carrier if best is not None and best.share > 0 else ""


def explain(found: RoutePlans, prefix: str, country: str, look: Look, message_id: bytes = b"") -> Explanation:
    """Explain a route that a table has found. `prefix` and `country` are those of the recipient, `message_id` that of a
    message, b"" for any."""
    stretches = [(1.0, found.of(message_id))] if message_id else found.stretches()
    sights = {target.carrier: look(target) for target in found.route.targets}
    shares = dict.fromkeys(sights, 0.0)
    for length, plan in stretches:
        first = next((way.carrier for way in plan.ways if not sights[way.carrier].hindrances), None)
        if first is not None:
            shares[first] += length
    order = _order(found, stretches)
    return Explanation(
        route=found.route.name,
        strategy=found.route.strategy.value if found.route.name else "in the order of the carriers",
        why=_why(found.route.match, prefix, country)
        if found.route.name
        else "there are no routes in the configuration",
        verdicts=tuple(Verdict(target, *sights[target.carrier], shares[target.carrier]) for target in order),
    )


def _order(found: RoutePlans, stretches: Sequence[tuple[float, Plan]]) -> Sequence[Target]:
    if len(stretches) == 1:
        return stretches[0][1].ways
    return sorted(found.route.targets, key=lambda target: (target.priority, -target.weight))


def _why(match: Match, prefix: str, country: str) -> str:
    """Say by which conditions a route was the one."""
    named = [length for length in range(len(prefix), 0, -1) if prefix[:length] in match.prefixes]
    if named:
        reasons = [f"the number begins with {prefix[: named[0]]}"]
    elif match.countries:
        reasons = [f"the number is of {country}"]
    else:
        reasons = ["no narrower route is for this destination"]
    reasons += ["the sender is named"] if match.senders else []
    reasons += ["the category is named"] if match.categories else []
    reasons += ["the tenant is named"] if match.tenants else []
    return ", ".join(reasons)
