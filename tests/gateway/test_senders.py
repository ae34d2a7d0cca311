"""What may stand as a sender."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier.outbound import SubmissionWriter
from carrier.profile import CarrierProfile
from gateway.senders import sender_fault

PROFILE = CarrierProfile(name="c", host="h", port=1, system_id="s", password=None)  # type: ignore[arg-type]  # unused


@pytest.mark.parametrize(
    "sender", ["ACME", "Müller & Co", "a", "ABCDEFGHIJK", "123", "12345678", "+4915112345678", "Shop24", "A@B", "Ça_1"]
)
def test_accepted(sender: str) -> None:
    """Alphanumeric of up to 11, a short code, a number."""
    assert sender_fault(sender) is None


@pytest.mark.parametrize(
    ("sender", "says"),
    [("", "required"), ("ABCDEFGHIJKL", "12 characters"), ("12", "short code"), ("123456789", "short code"),
     ("+49", "no number in E.164"), ("+ACME", "no number in E.164"), ("+9991234567", "not assigned"),
     ("AC{ME", "no sender can have"), ("नमस्ते", "no sender can have"), ("A\nB", "no sender can have"),
     ("ΔΦ", "no sender can have"), ("A\x1bB", "no sender can have"), (" ACME", "space"), ("ACME ", "space"),
     ("12-34", "no letter"), ("@", "no letter"), ("१२३", "no sender can have")],
)  # fmt: skip
def test_refused(sender: str, says: str) -> None:
    """Everything else is refused, and the text says why."""
    fault = sender_fault(sender)
    assert fault is not None
    assert says in fault.description
    assert (fault.field, fault.reason) == ("sender", "SENDER_INVALID")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=12))
def test_accepted_can_be_sent(sender: str) -> None:
    """The carrier's encoder takes every sender that is accepted here."""
    if sender_fault(sender) is None:
        writer = SubmissionWriter(PROFILE)
        assert writer.write(sender=sender, recipient="+4915112345678", text="x", reference=0, validity_s=60)
