"""Limits are what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.api.limiting import CallLimits
from gateway.config.limit_settings import LimitSettings
from gateway.config.loader import load
from gateway.errors import Overloaded, RateLimited
from gateway.limits.assembly import message_limits
from tests.gateway.callers import caller

CONFIG = """
node: {trust_domain: example.org}
identity: {bundles: {example.org: bundle.pem}}
tenants:
  - {name: demo, spiffe_ids: [spiffe://example.org/demo]}
  - {name: strict, spiffe_ids: [spiffe://example.org/strict]}
"""
LIMITS = """
limits:
  calls: 100/m
  calls_burst: 100
  open_calls: 2
  new_certificates: 1/s
  new_certificates_burst: 1
  messages_per_caller: 4/s
  messages_per_caller_burst: 4
  messages_per_tenant: 5/s
  messages_per_tenant_burst: 5
  messages_per_recipient: 2/h
  messages_per_recipient_burst: 2
  recipient_places: 1024
  tenants:
    - {tenant: strict, messages_per_caller: 1/s, messages_per_caller_burst: 1}
"""
A, B, C = "+4915112345678", "+4915112345679", "+4915112345670"


def settings(folder: Path, text: str = "") -> LimitSettings:
    """Return the limits of a configuration."""
    file = folder / "smsgw.yaml"
    file.write_text(CONFIG + text)
    return load(file).limits


def limit_of(folder: Path, tenant: str, recipients: list[str], text: str = LIMITS) -> list[str]:
    """Return which limit refuses each message of a batch, "" for none."""
    with message_limits(settings(folder, text)).admission(tenant, f"spiffe://example.org/{tenant}", 10, 0) as admission:
        refused = [admission.hold(recipient) for recipient in recipients]
    return [error.limit if error else "" for error in refused]


def test_messages(tmp_path: Path) -> None:
    """Each rate is where it belongs; a tenant's own are its own, and the others are as for all."""
    assert limit_of(tmp_path, "demo", [A, A, A, B, C, B]) == [
        "", "", "messages_per_recipient", "", "", "messages_per_caller",
    ]  # fmt: skip
    assert limit_of(tmp_path, "strict", [A, B]) == ["", "messages_per_caller"]


def test_usual_messages(tmp_path: Path) -> None:
    """By default one recipient gets ten at once, and a caller far more than that."""
    found = limit_of(tmp_path, "demo", [A] * 10, "")
    assert found == [""] * 10
    limits = message_limits(settings(tmp_path))
    with limits.admission("demo", "spiffe://example.org/demo", 1000, 0) as admission:
        refused = [admission.hold(A) for _ in range(11)]
        assert [error.retry_after_s if error else 0 for error in refused] == [0] * 10 + [60]
        assert not any(admission.hold(f"+49151{number:08d}") for number in range(980))


def reason(call: object, *arguments: object) -> str:
    """Return why a call of a limit was refused, "" when it was not."""
    assert callable(call)
    try:
        call(*arguments)
    except Overloaded as error:
        return error.reason
    return ""


def test_calls(tmp_path: Path) -> None:
    """Calls, open calls and new certificates are limited as it is set."""
    limits = CallLimits.of(settings(tmp_path, LIMITS))
    flooding, other = caller(), caller(spiffe_id="spiffe://example.org/demo/other")
    assert reason(limits.call, flooding, 100) == ""
    with pytest.raises(RateLimited) as refused:
        limits.call(flooding, 1)
    assert 0 < refused.value.retry_after_s <= 0.6
    assert reason(limits.call, other, 1) == ""
    who = other.spiffe_id, other.tenant
    assert [reason(limits.places.take, *who) for _ in range(3)] == ["", "", "TOO_MANY_CALLS"]
    limits.places.give_back(*who)
    assert reason(limits.places.take, *who) == ""
    assert [reason(limits.certificate, f"ipv4:10.0.0.{n}:5") for n in (1, 1, 2)] == ["", "CERTIFICATE_RATE", ""]
    one_network = [reason(limits.certificate, f"ipv6:%5B2001:db8::{n}%5D:5") for n in (1, 2)]
    assert one_network == ["", "CERTIFICATE_RATE"]
