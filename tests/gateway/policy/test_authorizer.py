"""What API and pipeline ask: canonical questions, the cache, and who pays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import cedarpy
import pytest

from gateway.errors import Overloaded
from gateway.identity import Caller
from gateway.policy.authorizer import MISS_COST
from gateway.policy.engine import Reason
from gateway.policy.judge import Judge
from tests.gateway.callers import caller
from tests.gateway.policy.sets import authorizer, policies

MINUTE = 60_000_000
CALLER = caller()
ALL = '@id("all") permit(principal, action, resource);\n'
GET = "MessageService.GetMessage"


def test_asked_once() -> None:
    """The same question is evaluated once, whatever of it no policy reads."""
    asked = authorizer(ALL)
    for now, address in ((0, ""), (5 * MINUTE, "10.0.0.1"), (9000 * MINUTE, "10.0.0.2")):
        assert asked.call(CALLER, GET, address, now).allowed
        rights = asked.sending(CALLER, address, now, 1)
        assert all(rights.decide(1, sender, country, 1).allowed for sender in "AB" for country in ("DE", "AT"))
        assert asked.routing("acme", now).decide("demo", CALLER.spiffe_id, "A", 1, "DE", 1).allowed
    assert asked.misses == 3


READS: list[tuple[str, dict[str, tuple[Any, Any]]]] = [
    ("context.sender", {"sender": ("A", "B")}),
    ("context.country", {"country": ("DE", "AT")}),
    ("context.minute", {"now": (0, MINUTE)}),
    ("context.weekday", {"now": (0, 1440 * MINUTE)}),
    ("context.address", {"address": ("10.0.0.1", "10.0.0.2")}),
    ("context.segments", {"segments": (3, 4)}),
    ("context.sealed", {"segments": (3, 0)}),
    ("context.batch", {"batch": (7, 8)}),
]


@pytest.mark.parametrize(("attribute", "values"), READS)
def test_asked_anew_for_what_is_read(attribute: str, values: dict[str, tuple[Any, Any]]) -> None:
    """An attribute that a policy reads is part of the question: another value is another decision."""
    ((name, (first, second)),) = values.items()
    wanted = {"sender": '"A"', "country": '"DE"', "minute": "0", "weekday": "4", "address": 'ip("10.0.0.1")',
              "segments": "3", "sealed": "false", "batch": "7"}  # fmt: skip
    plain = attribute.removeprefix("context.")
    condition = f"{attribute} == {wanted[plain]}"
    if plain in ("address", "segments"):
        condition = f"context has {plain} && {condition}"
    text = f'@id("p") permit(principal, action == Action::"SendOtp", resource) when {{ {condition} }};'
    asked = authorizer(text)
    answers = []
    for value in (first, second, first):
        given_: dict[str, Any] = {
            "sender": "A",
            "country": "DE",
            "now": 0,
            "address": "10.0.0.1",
            "segments": 3,
            "batch": 7,
        }
        given_[name] = value
        rights = asked.sending(CALLER, given_["address"], given_["now"], given_["batch"])
        answers.append(rights.decide(1, given_["sender"], given_["country"], given_["segments"]).allowed)
    assert answers == [True, False, True]
    assert asked.misses == 2


def test_callers_and_tenants_are_apart() -> None:
    """No decision about one caller, or one tenant, answers for another."""
    text = '@id("p") permit(principal in Path::"spiffe://example.org/demo/api", action, resource) \n'
    asked = authorizer(text + 'when { principal in Tenant::"demo" };')
    others = (caller(spiffe_id="spiffe://example.org/demo/web"), caller(tenant="other"))
    assert asked.sending(CALLER, "", 0, 1).decide(1, "A", "DE", 1).allowed
    for other in others:
        assert not asked.call(other, GET, "", 0).allowed
        assert not asked.sending(other, "", 0, 1).decide(1, "A", "DE", 1).allowed
        assert not asked.routing("c", 0).decide(other.tenant, other.spiffe_id, "A", 1, "DE", 1).allowed


def test_time_zone() -> None:
    """Policies are told the time of the zone that was configured."""
    text = '@id("p") permit(principal, action, resource) when { context.minute >= 540 };'
    seven_in_utc = 7 * 60 * MINUTE
    assert not authorizer(text).call(CALLER, GET, "", seven_in_utc).allowed
    eastern = dt.timezone(dt.timedelta(hours=2))
    assert authorizer(text, zone=eastern).call(CALLER, GET, "", seven_in_utc).allowed


class Purse:
    """Takes tokens as long as there are some."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __call__(self, caller: Caller, tokens: int) -> None:
        """Take the tokens, or refuse."""
        if self.tokens < tokens:
            raise Overloaded("no tokens", retry_after_s=1)
        self.tokens -= tokens


def test_a_miss_costs_its_caller() -> None:
    """Evaluations that a caller causes are paid before they are made; what is known is free, and so is a route."""
    purse = Purse(2 * MISS_COST)
    asked = authorizer(ALL, spend=purse)
    rights = asked.sending(CALLER, "", 0, 1)
    for _ in range(3):
        assert asked.call(CALLER, GET, "", 0).allowed
        assert rights.decide(1, "A", "DE", 1).allowed
    with pytest.raises(Overloaded):
        rights.decide(2, "A", "DE", 1)
    with pytest.raises(Overloaded):
        asked.call(CALLER, "MessageService.ListMessages", "", 0)
    assert asked.routing("acme", 0).decide("demo", CALLER.spiffe_id, "A", 1, "DE", 1).allowed
    assert (purse.tokens, asked.misses) == (0, 3)


def test_a_breakdown_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """When evaluation breaks down, that request is denied, and the next one is evaluated again."""
    asked = authorizer(ALL)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", broken)
        assert asked.call(CALLER, GET, "", 0).reason is Reason.EVALUATION_FAILED
    assert asked.call(CALLER, GET, "", 0).allowed


def test_denials_are_counted() -> None:
    """What was denied is counted by action and reason."""
    asked = authorizer('@id("p") permit(principal, action == Action::"UseRoute", resource);')
    asked.denied(GET, asked.call(CALLER, GET, "", 0))
    assert asked.denials == {(GET, Reason.NOT_PERMITTED): 1}


def test_epoch() -> None:
    """Decisions belong to the digest of their set."""
    assert authorizer(ALL).epoch == policies(ALL).digest != authorizer().epoch


def test_a_quiet_hour_for_some_is_no_question_for_others() -> None:
    """What only policies about one action read makes only that action asked anew."""
    quiet = '@id("q") forbid(principal, action == Action::"SendPromotional", resource) when { context.minute < 0 };'
    asked = authorizer(ALL + quiet)
    for minute in range(5):
        rights = asked.sending(CALLER, "", minute * MINUTE, 1)
        for category in (1, 2, 3):
            assert rights.decide(category, "A", "DE", 1).allowed
        asked.call(CALLER, GET, "", minute * MINUTE)
        asked.routing("acme", minute * MINUTE).decide("demo", CALLER.spiffe_id, "A", 1, "DE", 1)
    assert asked.misses == 2 + 5 + 2


def test_the_measure_counts_where_it_is_read() -> None:
    """Sizes of messages and batches are part of those questions alone that a policy about them asks."""
    forbid = '@id("b") forbid(principal, action == Action::"SendPromotional", resource)'
    text = f"{ALL}{forbid} when {{ context.batch > 500 }};"
    asked = authorizer(text)
    for batch in range(1, 11):
        rights = asked.sending(CALLER, "", 0, batch)
        for segments in range(1, 11):
            assert all(rights.decide(category, "A", "DE", segments).allowed for category in (1, 2, 3))
    assert asked.misses == 2 + 10
    assert not asked.sending(CALLER, "", 0, 501).decide(3, "A", "DE", 1).allowed
    assert asked.sending(CALLER, "", 0, 501).decide(1, "A", "DE", 1).allowed


def test_another_set_takes_over() -> None:
    """From one moment on another set decides, with nothing remembered of the first; a batch under way is finished by
    the set that it was begun with."""
    forbid = '@id("no") forbid(principal, action in Action::"send", resource) when { context.country == "DE" };'
    asked = authorizer(ALL)
    begun = asked.sending(CALLER, "", 0, 2)
    way = asked.routing("acme", 0)
    assert begun.decide(1, "A", "DE", 1).allowed
    asked.use(Judge(policies(ALL + forbid)))
    assert asked.epoch == policies(ALL + forbid).digest
    assert begun.decide(1, "A", "DE", 1).allowed
    assert begun.decide(2, "A", "DE", 1).allowed  # not remembered: evaluated by the set of the batch
    assert way.decide("demo", CALLER.spiffe_id, "A", 1, "DE", 1).allowed
    after = asked.sending(CALLER, "", 0, 1)
    assert after.decide(1, "A", "DE", 1).policies == after.decide(2, "A", "DE", 1).policies == ("no",)
    asked.use(Judge(policies(ALL)))
    assert asked.sending(CALLER, "", 0, 1).decide(1, "A", "DE", 1).allowed


def test_an_action_that_nobody_knows() -> None:
    """An action that is in no table is asked about with all there is, and denied."""
    asked = authorizer('@id("p") permit(principal, action == Action::"SendOtp", resource);')
    assert asked.call(CALLER, "Nobody.Knows", "10.0.0.1", 0).reason is Reason.EVALUATION_FAILED
