"""What outcomes make of messages: the table, row by row, and the worst part that decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.contract import Outcome, SubmitResult
from carrier.smpp.constants import Status
from carrier.statuses import DEFAULTS, OTHERWISE, Action, with_overrides
from gateway.pipeline.outcomes import (
    FAILED_OVER,
    KINDS,
    REFUSED_BY_ONE,
    UNSENDABLE,
    Attempt,
    RetryRules,
    settle,
    unreadable,
    unsendable,
    unwritable,
)
from gateway.states import Category, State, may_follow
from gateway.store.contract import Queue, Waiting

NOW = 1_000_000_000
RULES = RetryRules(resend=frozenset({Category.OTP, Category.TRANSACTIONAL}))


def attempt(parts: int = 1, category: int = Category.OTP, state: int = State.ACCEPTED) -> Attempt:
    """Return a fresh attempt of a message."""
    message = Waiting("t", bytes(16), category, "S", b"", b"", parts, 0, NOW + 10_000_000, 1, state, "", "", "", "", "")
    return Attempt(message, "acme", parts, parts, [""] * parts, ["-"] * parts)


def answered(part: int = 0, status: int = 0, message_id: str = "") -> SubmitResult:
    """Return a response."""
    return SubmitResult(None, part, Outcome.ANSWERED, status, message_id)


def test_success_is_submitted_and_waits_for_its_receipt() -> None:
    """Every part answered: SUBMITTED, awaited until validity and grace are over."""
    one = attempt()
    assert one.note(answered(message_id="42"))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.queue, record.carrier_ids, record.part_states) == (
        State.SUBMITTED,
        Queue.AWAITING,
        "42",
        "S",
    )
    assert record.due_at == one.message.expires_at + RULES.receipt_grace


@pytest.mark.parametrize("status", sorted(KINDS))
def test_temporary_errors_wait_and_are_counted(status: int) -> None:
    """Each temporary status goes back to ACCEPTED after a pause, under its own cause."""
    one = attempt()
    one.note(answered(status=status))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.queue) == (State.ACCEPTED, Queue.WAITING_OTP)
    assert record.due_at == NOW + 2 * RULES.retry_min
    assert record.cause == f"retry.{KINDS[status]}"


@given(st.integers(1, 0xFFFFFFFF).filter(lambda status: Action.RETRY not in DEFAULTS.get(status, OTHERWISE)))
def test_every_other_error_is_final(status: int) -> None:
    """Any status that is not temporary rejects the message, and is kept with it."""
    one = attempt()
    one.note(answered(status=status))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.queue, record.smpp_status) == (State.REJECTED, None, status)


def of_two(parts: int = 1, attempts: int = 0, reason: str = "") -> Attempt:
    """Return an attempt of a message that two carriers may take."""
    one = attempt(parts)
    one.ways = 2
    one.message = one.message._replace(attempts=attempts, reason=reason)
    return one


@pytest.mark.parametrize("status", sorted(KINDS))
def test_a_busy_carrier_is_followed_by_the_next_at_once(status: int) -> None:
    """Where the table says so and there is another carrier, the message does not wait for this one."""
    one = of_two()
    one.note(answered(status=status))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.due_at, record.reason_code) == (State.ACCEPTED, NOW, FAILED_OVER)
    assert record.cause == f"failover.{KINDS[status]}"


def test_when_every_carrier_is_busy_it_waits() -> None:
    """After as many attempts as there are carriers, each further one waits as long as it would for one alone."""
    one = of_two(attempts=1)
    one.note(answered(status=0x58))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.due_at, record.reason_code) == (NOW + RULES.backoff(1, 0.0), FAILED_OVER)


def test_what_one_carrier_does_not_take_another_may() -> None:
    """A refusal that is about this account goes on to the next carrier, and is the last word of the last one."""
    one = of_two()
    one.note(answered(status=int(Status.ESME_RINVSRCADR)))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.reason_code, record.cause) == (State.ACCEPTED, REFUSED_BY_ONE, "failover.refused")
    last = of_two(attempts=1, reason=REFUSED_BY_ONE)
    last.note(answered(status=int(Status.ESME_RINVSRCADR)))
    assert settle(last, RULES, NOW, 0.0).state is State.REJECTED


@pytest.mark.parametrize("reason", [FAILED_OVER, "LINK_LOST"])
def test_a_carrier_that_was_only_busy_or_away_is_asked_again(reason: str) -> None:
    """The second carrier refuses, the first had not been able to: it is tried once more, but not for ever."""
    for attempts, state in ((1, State.ACCEPTED), (2, State.ACCEPTED), (3, State.REJECTED)):
        one = of_two(attempts=attempts, reason=reason)
        one.note(answered(status=int(Status.ESME_RINVSRCADR)))
        assert settle(one, RULES, NOW, 0.0).state is state


@given(st.integers(1, 0xFFFFFFFF).filter(lambda status: Action.FAIL_OVER not in DEFAULTS.get(status, OTHERWISE)))
def test_what_is_about_the_message_is_never_tried_elsewhere(status: int) -> None:
    """A bad number, and what a carrier's scrubbing refuses under a status of its own, is final at the first carrier."""
    one = of_two()
    one.note(answered(status=status))
    assert settle(one, RULES, NOW, 0.0).state is State.REJECTED


def test_a_message_of_which_parts_were_taken_stays_with_its_carrier() -> None:
    """A busy carrier that has one of two parts is tried again with the other: no part goes elsewhere."""
    one = of_two(parts=2)
    one.note(answered(0, message_id="a"))
    one.note(answered(1, status=0x58))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.reason_code, record.part_states, record.cause) == ("CARRIER_BUSY", "S-", "retry.throttled")


def test_a_message_that_was_sent_whole_to_another_carrier_is_counted() -> None:
    """It may arrive twice: the cause is counted when the other carrier has taken it."""
    one = of_two(parts=2, attempts=1)
    one.moved = True
    one.note(answered(0, message_id="a"))
    one.note(answered(1, message_id="b"))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.cause) == (State.SUBMITTED, "resend.other_carrier")


def test_a_profile_says_what_a_status_means() -> None:
    """A carrier that answers 0x400 when it is busy has it in its table, and the message waits."""
    one = attempt()
    one.actions = with_overrides({0x400: Action.RETRY})
    one.note(answered(status=0x400))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.cause) == (State.ACCEPTED, "retry.temporary")


def test_doubt_is_resent_for_otp_within_validity() -> None:
    """Written and unanswered: an OTP waits to be sent again, and the resend is counted."""
    one = attempt()
    one.note(SubmitResult(None, 0, Outcome.IN_DOUBT, 0, ""))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.queue, record.cause) == (State.UNKNOWN, Queue.WAITING_OTP, "resend.no_answer")


def test_doubt_is_not_resent_for_promotions_nor_after_validity() -> None:
    """A promotion, and an OTP that is past its validity, wait for a receipt instead."""
    for category, now in ((Category.PROMOTIONAL, NOW), (Category.OTP, NOW + 10_000_000)):
        one = attempt(category=category)
        one.note(SubmitResult(None, 0, Outcome.IN_DOUBT, 0, ""))
        record = settle(one, RULES, now, 0.0)
        assert (record.state, record.queue, record.cause) == (State.UNKNOWN, Queue.AWAITING, "doubt.no_answer")


def test_not_written_is_safe_to_send_again_at_once() -> None:
    """Nothing was written: back to ACCEPTED, due now."""
    one = attempt()
    one.note(SubmitResult(None, 0, Outcome.NOT_WRITTEN, 0, ""))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.due_at, record.cause) == (State.ACCEPTED, NOW, "retry.not_written")
    assert record.reason_code == "LINK_LOST"


def test_what_was_over_on_the_link_says_so() -> None:
    """Nothing was written because its time was over: that is the reason, and not the link."""
    one = attempt()
    one.note(SubmitResult(None, 0, Outcome.NOT_WRITTEN, 0, ""))
    record = settle(one, RULES, one.message.expires_at + 1, 0.0)
    assert (record.state, record.reason_code) == (State.ACCEPTED, "VALIDITY_ENDED")


def test_a_resend_that_was_not_written_stays_in_doubt() -> None:
    """The first copy may have arrived: UNKNOWN is not washed away by a second attempt that never left."""
    one = attempt(state=State.UNKNOWN)
    one.note(SubmitResult(None, 0, Outcome.NOT_WRITTEN, 0, ""))
    assert settle(one, RULES, NOW, 0.0).state is State.UNKNOWN


def test_parts_answered_are_kept_when_another_part_is_delayed() -> None:
    """A throttled second part is sent again without the first."""
    one = attempt(parts=2)
    assert not one.note(answered(0, message_id="a"))
    assert one.note(answered(1, status=0x58))
    record = settle(one, RULES, NOW, 0.0)
    assert (record.state, record.part_states, record.carrier_ids) == (State.ACCEPTED, "S-", "a\n")


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Outcome)), st.sampled_from([0, 0x0B, 0x58, 0x14])), min_size=1, max_size=10
    ),
    st.sampled_from(list(Category)),
)
def test_every_outcome_is_a_legal_transition(parts: list[tuple[Outcome, int]], category: Category) -> None:
    """Whatever happens to the parts, SENDING goes to a state that the table allows, with a queue unless final."""
    one = attempt(len(parts), category)
    for number, (outcome, status) in enumerate(parts):
        last = one.note(SubmitResult(None, number, outcome, status, f"id{number}" if not status else ""))
    assert last
    record = settle(one, RULES, NOW, 0.5)
    assert may_follow(State.SENDING, State(record.state))
    assert (record.queue is None) == (record.state == State.REJECTED)


@given(st.integers(0, 200), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_within_its_bounds(attempts: int, jitter: float) -> None:
    """The pause is never longer than the maximum nor shorter than half of the minimum."""
    pause = RULES.backoff(attempts, jitter)
    assert RULES.retry_min // 2 <= pause <= RULES.retry_max


def test_what_one_carrier_wants_more_of_another_may_take() -> None:
    """What cannot be written for one carrier is tried with the next, and rejected with the reason of the last."""
    record = unwritable(of_two(), "no label", RULES, NOW)
    assert (record.state, record.reason_code, record.reason_text) == (State.ACCEPTED, REFUSED_BY_ONE, "no label")
    assert (record.cause, record.carrier, record.due_at) == ("failover.unsendable", "acme", NOW)
    record = unwritable(of_two(attempts=1, reason=REFUSED_BY_ONE), "none here", RULES, NOW)
    assert (record.state, record.reason_code, record.reason_text) == (State.REJECTED, UNSENDABLE, "none here")
    assert unwritable(attempt(), "no label", RULES, NOW).state is State.REJECTED


def test_what_was_written_before_stays_in_doubt() -> None:
    """A message in doubt that can be written to no other carrier, or not be read any more, may have arrived."""
    doubtful = attempt(state=State.UNKNOWN)
    for record in (unwritable(doubtful, "why", RULES, NOW), unreadable(doubtful.message, RULES, NOW)):
        assert (record.state, record.queue, record.cause) == (State.UNKNOWN, Queue.AWAITING, "doubt.unsendable")
    assert unreadable(attempt().message, RULES, NOW).state is State.REJECTED


def test_unsendable_is_rejected_and_says_why() -> None:
    """A message that cannot be put into PDUs ends as REJECTED with its reason."""
    record = unsendable(attempt().message, "CONTENT_UNSENDABLE", "why", NOW)
    assert (record.state, record.reason_code, record.queue) == (State.REJECTED, "CONTENT_UNSENDABLE", None)
