"""Questions in Cedar's terms."""

from __future__ import annotations

import pytest

from gateway.policy.requests import Measure, Question
from gateway.policy.translation import as_entities, as_request

SPIFFE_ID = "spiffe://example.org/shop/api"


def test_a_call() -> None:
    """A call is about the caller's tenant, and has no attributes of a message; an address only when it is known."""
    request = as_request(Question("MessageService.GetMessage", SPIFFE_ID, "shop", sender="never", weekday=2, minute=3))
    assert request == {
        "principal": {"type": "Caller", "id": SPIFFE_ID},
        "action": {"type": "Action", "id": "MessageService.GetMessage"},
        "resource": {"type": "Tenant", "id": "shop"},
        "context": {"weekday": 2, "minute": 3},
    }


def test_a_send() -> None:
    """A send is about a new message, and has everything that is known."""
    request = as_request(
        Question("SendOtp", SPIFFE_ID, "shop", "", "ACME", 1, "DE", "10.0.0.1", 2, 3, Measure(2, False, 5))
    )
    assert request["resource"] == {"type": "Message", "id": "new"}
    assert request["context"] == {
        "weekday": 2, "minute": 3, "sender": "ACME", "category": "OTP", "country": "DE",
        "address": {"__extn": {"fn": "ip", "arg": "10.0.0.1"}}, "segments": 2, "sealed": False, "batch": 5,
    }  # fmt: skip


def test_a_route() -> None:
    """A route is about the carrier."""
    request = as_request(Question("UseRoute", SPIFFE_ID, "shop", "acme", "ACME", 3, "ZZ", measure=Measure(0, True, 5)))
    assert request["resource"] == {"type": "Route", "id": "acme"}
    assert request["context"] == {
        "weekday": 1, "minute": 0, "sender": "ACME", "category": "PROMOTIONAL", "country": "ZZ", "sealed": True,
    }  # fmt: skip


def test_entities() -> None:
    """The caller lies in its tenant and its prefixes, the message in its owner's tenant."""
    caller, message = as_entities(SPIFFE_ID, "shop", "example.org")
    tenant = {"type": "Tenant", "id": "shop"}
    assert caller["parents"] == [
        tenant,
        {"type": "Path", "id": "spiffe://example.org"},
        {"type": "Path", "id": "spiffe://example.org/shop"},
        {"type": "Path", "id": SPIFFE_ID},
    ]
    identity = {"trust_domain": "example.org", "path": "/shop/api", "federated": False}
    assert caller["attrs"] == {"tenant": {"__entity": tenant}, **identity}
    assert [entities[0]["attrs"]["federated"] for entities in (
        as_entities(SPIFFE_ID, "shop", "example.com"), as_entities(SPIFFE_ID, "", "example.com"),
    )] == [True, True]  # fmt: skip
    assert message["parents"] == [tenant]
    assert message["attrs"]["owner"] == {"__entity": caller["uid"]}


def test_an_unknown_category() -> None:
    """A category that there is not cannot be asked about."""
    with pytest.raises(ValueError, match="9"):
        as_request(Question("SendOtp", SPIFFE_ID, "shop", category=9))
