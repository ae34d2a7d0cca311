"""From a carrier's section to its profile: how the carrier writes things."""

from __future__ import annotations

import pytest

from carrier.addresses import AddressProfile, Plan, SenderAlphabet
from carrier.ids import IdForm, IdForms
from carrier.profile import CarrierProfile
from carrier.receipt_rules import IdSource, StatMeaning
from carrier.submit_rules import SubmitRules, ValidityForm
from carrier.text.national import Language
from carrier.text.profile import DefaultAlphabet, Segmentation, TextProfile
from carrier.tlvs import ReceiptKey, TlvRule, TlvType
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


def test_addresses_and_fields(loaded: Load) -> None:
    """TON and NPI are written as a pair; every field of submit_sm that is a setting reaches the profile."""
    plain = profile_with(loaded, "")
    assert (plain.addresses, plain.submit, plain.tlvs) == (AddressProfile(), SubmitRules(), ())
    profile = profile_with(
        loaded,
        "addresses: {alphanumeric: 5/1, short_code: 0/0, number: 2/8, recipient: 0/1, keep_plus: true,"
        " sender_alphabet: gsm7}\n"
        "submit: {service_type: WAP, protocol_id: 64, registered_delivery: 17, validity_period: absolute,"
        " replace_if_present: true, priority: {otp: 3, transactional: 2, promotional: 1}}",
    )
    assert profile.addresses == AddressProfile(
        alphanumeric=Plan(5, 1),
        short_code=Plan(0, 0),
        number=Plan(2, 8),
        recipient=Plan(0, 1),
        keep_plus=True,
        sender_alphabet=SenderAlphabet.GSM7,
    )
    assert profile.submit == SubmitRules(
        service_type="WAP",
        protocol_id=64,
        registered_delivery=17,
        priorities=(3, 2, 1),
        validity_period=ValidityForm.ABSOLUTE,
        replace_if_present=True,
    )


def test_tlvs(loaded: Load) -> None:
    """Tags may be written in hexadecimal; a value is fixed, or a label's."""
    profile = profile_with(
        loaded,
        "tlvs:\n"
        '  - {tag: 0x1400, name: pe_id, value: "1101", mask: "1#01", senders: [ACME]}\n'
        "  - {tag: 5121, name: template, type: string, length: 30, from_label: dlt_template_id, required: false}\n"
        "  - {tag: 0x1400, name: error, receipt_key: err}",
    )
    assert profile.tlvs == (
        TlvRule(name="pe_id", tag=0x1400, value="1101", mask="1#01", senders=("ACME",)),
        TlvRule(
            name="template", tag=0x1401, type=TlvType.STRING, length=30, from_label="dlt_template_id", required=False
        ),
        TlvRule(name="error", tag=0x1400, receipt_key=ReceiptKey.ERR),
    )


@pytest.mark.parametrize(
    ("added", "key", "says"),
    [
        ("addresses: {number: 1}", "addresses.number", "as 5/0"),
        ("addresses: {number: 9/1}", "addresses.number", "as 5/0"),
        ("tlvs: [{tag: 0x10000, name: x, value: a}]", "tlvs[0].tag", "0 to 0xFFFF"),
        ("tlvs: [{tag: 0x0424, name: x, value: a}]", "tlvs[0].tag", "MESSAGE_PAYLOAD"),
        ("tlvs: [{tag: 0x1400, name: x}]", "tlvs[0].value", "either"),
        ('tlvs: [{tag: 0x1400, name: x, value: "1107", mask: "1#01"}]', "tlvs[0].value", "look like"),
        ("tlvs: [{tag: 0x1400, name: x, value: a, from_label: b}]", "tlvs[0].value", "either"),
        ("tlvs: [{tag: 0x1400, name: x, type: int, value: 1}]", "tlvs[0].length", "1 to 8"),
        ("tlvs: [{tag: 0x1400, name: x, type: int, length: 1, value: 256}]", "tlvs[0].value", "fits"),
        ("tlvs: [{tag: 0x1400, name: x, value: a}, {tag: 0x1400, name: y, value: b}]", "tlvs[1].tag", "never taken"),
    ],
)
def test_what_is_wrong_with_a_submit_sm(problems: Problems, added: str, key: str, says: str) -> None:
    """Each is told with its place, before anything is sent."""
    ((_, found, text),) = problems(MINIMAL + CARRIER + f"    {added}\n")
    assert found == f"carriers[0].{key}"
    assert says in text
