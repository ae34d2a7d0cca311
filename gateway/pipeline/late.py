"""Answers that come after all: what they make of a message that has been settled as in doubt meanwhile."""

from __future__ import annotations

from carrier.contract import SubmitResult
from gateway.pipeline.outcomes import Attempt, RetryRules, settle
from gateway.states import PartState, State
from gateway.store.contract import Settlement

_USEFUL = (State.SUBMITTED, State.UNKNOWN)  # with more carrier ids than before


def settle_late(attempt: Attempt, result: SubmitResult, rules: RetryRules, now: int) -> Settlement | None:
    """Return what to record when a part that was in doubt has been answered after all; None for nothing.

    It holds only for a message that is still UNKNOWN: once it is being sent again the new attempt decides, and the late
    answer only gives the id by which a receipt of the first copy finds it. A late refusal changes nothing.
    """
    if result.status:
        return None
    attempt.ids[result.part] = result.message_id
    attempt.states[result.part] = PartState.SUBMITTED.value
    attempt.in_doubt -= 1
    if attempt.pending:  # its other parts are awaited: it is settled with them
        return None
    settlement = settle(attempt, rules, now, 0.0)
    if settlement.state not in _USEFUL:
        return None
    return settlement._replace(only_from=State.UNKNOWN, cause="late.answered")
