"""How an attempt begins: which parts of a message are sent, and what is known of the others. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from carrier.statuses import Action
from gateway.pipeline.berths import Berth
from gateway.pipeline.outcomes import Attempt
from gateway.routing.plans import Plan
from gateway.states import PartState
from gateway.store.contract import Waiting
from gateway.telemetry.journey import AttemptTrace

_UNSENT = PartState.UNSENT.value
_FIRST = (0,)


def begin(
    berth: Berth,
    message: Waiting,
    plan: Plan,
    count: int,
    *,
    actions: Mapping[int, Action],
    trace: AttemptTrace | None = None,
    price: int = 0,
) -> tuple[Attempt, Sequence[int]]:
    """Return the attempt of a message of `count` parts, and the parts to send: those that this carrier has not answered
    yet; none when late answers and receipts have told of all of them since it was to be sent again. What another
    carrier has answered is sent again: all parts of a message go by one carrier (hot)."""
    carrier, slots = berth.carrier, message.segments or 1
    ways = len(plan.ways)
    if count == 1:
        attempt = Attempt(
            message,
            carrier,
            slots,
            1,
            [""],
            [_UNSENT],
            actions=actions,
            ways=ways,
            link=berth,
            trace=trace,
            price=price,
        )
        return attempt, _FIRST
    again = message.carrier == carrier and len(message.part_states) == count
    states = list(message.part_states) if again else [_UNSENT] * count
    ids = message.carrier_ids.split("\n") if again else [""] * count
    todo = [part for part, state in enumerate(states) if state == _UNSENT]
    moved = not again and has_answered_parts(message)
    attempt = Attempt(
        message,
        carrier,
        slots,
        len(todo),
        ids,
        states,
        actions=actions,
        ways=ways,
        moved=moved,
        link=berth,
        trace=trace,
        price=price,
    )
    return attempt, todo


def has_answered_parts(message: Waiting) -> bool:
    """Say whether the carrier of the last attempt has taken a part of the message."""
    return bool(message.part_states.strip(_UNSENT))
