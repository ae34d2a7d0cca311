"""What is shown of numbers and of strangers' texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.masking import escape_controls, mask_number


@pytest.mark.parametrize(
    ("number", "masked"),
    [("+4915112345678", "+49XXXXXXX5678"), ("+919876543210", "+91XXXXXX3210"), ("+12125550123", "+1XXXXXX0123"),
     ("+1234567", "+1XXX567"), ("+3531234", "+353XX34"), ("12345", "XXX45"), ("1", "X"), ("+", "X"), ("", ""),
     ("ACME", "XXXX"), ("+49151\x1b[2J", "XXXXXXXXXX"), ("+9991234567", "+XXXXXX4567"), ("x" * 50, "X" * 20)],
)  # fmt: skip
def test_mask_number(number: str, masked: str) -> None:
    """Calling code and last four stay; short and odd ones show less."""
    assert mask_number(number) == masked


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.from_regex(r"\+?[0-9]{1,16}", fullmatch=True), st.text(max_size=30)))
def test_mask_hides_half(number: str) -> None:
    """At least half of what follows the calling code is hidden, whatever comes in."""
    masked = mask_number(number)
    assert masked.count("X") * 2 >= len(masked) - 4 or not number
    assert len(masked) <= 21


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("plain ü नमस्ते", "plain ü नमस्ते"), ("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("\u202eevil", "\\u202eevil"),
     ("\x00", "\\x00"), ("a\u2028b", "a\\u2028b"), ("\U000e0001", "\\U000e0001"), ("\ud800", "\\ud800")],
)  # fmt: skip
def test_escape_controls(text: str, escaped: str) -> None:
    """Control, format and unassigned characters become escapes; the rest stays."""
    assert escape_controls(text) == escaped


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_escaped_prints(text: str) -> None:
    """What comes out prints as itself."""
    assert escape_controls(text).isprintable()
