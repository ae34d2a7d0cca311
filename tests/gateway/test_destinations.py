"""Numbers and their calling codes."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.destinations import destination, is_e164


@pytest.mark.parametrize("number", ["+4915112345678", "+1234567", "+123456789012345"])
def test_e164_accepted(number: str) -> None:
    """A plus sign and 7 to 15 digits are E.164."""
    assert is_e164(number)


@pytest.mark.parametrize(
    "number",
    ["", "+", "4915112345678", "+0491511234567", "+123456", "+1234567890123456", "+49 151 12345678", "+4915112345678\n",
     "+٤٩١٥١١٢٣٤٥٦٧٨", "++4915112345678", "tel:+4915112345678"],
)  # fmt: skip
def test_e164_refused(number: str) -> None:
    """Anything else is not: no separators, no other digits, no line end."""
    assert not is_e164(number)


@pytest.mark.parametrize(
    ("number", "code", "region"),
    [("+4915112345678", "+49", "DE"), ("+919876543210", "+91", "IN"), ("+12125550123", "+1", "US"),
     ("+3531234567", "+353", "IE"), ("+80012345678", "+800", "001"), ("+77012345678", "+7", "RU")],
)  # fmt: skip
def test_destination(number: str, code: str, region: str) -> None:
    """The longest assigned prefix is the calling code; its main region stands first."""
    found = destination(number)
    assert found is not None
    assert (found.calling_code, found.regions[0]) == (code, region)


@pytest.mark.parametrize("number", ["+9991234567", "+2101234567", "+", "", "49151"])
def test_unassigned(number: str) -> None:
    """A prefix that no country has is no destination."""
    assert destination(number) is None


@settings(max_examples=60, deadline=None)
@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_destination_as_phonenumbers(number: str) -> None:
    """Phonenumbers' own reader finds the same calling code."""
    try:
        expected: str | None = f"+{phonenumbers.parse(number).country_code}"
    except phonenumbers.NumberParseException:
        expected = None
    found = destination(number)
    assert (found.calling_code if found else None) == expected
