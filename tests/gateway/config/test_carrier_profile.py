"""From a carrier's section to its profile: how the carrier writes things."""

from __future__ import annotations

import pytest

from carrier.ids import IdForm, IdForms
from carrier.profile import CarrierProfile
from carrier.receipt_rules import IdSource, StatMeaning
from carrier.text.national import Language
from carrier.text.profile import DefaultAlphabet, Segmentation, TextProfile
from tests.gateway.config.conftest import MINIMAL, Load, Problems

CARRIER = "carriers:\n  - name: acme\n    host: smpp.example\n    system_id: me\n    password_file: secret\n"


def profile_with(loaded: Load, added: str) -> CarrierProfile:
    """Return the profile of a carrier with further settings, each on a line of its own."""
    return loaded(CARRIER + "".join(f"    {line}\n" for line in added.splitlines())).carriers[0]


def test_ids(loaded: Load) -> None:
    """Ids are as written, unless the section says how each side writes them."""
    assert profile_with(loaded, "").ids.plain
    profile = profile_with(loaded, "ids: {response: hex, receipt: decimal, ignore_case: true}")
    assert profile.ids == IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL, ignore_case=True)


def test_text(loaded: Load) -> None:
    """Texts are plain unless the section says more, which reaches the profile field by field."""
    assert profile_with(loaded, "").text == TextProfile()
    profile = profile_with(
        loaded,
        "text: {default_alphabet: gsm7_packed, latin1: true, national_tables: [turkish, hindi], transliterate: true,"
        " segmentation: udh16}",
    )
    assert profile.text == TextProfile(
        default_alphabet=DefaultAlphabet.GSM7_PACKED,
        latin1=True,
        national_tables=(Language.TURKISH, Language.HINDI),
        transliterate=True,
        segmentation=Segmentation.UDH16,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{national_tables: [turkish], segmentation: sar}", "udh8 or udh16"),
        ("{national_tables: [turkish], default_alphabet: latin1}", "gsm7 or gsm7_packed"),
        ("{national_tables: [turkish, turkish]}", "twice"),
    ],
)
def test_text_settings_that_do_not_go_together(problems: Problems, text: str, says: str) -> None:
    """National tables want septets and a header; no language twice."""
    ((_, key, found),) = problems(MINIMAL + CARRIER + f"    text: {text}\n")
    assert key == "carriers[0].text.national_tables"
    assert says in found


def test_receipts(loaded: Load) -> None:
    """The dialect of receipts reaches the profile; stats are compared in capitals."""
    rules = profile_with(loaded, "receipts: {timezone: Asia/Kolkata, id_from: text, stats: {foo: delivered}}").receipts
    assert (rules.timezone, rules.id_from, rules.stats) == (
        "Asia/Kolkata", IdSource.TEXT, {"FOO": StatMeaning.DELIVERED},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("receipts", "key", "says"),
    [
        ("{timezone: Mars/Base}", "receipts.timezone", "no time zone"),
        ('{timezone: "+25:00"}', "receipts.timezone", "no time zone"),
        ("{stats: {foo: delivered, FOO: expired}}", "receipts.stats", "twice"),
    ],
)
def test_receipt_settings_that_are_wrong(problems: Problems, receipts: str, key: str, says: str) -> None:
    """A time zone is one, and a stat has one meaning."""
    ((_, found, text),) = problems(MINIMAL + CARRIER + f"    receipts: {receipts}\n")
    assert found == f"carriers[0].{key}"
    assert says in text
