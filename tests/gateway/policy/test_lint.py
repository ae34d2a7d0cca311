"""Hints about what a set probably does not mean."""

from __future__ import annotations

import pytest

from gateway.api.authorizing import call_actions
from gateway.policy.lint import hints, is_about
from gateway.policy.vocabulary import all_actions
from tests.gateway.policy.sets import policies

ALL = '@id("all") permit(principal, action, resource) when { resource != principal };\n'


def told(text: str) -> list[str]:
    """Return the hints about a set, without their places."""
    return [hint.text for hint in hints(policies(text), call_actions())]


def test_nothing_to_say() -> None:
    """The default set, and a permit with a condition, are fine."""
    assert told("") == []
    assert told(ALL) == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('@id("x") permit(principal, action, resource);', "x permits everything to everybody"),
        (ALL + '@id("x") forbid(principal, action, resource);', "x forbids everything: no other policy counts"),
        (ALL + ALL.replace("all", "again"), "again says the same as all (test.cedar:1): it changes nothing"),
        ('@id("x") permit(principal, action == Action::"SendOtp", resource);',
         "no policy permits SendPromotional: it is always denied"),
        ('@id("x") permit(principal, action in [Action::"send"], resource);',
         "no policy permits UseRoute: it is always denied"),
    ],
)  # fmt: skip
def test_hint(text: str, hint: str) -> None:
    """Each kind of hint is told."""
    assert hint in told(text)


def test_groups_cover_their_actions() -> None:
    """A permit of a group is about each of its actions, and about no other."""
    (policy,) = policies('@id("x") permit(principal, action in Action::"message:read", resource);').policies
    about = {action for action, group in all_actions(call_actions()).items() if is_about(policy, action, group)}
    assert about == {"MessageService.GetMessage", "MessageService.ListMessages"}
