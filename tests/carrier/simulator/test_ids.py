"""Message ids in every form."""

from __future__ import annotations

import pytest

from carrier.simulator.ids import Ids, write_id
from carrier.simulator.script_deliveries import ID_FORMS


@pytest.mark.parametrize(
    ("form", "texts"),
    [("hex", ["ff", "100"]), ("decimal", ["0000000255", "0000000256"])],
)
def test_ids_count_up(form: str, texts: list[str]) -> None:
    """Each id comes once."""
    ids = Ids(form, 255)
    assert [ids.new(), ids.new()] == [(255, texts[0]), (256, texts[1])]


def test_uuids_differ_and_have_their_form() -> None:
    """36 characters with dashes."""
    ids = Ids("uuid", 1)
    found = {ids.new()[1] for _ in range(100)}
    assert len(found) == 100
    assert {len(text) for text in found} == {36}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hex_upper", "BEEF"),
        ("hex_padded", "000000000000BEEF"),
        ("hex_bytes", "3438383739"),
        ("decimal", "0000048879"),
        ("decimal_plain", "48879"),
        ("spaced", " 0000048879 "),
        ("text", "Msg-beef"),
        ("text_upper", "MSG-BEEF"),
    ],
)
def test_forms(form: str, text: str) -> None:
    """One number, as carriers write it."""
    assert write_id(0xBEEF, form) == text


def test_every_form_can_be_written_and_differs() -> None:
    """What a script can ask for is there."""
    assert len({write_id(0xBEEF, form) for form in ID_FORMS}) == len(ID_FORMS)
