"""Decisions, and above all those that have to be denials."""

from __future__ import annotations

import cedarpy
import pytest

from gateway.policy.engine import NOBODYS_ID, Decision, Engine, Reason
from gateway.policy.requests import Question
from gateway.policy.translation import as_entities, as_request
from tests.gateway.policy.sets import policies

SPIFFE_ID = "spiffe://example.org/shop/api"
SEND = Question("SendOtp", SPIFFE_ID, "shop", sender="ACME", category=1, country="DE", address="10.1.2.3")
GET = Question("MessageService.GetMessage", SPIFFE_ID, "shop")
ROUTE = Question("UseRoute", SPIFFE_ID, "shop", carrier="acme", sender="ACME", category=2, country="DE")
ALL = '@id("all") permit(principal, action, resource);\n'


def decide(text: str, question: Question) -> Decision:
    """Return how a set decides."""
    return Engine(policies(text)).decide(question)


def test_permit_forbid_and_nothing() -> None:
    """A permit permits, a forbid wins over it, and what nobody permits is denied; each names its policies."""
    assert decide(ALL, SEND) == Decision(True, Reason.PERMITTED, ("all",))
    text = ALL + '@id("no") forbid(principal, action == Action::"SendOtp", resource);'
    assert decide(text, SEND) == Decision(False, Reason.FORBIDDEN, ("no",))
    assert decide(text, ROUTE).allowed
    only = '@id("other") permit(principal, action == Action::"SendPromotional", resource);'
    assert decide(only, SEND) == Decision(False, Reason.NOT_PERMITTED, (NOBODYS_ID,))


def test_several_policies_in_their_order() -> None:
    """All that decide are named, in the order in which they are written."""
    text = "".join(f'@id("p{n}") permit(principal, action, resource);' for n in range(12))
    assert decide(text, GET).policies == tuple(f"p{n}" for n in range(12))


@pytest.mark.parametrize(
    ("condition", "permitted"),
    [
        ('principal in Path::"spiffe://example.org/shop"', True),
        ('principal in Path::"spiffe://example.org"', True),
        ('principal in Path::"spiffe://example.org/sho"', False),
        ('principal in Path::"spiffe://example.org/shop/api/v2"', False),
        ('principal in Tenant::"shop"', True),
        ('principal.tenant == Tenant::"shop"', True),
        ('principal.trust_domain == "example.org" && principal.path == "/shop/api"', True),
        ('resource in Tenant::"shop" && resource.owner == principal', True),
        ('resource in Tenant::"other"', False),
        ('context.sender == "ACME" && context.category == "OTP" && context.country == "DE"', True),
        ('context has address && context.address.isInRange(ip("10.1.0.0/16"))', True),
        ('context has address && context.address.isInRange(ip("10.2.0.0/16"))', False),
        ("context.weekday == 1 && context.minute == 0", True),
    ],
)
def test_what_a_send_can_be_asked(condition: str, permitted: bool) -> None:
    """Every attribute of a send reaches the policies as the schema says."""
    text = f'@id("p") permit(principal, action == Action::"SendOtp", resource) when {{ {condition} }};'
    assert decide(text, SEND).allowed is permitted


def test_groups() -> None:
    """A call's group stands for its actions, and so does the group of sends."""
    text = '@id("read") permit(principal, action in Action::"message:read", resource);'
    assert decide(text, GET).allowed
    assert not decide(text, GET._replace(action="MessageService.CancelMessage")).allowed
    assert decide('@id("s") permit(principal, action in Action::"send", resource);', SEND).allowed


def test_route() -> None:
    """A route is asked about by the carrier's name, and knows the message's attributes and no address."""
    text = ALL + '@id("no") forbid(principal, action, resource == Route::"acme") when { context.category == "OTP" };'
    # Only a route can be equal to one, so that the policy is about UseRoute alone.
    with_action = text.replace("principal, action, resource ==", 'principal, action == Action::"UseRoute", resource ==')
    assert decide(with_action, ROUTE).allowed
    assert decide(with_action, ROUTE._replace(category=1)).policies == ("no",)
    assert decide(with_action, ROUTE._replace(category=1, carrier="other")).allowed


OVERFLOW = "context.minute + 9223372036854775807 > 0"


@pytest.mark.parametrize("effect", ["forbid", "permit"])
def test_the_erroring_forbid_trap(effect: str) -> None:
    """A broad permit beside a policy that cannot be evaluated denies: Cedar alone would skip that one, and allow."""
    text = ALL + f'@id("boom") {effect}(principal, action, resource) when {{ {OVERFLOW} }};'
    question = SEND._replace(minute=1)
    alone = cedarpy.is_authorized(
        as_request(question), policies(text).handle,
        as_entities(question.spiffe_id, question.tenant, ""), policies(text).schema,
    )  # fmt: skip
    assert alone.allowed  # the trap
    decision = decide(text, question)
    assert (decision.allowed, decision.reason, decision.policies) == (False, Reason.EVALUATION_FAILED, ("boom",))
    assert "overflow" in decision.errors[0]
    assert decide(text, SEND._replace(minute=0)).allowed is (effect == "permit")


@pytest.mark.parametrize(
    "question",
    [
        SEND._replace(action="Nothing"),
        SEND._replace(category=9),
        SEND._replace(address="10.1.2.3/99"),
        SEND._replace(spiffe_id="spiffe://d" + "/s" * 40),
        GET._replace(minute=1 << 70),
    ],
)
def test_what_cannot_be_asked_is_denied(question: Question) -> None:
    """A question that the schema does not know, or that cannot be put, is denied though everything is permitted."""
    decision = decide(ALL, question)
    assert (decision.allowed, decision.reason) == (False, Reason.EVALUATION_FAILED)


class Panic(BaseException):
    """What pyo3 raises for a panic of Rust's is no Exception."""


@pytest.mark.parametrize("error", [RuntimeError("x"), MemoryError(), Panic("x")])
def test_whatever_is_raised_denies(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """An engine that breaks down denies, and the denial is not one to be remembered."""

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(cedarpy, "is_authorized", broken)
    decision = decide(ALL, SEND)
    assert (decision.allowed, decision.reason, decision.lasting) == (False, Reason.EVALUATION_FAILED, False)


def test_an_interrupt_is_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C goes through."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cedarpy, "is_authorized", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decide(ALL, SEND)


@pytest.mark.parametrize("decision", [cedarpy.Decision.Allow, cedarpy.Decision.NoDecision])
def test_an_odd_answer_denies(monkeypatch: pytest.MonkeyPatch, decision: cedarpy.Decision) -> None:
    """No decision, and an Allow for which no policy stands, are denials."""
    odd = cedarpy.AuthzResult({"decision": decision.value, "diagnostics": {"reason": [], "errors": []}})
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: odd)
    assert not decide(ALL, SEND).allowed


def test_names_are_names() -> None:
    """Nothing in a carrier's or a sender's name is taken for Cedar."""
    text = '@id("p") permit(principal, action, resource) when { context.sender == "x\\" || true || \\"" };'
    text = text.replace("action,", 'action == Action::"UseRoute",')
    odd = 'x" || true || "'
    assert decide(text, ROUTE._replace(carrier='a"::b\n', sender=odd)).allowed
    assert not decide(text, ROUTE._replace(carrier='"); permit(principal, action, resource);')).allowed


def test_words() -> None:
    """A decision says in a sentence what is so, and nothing of the policies' contents."""
    assert Decision(True, Reason.PERMITTED, ("a", "b")).text("X") == "X is permitted by a, b"
    assert Decision(False, Reason.FORBIDDEN, ("a",)).text("X") == "X is forbidden by the policy a"
    assert Decision(False, Reason.NOT_PERMITTED, (NOBODYS_ID,)).text("X") == "no policy permits X"
    failed = Decision(False, Reason.EVALUATION_FAILED, ("a",), ("secret",)).text("X")
    assert "could not be evaluated (a)" in failed
    assert "secret" not in failed
