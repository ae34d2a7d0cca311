"""Submissions: addresses, validity, segments, and agreement with smpplib."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib import consts
from smpplib.client import SimpleSequenceGenerator
from smpplib.command import SubmitSM

from carrier.errors import TextError
from carrier.outbound import SubmissionWriter
from carrier.profile import CarrierProfile, Secret
from carrier.smpp.constants import CommandId
from carrier.smpp.pdu import HEADER, SubmitSm, decode
from carrier.submit_rules import PLAIN_SUBMIT, SubmitRules, ValidityForm
from carrier.text.profile import Segmentation, TextProfile
from carrier.text.writing import PLAIN
from carrier.tlvs import TlvRule

PROFILE = CarrierProfile(name="acme", host="127.0.0.1", port=2775, system_id="smsgw", password=Secret(b"pw"))


def build(rules: SubmitRules = PLAIN_SUBMIT, **changes: Any) -> tuple[bytes, ...]:
    """Build a submission with the usual arguments, changed."""
    arguments: dict[str, Any] = {
        "sender": "ACME",
        "recipient": "+4915112345678",
        "text": "hello",
        "reference": 7,
        "validity_s": 300,
    }
    return SubmissionWriter(dataclasses.replace(PROFILE, submit=rules)).write(**(arguments | changes))


def read(body: bytes) -> SubmitSm:
    """Decode a body as the carrier will."""
    _, pdu = decode(HEADER.pack(16 + len(body), CommandId.SUBMIT_SM, 0, 1) + body)
    assert isinstance(pdu, SubmitSm)
    return pdu


def test_one_segment_has_the_fields_of_the_specification() -> None:
    """Everything that a carrier reads of a plain message."""
    (body,) = build()
    assert read(body) == SubmitSm(
        source_addr_ton=5,
        source_addr_npi=0,
        source_addr=b"ACME",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr=b"4915112345678",
        validity_period=b"000000000500000R",
        registered_delivery=1,
        short_message=b"hello",
    )


def test_the_octets_are_those_of_smpplib() -> None:
    """An independent implementation writes the same PDU."""
    (body,) = build(text="hello [€]", sender="+4917000000")
    theirs = SubmitSM(
        "submit_sm",
        sequence=SimpleSequenceGenerator().next_sequence(),
        source_addr_ton=consts.SMPP_TON_INTL,
        source_addr_npi=consts.SMPP_NPI_ISDN,
        source_addr="4917000000",
        dest_addr_ton=consts.SMPP_TON_INTL,
        dest_addr_npi=consts.SMPP_NPI_ISDN,
        destination_addr="4915112345678",
        validity_period="000000000500000R",
        registered_delivery=1,
        short_message=bytes.fromhex("68656c6c6f201b3c1b651b3e"),
    ).generate()
    assert body == theirs[16:]


@pytest.mark.parametrize(
    ("sender", "ton", "npi", "address"),
    [
        ("ACME", 5, 0, b"ACME"),
        ("B@nk $_1", 5, 0, b"B@nk $_1"),  # ASCII, not septets: "@" would be 0x00 there and end the field
        ("Bäckerei", 5, 0, b"B\xe4ckerei"),
        ("12345", 3, 0, b"12345"),
        ("12345678", 3, 0, b"12345678"),
        ("+12345", 1, 1, b"12345"),
        ("+4915112345678", 1, 1, b"4915112345678"),
        ("4915112345678", 1, 1, b"4915112345678"),
    ],
)
def test_senders(sender: str, ton: int, npi: int, address: bytes) -> None:
    """Alphanumeric 5/0, short code 3/0, number 1/1 without its plus sign."""
    pdu = read(build(sender=sender)[0])
    assert (pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr) == (ton, npi, address)


@pytest.mark.parametrize("sender", ["", "Twelve chars", "हिन्दी", "a`b", "Ω", "a\nb", "a\0b", "١٢٣٤٥"])
def test_impossible_senders(sender: str) -> None:
    """What no handset could show, or no address can hold, is refused."""
    with pytest.raises(TextError, match="sender"):
        build(sender=sender)


@pytest.mark.parametrize("recipient", ["", "+", "12a", "+49 151", "1" * 16, "١٢٣", "+-49"])
def test_impossible_recipients_are_refused_without_being_shown(recipient: str) -> None:
    """A recipient is digits, and an error never holds one."""
    with pytest.raises(TextError, match=r"no E\.164 number$"):
        build(recipient=recipient)


@pytest.mark.parametrize(
    ("validity_s", "period"),
    [
        (None, b""),
        (1, b"000000000001000R"),
        (86_399, b"000000235959000R"),
        (7 * 86_400, b"000007000000000R"),
        (365 * 86_400, b"000030000000000R"),
    ],
)
def test_validity_is_relative(validity_s: int | None, period: bytes) -> None:
    """SMPP 3.4 §7.1.1.2; more than 30 days would need months."""
    assert read(build(validity_s=validity_s)[0]).validity_period == period


@pytest.mark.parametrize("validity_s", [0, -5])
def test_a_validity_that_is_over_is_refused(validity_s: int) -> None:
    """A message that nobody wants any more is not sent."""
    with pytest.raises(TextError, match="over before it begins"):
        build(validity_s=validity_s)


def test_binary_with_a_header() -> None:
    """A ring tone's port addressing arrives as it was given."""
    udh = bytes.fromhex("06050415811581")
    pdu = read(build(text=None, data=b"\x00\x01", data_coding=0xF5, user_data_header=udh)[0])
    assert (pdu.esm_class, pdu.data_coding, pdu.short_message) == (0x40, 0xF5, udh + b"\x00\x01")


def test_no_receipt_when_none_is_wanted() -> None:
    """registered_delivery is the profile's."""
    assert read(build(SubmitRules(registered_delivery=0))[0]).registered_delivery == 0


@given(st.text(max_size=700))
def test_every_text_has_a_body_for_each_segment(text: str) -> None:
    """Bodies are as many as estimated, and all of them readable."""
    bodies = build(text=text)
    assert len(bodies) == PLAIN.estimate(text).segments
    for body in bodies:
        pdu = read(body)
        assert pdu.tlvs == ()
        assert bool(pdu.esm_class & 0x40) == (len(bodies) > 1)


def test_what_else_a_profile_says() -> None:
    """service_type, protocol_id, the priority of each category, and an absolute validity in UTC."""
    rules = SubmitRules(
        service_type="WAP", protocol_id=64, registered_delivery=17, priorities=(3, 2, 1),
        validity_period=ValidityForm.ABSOLUTE,
    )  # fmt: skip
    for category, priority in ((1, 3), (2, 2), (3, 1), (0, 0)):
        pdu = read(build(rules, category=category, now_s=1_796_000_000)[0])
        assert (pdu.service_type, pdu.protocol_id, pdu.registered_delivery) == (b"WAP", 64, 17)
        assert (pdu.priority_flag, pdu.validity_period) == (priority, b"261130005820000+")
    untold = SubmitRules(validity_period=ValidityForm.NONE)
    assert read(build(untold)[0]).validity_period == b""
    for form in ValidityForm:
        with pytest.raises(TextError, match="before it begins"):
            build(SubmitRules(validity_period=form), validity_s=0)


def test_replacing_what_waits() -> None:
    """It is asked for in messages of one part alone, and only where the profile says so."""
    replacing = SubmitRules(replace_if_present=True)
    assert read(build(replacing)[0]).replace_if_present_flag == 1
    assert [read(body).replace_if_present_flag for body in build(replacing, text="x" * 200)] == [0, 0]
    assert read(build()[0]).replace_if_present_flag == 0


@pytest.mark.parametrize("how", Segmentation)
def test_own_tlvs_are_in_every_part(how: Segmentation) -> None:
    """A carrier's own TLVs stand behind those of the segmentation, in each part."""
    rule = TlvRule(name="pe_id", tag=0x1400, value="110")
    profile = dataclasses.replace(PROFILE, tlvs=(rule,), text=TextProfile(segmentation=how))
    for text in ("a", "a" * 400):
        bodies = SubmissionWriter(profile).write(
            sender="ACME", recipient="+4915112345678", text=text, reference=7, validity_s=60
        )
        for body in bodies:
            pdu = read(body)
            assert pdu.tlvs[-1] == (0x1400, b"110\0")
            assert len(pdu.tlvs) == 1 + (len(text) > 1) * {"sar": 3, "message_payload": 1}.get(how, 0)
