"""What of a link's reports makes a breaker open, and what does not."""

from __future__ import annotations

import logging

import pytest

from carrier.contract import LinkState, Outcome, SubmitResult
from carrier.smpp.constants import Status
from carrier.statuses import Action, with_overrides
from gateway.pipeline.breakers import Breakers
from gateway.routing.breaker import BreakerRules, BreakerState

NOW = 1_790_000_000_000_000
RULES = BreakerRules(failures=5, percent=100, least=1000)
UP, DOWN = LinkState.BOUND, LinkState.BACKOFF


def answers(*statuses: int) -> list[SubmitResult]:
    """Return responses with these statuses."""
    return [SubmitResult(None, 0, Outcome.ANSWERED, status, "") for status in statuses]


def ended(outcome: Outcome, count: int) -> list[SubmitResult]:
    """Return submissions that were not answered."""
    return [SubmitResult(None, 0, outcome, 0, "")] * count


def breakers() -> Breakers:
    """Return breakers of which acme's opens after five failures."""
    return Breakers({"acme": RULES}, {"acme": with_overrides({0x400: Action.RETRY})})


@pytest.mark.parametrize(
    ("results", "opens"),
    [
        (answers(*[Status.ESME_RSYSERR] * 5), True),
        (answers(*[Status.ESME_RINVBNDSTS] * 5), True),
        (answers(*[0x400] * 5), True),
        (ended(Outcome.IN_DOUBT, 5), True),
        (answers(*[Status.ESME_RSYSERR] * 4, 0), False),
        (answers(*[Status.ESME_RTHROTTLED] * 50), False),
        (answers(*[Status.ESME_RINVDSTADR] * 50), False),
        (answers(*[Status.ESME_RINVSRCADR] * 50), False),
        (ended(Outcome.NOT_WRITTEN, 50), False),
    ],
)
def test_what_is_a_failure(results: list[SubmitResult], opens: bool) -> None:
    """Errors of the carrier and answers that do not come are; what is about a message or our pace is not."""
    found = breakers()
    assert found.note("acme", UP, results, NOW) is opens
    assert (found.state("acme") is BreakerState.OPEN) is opens


def test_what_is_lost_with_a_link_is_none() -> None:
    """A link that goes down with a full window is tried again by itself, and not held off by the breaker."""
    found = breakers()
    assert not found.note("acme", DOWN, ended(Outcome.IN_DOUBT, 50), NOW)


def test_a_wrong_number_between_errors_is_a_good_answer() -> None:
    """A carrier that judges messages works."""
    found = breakers()
    mixed = answers(*[Status.ESME_RSYSERR, Status.ESME_RSYSERR, Status.ESME_RINVDSTADR] * 20)
    assert not found.note("acme", UP, mixed, NOW)


def test_carriers_are_apart_and_changes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """One carrier's breaker says nothing of another's; opening is a warning in the log, closing is told too."""
    caplog.set_level(logging.INFO)
    found = breakers()
    found.note("acme", UP, answers(*[Status.ESME_RSYSERR] * 5), NOW)
    found.note("other", UP, answers(0), NOW)
    assert found.states() == {"acme": "open", "other": "closed"}
    found.look(NOW + RULES.open_for)
    found.note("acme", UP, answers(0, 0, 0), NOW + RULES.open_for)
    assert (found.states()["acme"], found.openings()) == ("closed", {"acme": 1, "other": 0})
    told = [(record.levelname, record.__dict__["state"]) for record in caplog.records]
    assert told == [("WARNING", "open"), ("INFO", "half-open"), ("INFO", "closed")]


def test_other_rules_begin_anew() -> None:
    """A reload that changes a carrier's breaker starts it closed; the others stay as they are."""
    found = Breakers({"acme": RULES, "other": RULES}, {})
    for carrier in ("acme", "other"):
        found.note(carrier, UP, answers(*[Status.ESME_RSYSERR] * 5), NOW)
    found.use({"acme": BreakerRules(failures=7), "other": RULES}, {})
    assert [found.state("acme"), found.state("other")] == [BreakerState.CLOSED, BreakerState.OPEN]
