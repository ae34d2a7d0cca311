"""Ids of carriers, read by the side that wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.ids import IdForm, IdForms, IdRule

UUID = "0b1a7f2e-9d1c-4c56-8a21-2f0c5b7d9e10"


@pytest.mark.parametrize(
    ("form", "written", "canonical"),
    [
        (IdForm.AS_IS, "0012", "0012"),
        (IdForm.AS_IS, " x:Y ", " x:Y "),
        (IdForm.DECIMAL, "0012", "12"),
        (IdForm.DECIMAL, " 12 345", "12345"),
        (IdForm.DECIMAL, "000", "0"),
        (IdForm.DECIMAL, "1a", None),
        (IdForm.DECIMAL, "-5", None),
        (IdForm.DECIMAL, "", None),
        (IdForm.DECIMAL, "١٢", None),
        (IdForm.DECIMAL, UUID, None),
        (IdForm.HEX, "1A", "26"),
        (IdForm.HEX, "0x001a", "26"),
        (IdForm.HEX, "12", "18"),
        (IdForm.HEX, "12g", None),
        (IdForm.HEX, UUID, None),
        (IdForm.HEX, UUID.replace("-", ""), None),
        (IdForm.HEX, "f" * 31, str(16**31 - 1)),
        (IdForm.HEX_BYTES, "41622d31", "Ab-1"),
        (IdForm.HEX_BYTES, "416", None),
        (IdForm.HEX_BYTES, "0041", None),
        (IdForm.HEX_BYTES, "417f", None),
        (IdForm.HEX_BYTES, UUID, None),
    ],
)
def test_each_form(form: IdForm, written: str, canonical: str | None) -> None:
    """A form reads what is written in it; None says that something is not."""
    assert IdRule(form, ignore_case=False).read(written) == canonical


def test_case_counts_unless_it_is_ignored() -> None:
    """Case is dropped only where the profile says so, of what could not be read too."""
    assert IdRule(IdForm.AS_IS, ignore_case=False).read("aB") == "aB"
    assert IdRule(IdForm.AS_IS, ignore_case=True).read("aB") == "ab"
    assert IdRule(IdForm.HEX_BYTES, ignore_case=True).read("4162") == "ab"
    assert IdRule(IdForm.HEX, ignore_case=True).kept("X-Y") == "x-y"
    assert IdRule(IdForm.HEX, ignore_case=False).kept("X-Y") == "X-Y"


@given(number=st.integers(0, 16**24), zeros=st.integers(0, 4), upper=st.booleans())
def test_hex_and_decimal_meet(number: int, zeros: int, upper: bool) -> None:
    """One number gives one text, whichever side wrote it in which notation."""
    written = "0" * zeros + (f"{number:X}" if upper else f"{number:x}")
    decimal = IdRule(IdForm.DECIMAL, ignore_case=False)
    assert IdRule(IdForm.HEX, ignore_case=False).read(written) == decimal.read(" " + "0" * min(zeros, 1) + str(number))


@given(written=st.text(max_size=300), form=st.sampled_from(IdForm), ignore_case=st.booleans())
def test_reading_never_fails(written: str, form: IdForm, ignore_case: bool) -> None:
    """Whatever a carrier writes gives one line of text or None, and what stands for it is never longer."""
    found = IdRule(form, ignore_case=ignore_case).read(written)
    assert found is None or "\n" not in found or form is IdForm.AS_IS


def test_only_defaults_are_plain() -> None:
    """A carrier whose ids need no reading is told apart from all others."""
    assert IdForms().plain
    assert not IdForms(ignore_case=True).plain
    assert not IdForms(receipt=IdForm.DECIMAL).plain
