"""Rows of the checklist on what else stands in a submit_sm: addresses, and TLVs of the carrier's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from carrier.addresses import AddressProfile, Plan, SenderAlphabet
from carrier.simulator.arrival import Received
from carrier.submit_rules import SubmitRules, ValidityForm
from carrier.tlvs import ReceiptKey, TlvRule, TlvType
from gateway.states import State
from tests.quirks.way import Files, way

# India: the entity is the account's, the template the message's.
_DLT = (
    TlvRule(name="pe_id", tag=0x1400, value="1101234567890123456", length=31),
    TlvRule(name="template_id", tag=0x1401, from_label="dlt_template_id", length=31),
)
_WANTS_DLT = """
required_tlvs:
  - {tag: 0x1400, digits: true, shortest: 20, longest: 20}
  - {tag: 0x1401, digits: true, shortest: 20, longest: 20}
"""
_TEMPLATE = {"dlt_template_id": "1107161234567890123"}


async def test_row_23_tlvs_that_the_carrier_requires(tmp_path: Path, files: Files) -> None:
    """Row 23: fixed values and those of labels go into every part; without the setting the carrier refuses."""
    async with way(tmp_path / "set", files, _WANTS_DLT, tlvs=_DLT) as all_:
        await all_.reach(await all_.send("long " * 60, labels=_TEMPLATE), State.DELIVERED)
        received = all_.simulator.received
        assert len(received) == 2
        for part in received:
            assert part.submit.tlvs == ((0x1400, b"1101234567890123456\0"), (0x1401, b"1107161234567890123\0"))
    async with way(tmp_path / "unset", files, _WANTS_DLT) as all_:
        row = await all_.reach(await all_.send(labels=_TEMPLATE), State.REJECTED)
        assert row.smpp_status == 0xC3


async def test_row_23_a_label_that_is_missing(tmp_path: Path, files: Files) -> None:
    """Row 23: a message without the label is rejected here, says which one, and is never sent."""
    async with way(tmp_path, files, _WANTS_DLT, tlvs=_DLT) as all_:
        row = await all_.reach(await all_.send(), State.REJECTED)
        assert row.reason_code == "CONTENT_UNSENDABLE"
        assert "label dlt_template_id" in row.reason_text
        assert all_.simulator.stats()["submits"] == 0


async def test_row_23_swapped_ids(tmp_path: Path, files: Files) -> None:
    """Row 23: an id that does not look like the tag's is rejected here; without the mask the carrier gets it."""
    swapped = {"dlt_template_id": "1101234567890123456"}
    masked = TlvRule(name="template_id", tag=0x1401, from_label="dlt_template_id", mask="1#07###############")
    async with way(tmp_path / "mask", files, tlvs=(masked,)) as all_:
        row = await all_.reach(await all_.send(labels=swapped), State.REJECTED)
        assert "TLV template_id does not look like 1#07" in row.reason_text
        await all_.reach(await all_.send(labels=_TEMPLATE), State.DELIVERED)
        assert all_.simulator.stats()["submits"] == 1
    async with way(tmp_path / "none", files, tlvs=_DLT) as all_:
        await all_.reach(await all_.send(labels=swapped), State.DELIVERED)


async def test_row_23_the_same_tag_means_another_thing_elsewhere(tmp_path: Path, files: Files) -> None:
    """Row 23: the registry is the carrier's: the same tag has another form and another value for another sender."""
    rules = (
        TlvRule(name="customer", tag=0x1400, type=TlvType.INT, length=4, value="77", senders=("ACME",)),
        TlvRule(name="customer", tag=0x1400, type=TlvType.HEX, value="beef"),
    )
    async with way(tmp_path, files, tlvs=rules) as all_:
        for sender in ("ACME", "OTHER"):
            await all_.reach(await all_.send(sender=sender), State.DELIVERED)
        found = [part.submit.tlvs for part in all_.simulator.received]
        assert found == [((0x1400, b"\0\0\0\x4d"),), ((0x1400, b"\xbe\xef"),)]


async def test_row_23_tlvs_of_its_own_in_receipts(tmp_path: Path, files: Files) -> None:
    """Row 23: the registry reads receipts too: here the error stands in a vendor's TLV; without it nobody knows it."""
    script = "receipts: {form: text, template: 'id:{id} stat:UNDELIV', tlvs: [{tag: 0x1403, value: '026f'}]}"
    rule = TlvRule(name="error", tag=0x1403, type=TlvType.INT, receipt_key=ReceiptKey.ERR)
    for name, tlvs, error in (("set", (rule,), "623"), ("unset", (), "")):
        async with way(tmp_path / name, files, script, tlvs=tlvs) as all_:
            row = await all_.reach(await all_.send(), State.UNDELIVERABLE)
            assert row.network_error == error


async def test_row_24_billing(tmp_path: Path, files: Files) -> None:
    """Row 24: a billing id is the TLV of SMPP 5.0, or a service_type for older carriers."""
    billing = TlvRule(name="billing", tag=0x060B, type=TlvType.HEX, value="00a1")
    for name, settings, service_type, tlvs in (
        ("tlv", {"tlvs": (billing,)}, b"", ((0x060B, b"\x00\xa1"),)),
        ("service", {"submit": SubmitRules(service_type="BILL1")}, b"BILL1", ()),
        ("neither", {}, b"", ()),
    ):
        async with way(tmp_path / name, files, **settings) as all_:
            await all_.reach(await all_.send(), State.DELIVERED)
            (part,) = all_.simulator.received
            assert (part.submit.service_type, part.submit.tlvs) == (service_type, tlvs)


async def addressed(folder: Path, files: Files, sender: str, profile: AddressProfile) -> Received:
    """Send under `sender`; what arrived."""
    async with way(folder, files, addresses=profile) as all_:
        await all_.reach(await all_.send(sender=sender), State.DELIVERED)
        return all_.simulator.received[0]


@pytest.mark.parametrize(
    ("sender", "usual", "octets", "own", "own_octets"),
    [
        ("ACME", (5, 0), b"ACME", (5, 1), b"ACME"),
        ("12345", (3, 0), b"12345", (6, 9), b"12345"),
        ("+4915700000000", (1, 1), b"4915700000000", (0, 1), b"+4915700000000"),
    ],
)
async def test_row_26_type_and_plan_of_each_kind(
    tmp_path: Path,
    files: Files,
    sender: str,
    usual: tuple[int, int],
    octets: bytes,
    own: tuple[int, int],
    own_octets: bytes,
) -> None:
    """Row 26: alphanumeric 5/0, short code 3/0, number 1/1 without its plus, unless the carrier wants it otherwise."""
    pdu = (await addressed(tmp_path / "usual", files, sender, AddressProfile())).submit
    assert ((pdu.source_addr_ton, pdu.source_addr_npi), pdu.source_addr) == (usual, octets)
    assert (pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr) == (1, 1, b"4915112345678")
    profile = AddressProfile(
        alphanumeric=Plan(5, 1), short_code=Plan(6, 9), number=Plan(0, 1), recipient=Plan(2, 8), keep_plus=True
    )
    pdu = (await addressed(tmp_path / "own", files, sender, profile)).submit
    assert ((pdu.source_addr_ton, pdu.source_addr_npi), pdu.source_addr) == (own, own_octets)
    assert (pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr) == (2, 8, b"+4915112345678")


async def test_row_26_an_at_sign_in_a_sender(tmp_path: Path, files: Files) -> None:
    """Row 26: "@" is 0x40 as ASCII and Latin-1 have it; in GSM it would end the address: rejected."""
    assert (await addressed(tmp_path / "usual", files, "a@b", AddressProfile())).submit.source_addr == b"a@b"
    gsm7 = AddressProfile(sender_alphabet=SenderAlphabet.GSM7)
    assert (await addressed(tmp_path / "gsm7", files, "a_ä", gsm7)).submit.source_addr == b"a\x11\x7b"
    async with way(tmp_path / "at", files, addresses=gsm7) as all_:
        row = await all_.reach(await all_.send(sender="a@b"), State.REJECTED)
        assert "ends an address" in row.reason_text
        assert all_.simulator.stats()["submits"] == 0


async def test_row_26_what_else_carriers_want(tmp_path: Path, files: Files) -> None:
    """Row 26: receipts, priority, protocol id and the form of the validity are the carrier's settings too."""
    rules = SubmitRules(
        protocol_id=65, registered_delivery=17, priorities=(3, 2, 1), validity_period=ValidityForm.ABSOLUTE
    )
    async with way(tmp_path, files, submit=rules) as all_:
        await all_.reach(await all_.send(), State.DELIVERED)
        pdu = all_.simulator.received[0].submit
        assert (pdu.protocol_id, pdu.registered_delivery, pdu.priority_flag) == (65, 17, 2)
        assert pdu.validity_period.endswith(b"000+")
