"""A candidate beside the policies in force: what differs is counted, kept within bounds, and reaches no decision."""

from __future__ import annotations

import dataclasses

import cedarpy
import pytest

from gateway.policy import shadow as module
from gateway.policy.authorizer import Authorizer
from gateway.policy.judge import Judge
from gateway.policy.shadow import Difference, Shadow
from tests.gateway.callers import caller
from tests.gateway.policy.sets import policies

ALL = '@id("all") permit(principal, action, resource);\n'
NO_OTP = '@id("no-otp") forbid(principal, action == Action::"SendOtp", resource) when { context.country == "DE" };\n'
OVERFLOW = '@id("boom") forbid(principal, action, resource) when { context.minute + 9223372036854775807 > 0 };\n'
GET = "MessageService.GetMessage"
MINUTE = 60_000_000
CALLER = caller()


def beside(live: str, candidate: str) -> tuple[Authorizer, Shadow]:
    """Return an authorizer for a set, with a candidate beside it."""
    asked, shadow = Authorizer(Judge(policies(live))), Shadow(Judge(policies(candidate)), 7)
    asked.watch(shadow)
    return asked, shadow


def look(shadow: Shadow) -> None:
    """Compare all that waits."""
    shadow.look(1_000_000)
    shadow.evaluate(1_000_000)


def send(asked: Authorizer, category: int = 1, country: str = "DE", sender: str = "ACME", now: int = 0) -> bool:
    """Ask about one message."""
    return asked.sending(CALLER, "10.0.0.1", now, 1).decide(category, sender, country, 1).allowed


def test_what_differs() -> None:
    """Every decision is counted by both outcomes; what differs has its policies, its times and an example."""
    asked, shadow = beside(ALL, ALL + NO_OTP)
    for now in (MINUTE, 2 * MINUTE, 3 * MINUTE):
        assert send(asked, now=now)  # the candidate has no say
        assert send(asked, country="FR", now=now)
        assert asked.call(CALLER, GET, "10.0.0.1", now).allowed
        assert asked.routing("acme", now, attempt=True).decide("demo", CALLER.spiffe_id, "A", 1, "DE", 1).allowed
    look(shadow)
    assert shadow.counts == {
        ("SendOtp", "allow", "deny"): 3,
        ("SendOtp", "allow", "allow"): 3,
        (GET, "allow", "allow"): 3,
        ("UseRoute", "allow", "allow"): 3,
    }
    assert shadow.differences == [
        Difference(
            action="SendOtp", live="allow", live_policies=("all",), shadow="deny", shadow_policies=("no-otp",),
            count=3, first_at=MINUTE, last_at=3 * MINUTE,
            spiffe_id=CALLER.spiffe_id, tenant="demo", country="DE", carrier="",
        )
    ]  # fmt: skip


def test_both_ways() -> None:
    """What the candidate would permit is told as what it would forbid; a default has its name."""
    asked, shadow = beside(ALL + NO_OTP, '@id("some") permit(principal, action == Action::"SendOtp", resource);')
    send(asked)
    send(asked, category=2)
    look(shadow)
    rows = [(row.action, row.live_policies, row.shadow, row.shadow_policies) for row in shadow.differences]
    assert rows == [
        ("SendOtp", ("no-otp",), "allow", ("some",)),
        ("SendTransactional", ("all",), "deny", ("default-deny",)),
    ]


def test_what_is_asked_for_others_is_no_attempt() -> None:
    """What a route might be, asked to explain it or to find another one, is not compared."""
    asked, shadow = beside(ALL, ALL + NO_OTP)
    asked.routing("acme", 0).decide("demo", CALLER.spiffe_id, "A", 1, "DE", 1)
    assert shadow.waiting == 0


def test_the_candidate_reads_what_the_live_set_does_not() -> None:
    """It is asked about all of it, however little the set in force reads; and remembers by what it reads itself."""
    text = '@id("late") forbid(principal, action == Action::"SendOtp", resource) when { context.minute >= 2 };'
    asked, shadow = beside(ALL, ALL + text)
    for minute in range(4):
        send(asked, now=minute * MINUTE)
    look(shadow)
    assert asked.misses == 1
    assert shadow.counts == {("SendOtp", "allow", "allow"): 2, ("SendOtp", "allow", "deny"): 2}


def test_errors_of_the_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that errs, and an evaluation that breaks down, are told as errors of the candidate, and nothing else."""
    asked, shadow = beside(ALL, ALL + OVERFLOW)
    assert send(asked, now=MINUTE)
    look(shadow)
    assert send(asked, category=2, now=MINUTE)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", broken)
        look(shadow)
    assert [(row.action, row.shadow, row.shadow_policies) for row in shadow.differences] == [
        ("SendOtp", "error", ("boom",)),
        ("SendTransactional", "error", ("default-deny",)),
    ]
    assert send(asked, now=MINUTE)


def test_asked_once() -> None:
    """Equal questions are evaluated once, and each of them counts."""
    asked, shadow = beside(ALL, ALL + NO_OTP)
    for _ in range(50):
        send(asked)
    shadow.look(1_000)
    assert shadow.unknown == 1
    shadow.evaluate(1)
    assert shadow.counts["SendOtp", "allow", "deny"] == 50
    send(asked)
    shadow.look(1_000)
    assert (shadow.unknown, shadow.counts["SendOtp", "allow", "deny"]) == (0, 51)


def test_what_does_not_fit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue, the questions that wait to be evaluated, and the table are bounded; what is beyond is counted."""
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    monkeypatch.setattr(module, "MOST_UNKNOWN", 4)
    monkeypatch.setattr(module, "MOST_ROWS", 1)
    countries = "".join(
        f'@id("no-{name.lower()}") forbid(principal, action in Action::"send", resource) '
        f'when {{ context.country == "{name}" }};\n'
        for name in ("AA", "AB", "AC", "AD", "AE", "AF")
    )
    asked, shadow = beside(ALL, ALL + countries)
    for _ in range(2):
        for name in ("AA", "AB", "AC", "AD", "AE", "AF"):
            assert send(asked, country=name)
    assert (shadow.waiting, shadow.not_compared) == (10, 2)
    shadow.look(10)
    assert (shadow.unknown, shadow.not_compared) == (4, 2 + 2)
    shadow.evaluate(10)
    assert sum(shadow.counts.values()) == 12 - shadow.not_compared == 8
    assert (len(shadow.differences), shadow.differences[0].count, shadow.unlisted) == (1, 2, 6)


def test_each_sort_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log has each sort of difference once, without sender and address."""
    asked, shadow = beside(ALL, ALL + NO_OTP)
    for sender in ("+4915112345678", "ACME"):
        send(asked, sender=sender)
        look(shadow)
    (record,) = caplog.records
    assert (record.message, vars(record)["shadow_policies"]) == ("policy_shadow_differs", ("no-otp",))
    kept = repr([dataclasses.asdict(row) for row in shadow.differences]) + repr(vars(record))
    assert "+4915112345678" not in kept
    assert "10.0.0.1" not in kept


def test_live_decisions_are_the_same_with_a_shadow() -> None:
    """Whatever the candidate, decisions and evaluations of the set in force are those that it makes alone."""
    alone, (watched, shadow) = Authorizer(Judge(policies(ALL + NO_OTP))), beside(ALL + NO_OTP, OVERFLOW)
    for asked in (alone, watched):
        for country in ("DE", "FR", "DE"):
            for category in (1, 2, 3):
                send(asked, category, country)
    look(shadow)
    for country in ("DE", "FR"):
        for category in (1, 2, 3):
            found = [asked.sending(CALLER, "", 0, 1).decide(category, "ACME", country, 1) for asked in (alone, watched)]
            assert found[0] == found[1]
    assert alone.misses == watched.misses
