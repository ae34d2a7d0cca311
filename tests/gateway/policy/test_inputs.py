"""Which attributes policies can read."""

from __future__ import annotations

import pytest
from cedarpy import PolicySet

from gateway.policy.inputs import CONTEXT, attributes_read


def reads(condition: str) -> frozenset[str]:
    """Return what a policy with this condition reads."""
    policies = PolicySet.from_str(f"permit(principal, action, resource) when {{ {condition} }};").to_pst()
    return attributes_read(policies.static_policies.values())


@pytest.mark.parametrize(
    ("condition", "attributes"),
    [
        ("true", set()),
        ('context.sender == "A"', {"sender"}),
        ('context["sender"] == "A"', {"sender"}),
        ("context has address", {"address"}),
        ('context has address && context.address.isInRange(ip("10.0.0.0/8"))', {"address"}),
        ('if context.minute > 3 then ["DE"].contains(context.country) else false', {"minute", "country"}),
        ("[context.weekday, 3].contains(2)", {"weekday"}),
        ("{a: {b: context.minute}}.a.b == 3", {"minute"}),
        ('context.sender like "A*"', {"sender"}),
        ("!(context.minute == 3)", {"minute"}),
        ("principal == resource", set()),
        ("context == {minute: 3}", CONTEXT),
        ("[context].contains({minute: 3})", CONTEXT),
        ("(if true then context else context).minute == 3", CONTEXT),
    ],
)
def test_reads(condition: str, attributes: set[str]) -> None:
    """Each way to read an attribute is seen; the context as a whole counts as all of them."""
    assert reads(condition) == attributes


def test_unless_counts() -> None:
    """What stands behind `unless` is read too."""
    text = "permit(principal, action, resource) unless { context.minute > 3 };"
    assert attributes_read(PolicySet.from_str(text).to_pst().static_policies.values()) == {"minute"}
