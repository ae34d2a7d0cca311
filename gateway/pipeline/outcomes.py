"""What an attempt's outcome makes of its message: pure functions that return a Settlement.

What a command_status means is in the carrier's table (`carrier.statuses`): the message is tried again later, or by the
next carrier of its plan, or the carrier has said its last word. All parts of a message go by one carrier: one of which
a part has been taken stays there while the carrier is only busy, and is sent whole if another one has to take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from carrier.contract import Outcome, SubmitResult
from carrier.smpp.constants import Status, status_name
from carrier.statuses import DEFAULTS, OTHERWISE, Action
from gateway.errors import GatewayError, Unavailable
from gateway.states import Category, PartState, State
from gateway.store.contract import Queue, RouteDenial, Settlement, Waiting, waiting_queue
from gateway.store.usage import Bill
from gateway.telemetry.journey import AttemptTrace

# What a retry or a failover is counted as, by command_status; other statuses are "refused" or "temporary".
KINDS: Mapping[int, str] = MappingProxyType(
    {
        int(Status.ESME_RSYSERR): "system_error",
        int(Status.ESME_RMSGQFUL): "queue_full",
        int(Status.ESME_RTHROTTLED): "throttled",
        int(Status.ESME_RX_T_APPN): "temporary",
    }
)
_SECOND = 1_000_000
_POSTPONED = 5 * _SECOND
POLICY_DENIED = "POLICY_DENIED"
CARRIER_BUSY = "CARRIER_BUSY"  # the same carrier is tried again
FAILED_OVER = "FAILED_OVER"  # the next one of the plan is tried
REFUSED_BY_ONE = "REFUSED_BY_ONE"  # so is it when a carrier has refused the message for itself
UNSENDABLE = "CONTENT_UNSENDABLE"
OVER_BUDGET = "SEALED_OVER_BUDGET"  # sealed content waits for its turn to be opened
OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"  # so is it when a message is sent again that was not answered
_SUBMITTED, _AWAITING = int(State.SUBMITTED), int(Queue.AWAITING)
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes: each message has two of it here
_NOT_WRITTEN = ("LINK_LOST", "it was not written: the link went down, or could not take it")
_LATE = ("VALIDITY_ENDED", "it was not written: its validity ended while it waited on the link")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """When a message is tried again, and what is done when it is in doubt. Times in microseconds."""

    resend: frozenset[Category]
    retry_min: int = 1 * _SECOND
    retry_max: int = 60 * _SECOND
    receipt_grace: int = 3600 * _SECOND

    def backoff(self, attempts: int, jitter: float) -> int:
        """Return the pause before the next attempt: doubled each time, up to the maximum; `jitter` in [0, 1) takes up
        to half of it away, so that refused messages do not come back together."""
        pause = min(self.retry_max, self.retry_min << min(attempts, 30))
        return pause - int(pause * jitter / 2)


@dataclass(slots=True)
class Attempt:
    """One message in the hands of one link, until each of its parts has an outcome (mutable: the one hot state)."""

    message: Waiting
    carrier: str
    slots: int  # the PDUs it occupies on its link until it is settled
    pending: int
    ids: list[str]
    states: list[str]
    refused: int = 0  # the last permanent error
    delayed: int = 0  # the last temporary error
    in_doubt: int = 0  # parts
    unwritten: bool = False
    # What the carrier's statuses mean.
    actions: Mapping[int, Action] = field(default_factory=lambda: DEFAULTS, repr=False)
    ways: int = 1  # carriers of its plan
    moved: bool = False  # another carrier has taken parts of it: it may arrive twice
    price: int = 0  # of each part, by this carrier: see gateway.store.usage
    link: object = field(default=None, repr=False)
    trace: AttemptTrace | None = field(default=None, repr=False)  # of a message that is sampled

    def note(self, result: SubmitResult) -> bool:
        """Take the outcome of one part; True when it was the last."""
        if result.outcome is Outcome.ANSWERED:
            if result.status == 0:
                self.ids[result.part] = result.message_id
                self.states[result.part] = PartState.SUBMITTED.value
            elif Action.RETRY in self.actions.get(result.status, OTHERWISE):
                self.delayed = result.status
            else:
                self.refused = result.status
        elif result.outcome is Outcome.IN_DOUBT:
            self.in_doubt += 1
        else:
            self.unwritten = True
        self.pending -= 1
        return self.pending == 0

    def deciding(self) -> tuple[int | None, str]:
        """Return the status that decides what becomes of it, None without any, and the kind of failure, "" for none."""
        if self.refused:
            return self.refused, status_name(self.refused)
        if self.in_doubt:
            return None, Outcome.IN_DOUBT.name
        if self.delayed:
            return self.delayed, status_name(self.delayed)
        return (None, Outcome.NOT_WRITTEN.name) if self.unwritten else (0, "")

    def may_move(self, status: int) -> bool:
        """Say whether another carrier of the plan may take the message, after this one has answered `status`."""
        return self.ways > 1 and Action.FAIL_OVER in self.actions.get(status, OTHERWISE)

    def has_tried_all(self) -> bool:
        """Say whether there have been as many attempts as there are carriers to try."""
        return self.message.attempts + 1 >= self.ways

    def is_last_word(self) -> bool:
        """Say whether no other carrier is to be asked after this one has refused the message for itself.

        That the one before has refused it too counts, not that it was busy or away. It is only known of that one, so
        twice as many attempts as there are carriers are enough in any case.
        """
        if self.message.reason != REFUSED_BY_ONE:
            return self.message.attempts + 1 >= 2 * self.ways
        return self.has_tried_all()

    def has_answered_parts(self) -> bool:
        """Say whether the carrier has taken any part of the message."""
        return any(state != PartState.UNSENT.value for state in self.states)


def settle(attempt: Attempt, rules: RetryRules, now: int, jitter: float) -> Settlement:
    """Return what to record of a finished attempt. The worst outcome of its parts decides."""
    if attempt.refused:
        if attempt.may_move(attempt.refused) and not attempt.is_last_word():
            return _failed_over(attempt, attempt.refused, "refused", now, now, REFUSED_BY_ONE)
        return _rejected(attempt, now)
    if attempt.in_doubt:
        return _in_doubt(attempt, rules, now)
    if attempt.delayed or attempt.unwritten:
        return _again(attempt, rules, now, jitter)
    return _submitted(attempt, rules, now)


def _submitted(attempt: Attempt, rules: RetryRules, now: int) -> Settlement:
    """Return what to record of a message that the carrier has taken (hot)."""
    message = attempt.message
    ids, states = attempt.ids, attempt.states
    return _tuple(Settlement, (
        message.tenant,
        message.id,
        _SUBMITTED,
        now,
        attempt.carrier,
        "\n".join(ids) if len(ids) > 1 else ids[0],
        "".join(states) if len(states) > 1 else states[0],
        _AWAITING,
        message.expires_at + rules.receipt_grace,
        "",
        "",
        None,
        "resend.other_carrier" if attempt.moved else "",
        None,
        "",
        0,
        0,
        _tuple(Bill, (message.category, message.country, message.reserved, attempt.price)),
    ))  # fmt: skip


def _rejected(attempt: Attempt, now: int) -> Settlement:
    text = f"the carrier refused it: {status_name(attempt.refused)}"
    return _record(attempt, State.REJECTED, now, why=("CARRIER_REJECTED", text), smpp_status=attempt.refused)


def _in_doubt(attempt: Attempt, rules: RetryRules, now: int) -> Settlement:
    message = attempt.message
    why = (OUTCOME_UNKNOWN, "written to the carrier, and no answer came")
    if message.category in rules.resend and now < message.expires_at:
        queue = waiting_queue(message.category)
        return _record(attempt, State.UNKNOWN, now, queue=queue, due_at=now, why=why, cause="resend.no_answer")
    due_at = message.expires_at + rules.receipt_grace
    return _record(attempt, State.UNKNOWN, now, queue=Queue.AWAITING, due_at=due_at, why=why, cause="doubt.no_answer")


def _again(attempt: Attempt, rules: RetryRules, now: int, jitter: float) -> Settlement:
    status = attempt.delayed
    if not status:
        why = _LATE if attempt.message.expires_at < now else _NOT_WRITTEN
        return _waiting(attempt, now, now, why, None, "retry.not_written")
    kind = KINDS.get(status, "temporary")
    later = now + rules.backoff(attempt.message.attempts, jitter)
    if attempt.may_move(status) and not attempt.has_answered_parts():
        return _failed_over(attempt, status, kind, now, later if attempt.has_tried_all() else now)
    why = (CARRIER_BUSY, f"the carrier asked for later: {status_name(status)}")
    return _waiting(attempt, now, later, why, status, f"retry.{kind}")


def _failed_over(
    attempt: Attempt, status: int, kind: str, now: int, due_at: int, code: str = FAILED_OVER
) -> Settlement:
    why = (code, f"the carrier answered {status_name(status)}, and another one is tried")
    return _waiting(attempt, now, due_at, why, status, f"failover.{kind}")


def _waiting(
    attempt: Attempt, now: int, due_at: int, why: tuple[str, str], smpp_status: int | None, cause: str
) -> Settlement:
    """Return that the message waits for another attempt."""
    message = attempt.message
    # A resend that was not taken leaves the doubt of the first copy as it was.
    state = State.UNKNOWN if message.state == State.UNKNOWN else State.ACCEPTED
    queue = waiting_queue(message.category)
    return _record(attempt, state, now, queue=queue, due_at=due_at, why=why, smpp_status=smpp_status, cause=cause)


def _record(
    attempt: Attempt,
    state: State,
    now: int,
    *,
    queue: int | None = None,
    due_at: int = 0,
    why: tuple[str, str] = ("", ""),
    smpp_status: int | None = None,
    cause: str = "",
) -> Settlement:
    message = attempt.message
    return Settlement(
        message.tenant,
        message.id,
        state,
        now,
        attempt.carrier,
        "\n".join(attempt.ids),
        "".join(attempt.states),
        queue,
        due_at,
        *why,
        smpp_status,
        cause,
        bill=Bill(message.category, message.country, message.reserved, attempt.price),
    )


def postponed(message: Waiting, now: int) -> Settlement:
    """Return what to record of a message that cannot be opened at the moment: nothing was sent, it waits again."""
    state = State.UNKNOWN if message.state == State.UNKNOWN else State.ACCEPTED
    return Settlement(
        message.tenant,
        message.id,
        state,
        now,
        message.carrier,
        message.carrier_ids,
        message.part_states,
        waiting_queue(message.category),
        now + _POSTPONED,
        "KEYS_UNAVAILABLE",
        "the gateway cannot use its keys at the moment",
        None,
        "retry.keys_unavailable",
    )


def over_budget(message: Waiting, turn: int, now: int) -> Settlement:
    """Return what to record of a message whose content is to be opened later, at `turn`: it waits again."""
    text = "its tenant has had as much sealed content opened by RSA as it may for now"
    settlement = postponed(message, now)
    return settlement._replace(due_at=turn, reason_code=OVER_BUDGET, reason_text=text, cause="retry.sealed_budget")


def unopened(message: Waiting, code: str, why: str, rules: RetryRules, now: int) -> Settlement:
    """Return what to record of a message whose sealed content is not to be sent: it is rejected; one that was written
    before stays in doubt."""
    rejected = unsendable(message, code, why, now)._replace(cause="rejected.sealed")
    return _or_in_doubt(message, rejected, rules, "doubt.sealed")


def elsewhere(message: Waiting, now: int) -> Settlement:
    """Return what to record of a message whose permitted carriers have no room now: it waits again."""
    text = "the carriers that policies permit for it are not available at the moment"
    settlement = postponed(message, now)
    return settlement._replace(
        due_at=now + _SECOND, reason_code="ROUTE_UNAVAILABLE", reason_text=text, cause="retry.route_unavailable"
    )


def denied_by_policy(message: Waiting, denial: RouteDenial, why: str, rules: RetryRules, now: int) -> Settlement:
    """Return what to record of a message that no carrier may carry; `denial` says why the first may not.

    It is rejected; one in doubt was written before, and stays in doubt until a receipt or the end of its time.
    """
    text = f"policy {denial.policy}: {why}"
    rejected = unsendable(message, POLICY_DENIED, text, now)._replace(cause="rejected.policy", denied=denial)
    return _or_in_doubt(message, rejected, rules, "doubt.policy")


def unrouted(message: Waiting, rules: RetryRules, now: int) -> Settlement:
    """Return what to record of a message that no route is for: it is rejected; one in doubt stays in doubt."""
    rejected = unsendable(message, "NO_ROUTE", "no route is for this message: `smsgw carrier explain` says more", now)
    return _or_in_doubt(message, rejected._replace(cause="rejected.no_route"), rules, "doubt.no_route")


def _or_in_doubt(message: Waiting, rejected: Settlement, rules: RetryRules, cause: str) -> Settlement:
    """Return the rejection, or, for a message that was written before, that it waits for a receipt or the end of its
    time, counted under `cause`."""
    if message.state != State.UNKNOWN:
        return rejected
    due_at = message.expires_at + rules.receipt_grace
    return rejected._replace(state=State.UNKNOWN, queue=Queue.AWAITING, due_at=due_at, cause=cause)


def unwritable(attempt: Attempt, why: str, rules: RetryRules, now: int) -> Settlement:
    """Return what to record of a message that cannot be written as this carrier wants it: the next one of its plan may
    want less. After the last it is rejected; one in doubt was written before, and stays in doubt."""
    if attempt.ways > 1 and not attempt.is_last_word():
        return _waiting(attempt, now, now, (REFUSED_BY_ONE, why), None, "failover.unsendable")
    return _or_in_doubt(attempt.message, unsendable(attempt.message, UNSENDABLE, why, now), rules, "doubt.unsendable")


def unreadable(message: Waiting, rules: RetryRules, now: int) -> Settlement:
    """Return what to record of a message whose stored content cannot be read: no carrier gets it (again)."""
    why = "its stored payload cannot be opened; the operators find out why in the log"
    rejected = unsendable(message, "PAYLOAD_UNREADABLE", why, now)
    return _or_in_doubt(message, rejected, rules, "doubt.unsendable")


def closed(message: Waiting, error: GatewayError, rules: RetryRules, now: int) -> Settlement:
    """Return what to record of a message that could not be opened, by why: it waits for its key, or cannot be read."""
    return postponed(message, now) if isinstance(error, Unavailable) else unreadable(message, rules, now)


def unsendable(message: Waiting, reason_code: str, reason_text: str, now: int) -> Settlement:
    """Return what to record of a message that cannot be put into PDUs: it is refused, and says why."""
    return Settlement(
        message.tenant,
        message.id,
        State.REJECTED,
        now,
        message.carrier,
        message.carrier_ids,
        message.part_states,
        None,
        0,
        reason_code,
        reason_text,
        None,
        "rejected.unsendable",
    )
