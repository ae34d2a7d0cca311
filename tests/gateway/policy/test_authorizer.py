"""What API and pipeline ask: canonical questions, the cache, and who pays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Overloaded
from gateway.identity import Caller
from gateway.policy.authorizer import MISS_COST, Authorizer
from gateway.policy.cache import DecisionCache
from gateway.policy.engine import Decision, Engine, Reason
from gateway.policy.requests import SEND_ACTIONS, Calendar, Question
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
        rights = asked.sending(CALLER, address, now)
        assert all(rights.decide(1, sender, country).allowed for sender in "AB" for country in ("DE", "AT"))
        assert asked.routing("acme", now).decide("demo", CALLER.spiffe_id, "A", 1, "DE").allowed
    assert asked.misses == 3


READS: list[tuple[str, dict[str, tuple[Any, Any]]]] = [
    ("context.sender", {"sender": ("A", "B")}),
    ("context.country", {"country": ("DE", "AT")}),
    ("context.minute", {"now": (0, MINUTE)}),
    ("context.weekday", {"now": (0, 1440 * MINUTE)}),
    ("context.address", {"address": ("10.0.0.1", "10.0.0.2")}),
]


@pytest.mark.parametrize(("attribute", "values"), READS)
def test_asked_anew_for_what_is_read(attribute: str, values: dict[str, tuple[Any, Any]]) -> None:
    """An attribute that a policy reads is part of the question: another value is another decision."""
    ((name, (first, second)),) = values.items()
    wanted = {"sender": '"A"', "country": '"DE"', "minute": "0", "weekday": "4", "address": 'ip("10.0.0.1")'}
    condition = f"{attribute} == {wanted[attribute.removeprefix('context.')]}"
    if name == "address":
        condition = f"context has address && {condition}"
    text = f'@id("p") permit(principal, action == Action::"SendOtp", resource) when {{ {condition} }};'
    asked = authorizer(text)
    answers = []
    for value in (first, second, first):
        given_ = {"sender": "A", "country": "DE", "now": 0, "address": "10.0.0.1", name: value}
        rights = asked.sending(CALLER, given_["address"], given_["now"])
        answers.append(rights.decide(1, given_["sender"], given_["country"]).allowed)
    assert answers == [True, False, True]
    assert asked.misses == 2


def test_callers_and_tenants_are_apart() -> None:
    """No decision about one caller, or one tenant, answers for another."""
    text = '@id("p") permit(principal in Path::"spiffe://example.org/demo/api", action, resource) \n'
    asked = authorizer(text + 'when { principal in Tenant::"demo" };')
    others = (caller(spiffe_id="spiffe://example.org/demo/web"), caller(tenant="other"))
    assert asked.sending(CALLER, "", 0).decide(1, "A", "DE").allowed
    for other in others:
        assert not asked.call(other, GET, "", 0).allowed
        assert not asked.sending(other, "", 0).decide(1, "A", "DE").allowed
        assert not asked.routing("c", 0).decide(other.tenant, other.spiffe_id, "A", 1, "DE").allowed


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
    rights = asked.sending(CALLER, "", 0)
    for _ in range(3):
        assert asked.call(CALLER, GET, "", 0).allowed
        assert rights.decide(1, "A", "DE").allowed
    with pytest.raises(Overloaded):
        rights.decide(2, "A", "DE")
    with pytest.raises(Overloaded):
        asked.call(CALLER, "MessageService.ListMessages", "", 0)
    assert asked.routing("acme", 0).decide("demo", CALLER.spiffe_id, "A", 1, "DE").allowed
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


# Sets and requests from small worlds, so that policies and requests meet.
_CONDITIONS = st.sampled_from(
    ["true", 'context.sender == "A"', 'context.country == "DE"', "context.minute < 2", "context.weekday == 4",
     'context has address && context.address.isInRange(ip("10.0.0.0/31"))', 'context.sender like "A*"',
     "context.minute + 9223372036854775807 > 0", 'principal in Path::"spiffe://d/a"', 'resource in Tenant::"t1"',
     'context.category == "OTP"', '["DE", "AT"].contains(context.country)']
)  # fmt: skip
_SCOPES = st.sampled_from(
    ['action in Action::"send"', 'action == Action::"SendOtp"', 'action == Action::"SendPromotional"']
)
_POLICIES = st.lists(st.tuples(st.sampled_from(["permit", "forbid"]), _SCOPES, _CONDITIONS), min_size=1, max_size=5)
_SENDS = st.tuples(
    st.sampled_from(["spiffe://d/a", "spiffe://d/a/b", "spiffe://d/c"]),
    st.sampled_from(["t1", "t2"]),
    st.sampled_from(["A", "AB", "C"]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["DE", "FR"]),
    st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    st.sampled_from([0, MINUTE, 2 * MINUTE, 1440 * MINUTE]),
)


@settings(max_examples=60, deadline=None)
@given(_POLICIES, st.lists(_SENDS, min_size=1, max_size=40), st.sampled_from([0, 2, 8, 1000]))
def test_cached_decisions_are_the_engines(
    parts: list[tuple[str, str, str]],
    sends: list[tuple[str, str, str, int, str, str, int]],
    size: int,
) -> None:
    """Whatever the set, the requests and the size of the cache: each decision is what the engine says to all of it."""
    text = "\n".join(
        f'@id("p{n}") {effect}(principal, {scope}, resource) when {{ {condition} }};'
        for n, (effect, scope, condition) in enumerate(parts)
    )
    loaded = policies(text)
    cache: DecisionCache[Decision] = DecisionCache(decisions=size)
    asked, engine, calendar = Authorizer(loaded, cache=cache), Engine(loaded), Calendar()
    for spiffe_id, tenant, sender, category, country, address, now in sends * 2:
        who = caller(tenant=tenant, spiffe_id=spiffe_id)
        moment = calendar.moment(now)
        question = Question(
            SEND_ACTIONS[category], spiffe_id, tenant, "", sender, category, country, address, *moment
        )  # fmt: skip
        assert asked.sending(who, address, now).decide(category, sender, country) == engine.decide(question)
    assert len(cache) <= 2 * size


@settings(max_examples=30, deadline=None)
@given(_POLICIES, st.lists(_SENDS, min_size=1, max_size=30))
def test_cached_routes_and_calls_are_the_engines(
    parts: list[tuple[str, str, str]], sends: list[tuple[str, str, str, int, str, str, int]]
) -> None:
    """The same for routes and for calls, with policies about these."""
    usable = [(effect, condition) for effect, _, condition in parts if "address" not in condition]
    text = ALL + "\n".join(
        f'@id("p{n}") {effect}(principal, action == Action::"UseRoute", resource) when {{ {condition} }};'
        for n, (effect, condition) in enumerate(usable)
        if "resource" not in condition
    )
    text += '\n@id("calls") forbid(principal, action in Action::"message:read", resource) when { context.minute == 1 };'
    loaded = policies(text)
    asked, engine, calendar = Authorizer(loaded), Engine(loaded), Calendar()
    for spiffe_id, tenant, sender, category, country, address, now in sends * 2:
        moment = calendar.moment(now)
        route = Question("UseRoute", spiffe_id, tenant, "acme", sender, category, country, "", *moment)
        assert asked.routing("acme", now).decide(tenant, spiffe_id, sender, category, country) == engine.decide(route)
        call = Question(GET, spiffe_id, tenant, address=address, weekday=moment.weekday, minute=moment.minute)
        who = caller(tenant=tenant, spiffe_id=spiffe_id)
        assert asked.call(who, GET, address, now) == engine.decide(call)
