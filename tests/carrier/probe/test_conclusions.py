"""What follows from what was seen, by hand."""

from __future__ import annotations

import pytest

from carrier.probe.conclusions import Finding, conclude
from carrier.probe.observations import Answered, Asked, Exchange, Observations, Told
from carrier.smpp.pdu import DeliverSm

WALL = 1_800_000_000.0  # 2027-01-15 08:00 UTC


def receipt(message_id: str, *, done: str = "2701150800", text: str = "smsgw probe 1") -> Told:
    """Return a receipt as most carriers write it."""
    octets = f"id:{message_id} sub:001 dlvrd:001 submit date:{done} done date:{done} stat:DELIVRD err:000 text:{text}"
    return Told(DeliverSm(source_addr_ton=1, esm_class=4, short_message=octets.encode()), 1.0, WALL)


def exchanges(*pairs: tuple[str, str], done: str = "2701150800") -> list[Exchange]:
    """Return messages that were sent alone, with the ids of their responses and receipts."""
    return [
        Exchange(b"smsgw probe 1", 0.0, Answered(0, response, 0.1, 1), (receipt(written, done=done),))
        for response, written in pairs
    ]


def settings(seen: Observations) -> dict[str, object]:
    """Return the settings that follow."""
    return {finding.key: finding.value for finding in conclude(seen) if finding.key}


@pytest.mark.parametrize(
    ("pairs", "response", "receipt_form", "ignore_case"),
    [
        ([("abc", "abc"), ("abd", "abd")], "as_is", "as_is", False),
        ([("00ff", "0000000255"), ("0100", "256")], "hex", "decimal", False),
        ([("255", "ff"), ("256", "100")], "decimal", "hex", False),
        ([("0000000255", "255")], "decimal", "decimal", False),
        ([("Abc-1", "ABC-1")], "as_is", "as_is", True),
        ([("255", "323535")], "as_is", "hex_bytes", False),
        ([("7d2a65aa-0d6b-5e4b", "7D2A65AA-0D6B-5E4B")], "as_is", "as_is", True),
    ],
)
def test_forms_of_ids(pairs: list[tuple[str, str]], response: str, receipt_form: str, ignore_case: bool) -> None:
    """The simplest forms that make all of them one."""
    found = settings(Observations(single=exchanges(*pairs)))
    assert (found["ids.response"], found["ids.receipt"]) == (response, receipt_form)
    assert found.get("ids.ignore_case", False) == ignore_case


def test_ids_that_have_nothing_in_common() -> None:
    """No setting, and it is said."""
    found = conclude(Observations(single=exchanges(("abc", "xyz"))))
    assert "ids.response" not in {finding.key for finding in found}
    assert "no form in common" in str(found)


@pytest.mark.parametrize(
    ("done", "zone"),
    [("2701150800", None), ("2701150803", None), ("2701151330", "+05:30"), ("2701150300", "-05:00")],
)
def test_time_zones(done: str, zone: str | None) -> None:
    """By the quarter of an hour."""
    assert settings(Observations(single=exchanges(("1", "1"), done=done))).get("receipts.timezone") == zone


def test_how_sure_it_is_depends_on_how_often_it_was_seen() -> None:
    """Three of three are sure; one is likely."""
    three = conclude(Observations(single=exchanges(("a", "a"), ("b", "b"), ("c", "c"))))
    one = conclude(Observations(single=exchanges(("a", "a"))))
    assert "sure, seen 3 of 3 times" in _why(three, "ids.response")
    assert "likely, seen 1 of 1 times" in _why(one, "ids.response")


def _why(findings: list[Finding], key: str) -> str:
    return next(finding.why for finding in findings if finding.key == key)


def test_the_rate_is_told_from_the_window() -> None:
    """Refused one by one, it is the rate; refused only at once, it is the window."""
    good, refused = Answered(0, "1", 0.01, 1), Answered(0x58, "", 0.01, 1)
    rate = Observations(one_by_one=[[*[good] * 10, refused], [*[good] * 9, refused]], one_by_one_s=[1.0, 1.0])
    assert settings(rate) == {"rate": 9}
    rate.at_once = [good, refused]
    assert settings(rate) == {"rate": 9}
    window = Observations(one_by_one=[[good] * 20], one_by_one_s=[0.5], at_once=[*[good] * 10, refused, refused])
    assert settings(window) == {"window": 10}


def test_requests_that_are_not_taken_are_switched_off() -> None:
    """A nack is no answer; an error is one."""
    seen = Observations(queried=Asked(3, nacked=True), cancelled=Asked(0x11, nacked=False))
    assert settings(seen) == {"operations.query": False}
