"""Which country a number belongs to."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.countries import UNKNOWN_COUNTRY, country_of, load_plans
from gateway.destinations import SHARED


@pytest.mark.parametrize(
    ("number", "country"),
    [("+4915112345678", "DE"), ("+919876543210", "IN"), ("+12125550123", "US"), ("+14165550123", "CA"),
     ("+12425550123", "BS"), ("+17875550123", "PR"), ("+79161234567", "RU"), ("+77012345678", "KZ"),
     ("+447400123456", "GB"), ("+447797123456", "JE"), ("+441624756789", "IM"), ("+390669812345", "VA")],
)  # fmt: skip
def test_country(number: str, country: str) -> None:
    """Countries that share a calling code are told apart by their own plans."""
    assert country_of(number) == country


@pytest.mark.parametrize("number", ["+19995550123", "+80012345678", "+87012345678", "+9991234567", "", "+", "49151"])
def test_unknown(number: str) -> None:
    """A shared code's number that no plan claims, a worldwide code and what is no number are of no known country."""
    assert country_of(number) == UNKNOWN_COUNTRY


def test_a_line_end_is_not_overlooked() -> None:
    """A plan matches the whole number."""
    assert country_of("+12125550123\n") == UNKNOWN_COUNTRY


def test_load_plans() -> None:
    """The plans of all shared codes can be read, and can be told apart."""
    load_plans()
    assert len(SHARED["+1"]) > 20


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SHARED)), st.from_regex(r"[0-9]{7,11}", fullmatch=True))
def test_as_phonenumbers(code: str, rest: str) -> None:
    """Of every number of a shared code, `phonenumbers` says the same."""
    number = code + rest
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        assume(False)
    # Not a number that its reader corrects, such as one with a trunk prefix behind the calling code.
    assume(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == number)
    assert country_of(number) == (phonenumbers.region_code_for_number(parsed) or UNKNOWN_COUNTRY)
