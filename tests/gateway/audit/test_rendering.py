"""Every record can be read by people and by machines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from gateway.audit.records import Decision, MessageAccepted, MessagesSending, Record, StateChanged
from gateway.audit.rendering import as_json, moment, tenant_of, words
from tests.gateway.audit.samples import AT, ID, OTHER_ID, SAMPLES, decision, records

ID_TEXT = "01a20a82-af4e-7000-8000-59821521b519"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_every_kind(sample: Record) -> None:
    """Each kind has words, and all of its fields in JSON."""
    assert words(sample)
    document = json.loads(json.dumps(as_json(sample)))
    assert set(document) == {"kind", *sample._fields}
    assert document["at"] == "2027-01-15T08:00:00.123456Z"


@settings(max_examples=100, deadline=None)
@given(records)
def test_any_record(record: Record) -> None:
    """Whatever a record holds, it can be shown."""
    assert "" not in words(record)
    json.dumps(as_json(record))


def test_words() -> None:
    """The words say what matters, in a fixed order."""
    assert words(decision(times=3, since=AT - 1_000_000)) == [
        "DENIED",
        "spiffe://example.org/acme/api",
        "SendOtp",
        "FORBIDDEN",
        "by policy no-otp-at-night",
        "from 192.0.2.7",
        "3 times since 2027-01-15T07:59:59.123456Z",
    ]
    nobody = decision(allowed=True, caller="", action="", policy="", address="")
    assert words(nobody) == ["allowed", "(nobody recognised)", "/smsgw.v1.MessageService/SendMessage", "FORBIDDEN"]
    assert words(StateChanged(AT, ID, "acme", 2, 8, "c", "CARRIER_REJECTED", 0x0B, "")) == [
        ID_TEXT, "tenant acme", "SENDING → REJECTED", "via c", "CARRIER_REJECTED", "SMPP status 0x0000000b",
    ]  # fmt: skip
    assert words(StateChanged(AT, ID, "acme", 1, 7, "", "", None, "spiffe://x/y"))[2:] == [
        "ACCEPTED → CANCELLED",
        "by spiffe://x/y",
    ]
    assert words(MessagesSending(AT, "acme", "c", "", (ID, OTHER_ID)))[-1] == f"{ID_TEXT} and 1 more"
    assert words(MessagesSending(AT, "acme", "c", "p", (ID,)))[-2:] == ["by policy p", ID_TEXT]


def test_json() -> None:
    """Ids, states and categories are text; numbers and flags stay what they are."""
    document = as_json(MessageAccepted(AT, ID, "acme", "spiffe://x/y", 1, "ACME", "DE", 2, replayed=True))
    assert document["message_id"] == ID_TEXT
    assert (document["category"], document["segments"], document["replayed"]) == ("OTP", 2, True)
    document = as_json(StateChanged(AT, ID, "acme", 2, 3, "c", "", 5, ""))
    assert (document["before"], document["state"], document["smpp_status"]) == ("SENDING", "SUBMITTED", 5)
    assert as_json(MessagesSending(AT, "acme", "c", "", (ID,)))["message_ids"] == [ID_TEXT]


def test_tenants() -> None:
    """Records of the node belong to no tenant."""
    tenants = {type(sample).__name__: tenant_of(sample) for sample in SAMPLES}
    assert {name for name, tenant in tenants.items() if not tenant} == {
        "Recovered", "NodeStarted", "NodeStopped", "ConfigLoaded", "CertificateRenewed", "AlertChanged",
        "PoliciesReplaced",
        "RevocationChanged",
    }  # fmt: skip
    assert {tenant for tenant in tenants.values() if tenant} == {"acme"}
    assert isinstance(SAMPLES[0], Decision)


@pytest.mark.parametrize("at", [2**64 - 1, 10**18])
def test_a_number_that_is_no_time(at: int) -> None:
    """It is shown as it is."""
    assert moment(at) == str(at)
