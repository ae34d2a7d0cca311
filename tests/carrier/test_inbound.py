"""Messages from handsets: headers sound and broken, reassembly, and the form in which parts are kept."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.errors import TextError
from carrier.inbound import (
    InboundBinary,
    InboundPart,
    assemble,
    pack_part,
    parse_inbound,
    split_user_data,
    unpack_part,
)
from carrier.smpp.pdu import DataSm, DeliverSm, Tlv
from carrier.text.profile import DefaultAlphabet
from carrier.text.segment import Segmented
from carrier.text.writing import PLAIN


def deliver(message: bytes = b"hi", *tlvs: Tlv, esm_class: int = 0, data_coding: int = 0) -> DeliverSm:
    """Make a deliver_sm from a handset."""
    return DeliverSm(
        source_addr_ton=1,
        source_addr_npi=1,
        source_addr=b"4915112345678",
        dest_addr_ton=3,
        destination_addr=b"12345",
        esm_class=esm_class,
        data_coding=data_coding,
        short_message=message,
        tlvs=tlvs,
    )


def delivered(segmented: Segmented) -> list[InboundPart]:
    """Send segments of ours the other way."""
    return [
        parse_inbound(deliver(part, esm_class=segmented.esm_class, data_coding=segmented.data_coding))
        for part in segmented.parts
    ]


def test_a_single_part() -> None:
    """All fields of a plain message."""
    assert parse_inbound(deliver()) == InboundPart("+4915112345678", "12345", None, 1, 1, 0, b"hi", b"")


@pytest.mark.parametrize(
    ("udh", "expected"),
    [
        ("050003aa0302", (0xAA, 2, 3)),
        ("060804aabb0302", (0xAABB, 2, 3)),
        ("0b0504158115810003aa0302", (0xAA, 2, 3)),  # after a port
        ("0a0003aa03020003bb0403", (0xBB, 3, 4)),  # twice: the last counts
        ("050003aa0000", (None, 1, 1)),  # no parts at all
        ("050003aa0304", (None, 1, 1)),  # the fourth of three
        ("050003aa0300", (None, 1, 1)),
        ("050003aa0101", (None, 1, 1)),  # the only one
        ("06050415811581", (None, 1, 1)),
    ],
)
def test_concatenation_by_header(udh: str, expected: tuple[int | None, int, int]) -> None:
    """TS 23.040 §9.2.3.24.1 and §9.2.3.24.8; a senseless element is ignored."""
    header = bytes.fromhex(udh)
    part = parse_inbound(deliver(header + b"text", esm_class=0x40))
    assert (part.reference, part.part, part.total) == expected
    assert (part.octets, part.udh) == (b"text", header)


@pytest.mark.parametrize("message", ["", "00", "05", "050003aa03", "ff616263", "0400ff0102", "0100"])
def test_a_malformed_header_is_text(message: str) -> None:
    """Octets that are no header are not thrown away, and nothing is raised."""
    octets = bytes.fromhex(message)
    part = parse_inbound(deliver(octets, esm_class=0x40))
    assert (part.reference, part.total, part.octets, part.udh) == (None, 1, octets, b"")


def test_a_header_without_its_flag_is_text() -> None:
    """Only esm_class announces a header."""
    assert parse_inbound(deliver(b"\x05\x00\x03\xaa\x03\x02x")).total == 1


def test_concatenation_by_sar_tlvs() -> None:
    """SMPP's own way to say the same."""
    sar = (Tlv(0x020C, b"\x01\x02"), Tlv(0x020E, b"\x03"), Tlv(0x020F, b"\x02"))
    part = parse_inbound(deliver(b"x", *sar))
    assert (part.reference, part.part, part.total) == (0x102, 2, 3)
    assert parse_inbound(deliver(b"x", *sar[:2])).total == 1
    assert parse_inbound(deliver(b"x", sar[0], sar[1], Tlv(0x020F, b"\x09"))).total == 1


def test_message_payload_and_data_sm() -> None:
    """An empty short_message means message_payload; a data_sm has nothing else."""
    assert parse_inbound(deliver(b"", Tlv(0x0424, b"long"))).octets == b"long"
    data = DataSm(source_addr=b"+491511", destination_addr=b"12345", tlvs=(Tlv(0x0424, b"long"),))
    assert parse_inbound(data)[:2] == ("+491511", "12345")
    assert parse_inbound(data).octets == b"long"


def test_addresses_are_escaped() -> None:
    """A sender that is no number is shown without its control characters."""
    part = parse_inbound(deliver()._replace(source_addr_ton=5, source_addr=b"A\x1bB", destination_addr=b""))
    assert (part.sender, part.recipient) == ("A\\x1bB", "")


@given(st.text(st.sampled_from("aé€{ह😀क्षि"), max_size=500), st.randoms())
def test_texts_come_back_from_their_parts_in_any_order(text: str, random: Random) -> None:
    """What our own segmentation cuts, reassembly joins."""
    parts = delivered(PLAIN.segment(text, 9))
    random.shuffle(parts)
    assert assemble(parts) == text


def test_characters_cut_in_two_come_back() -> None:
    """Carriers that cut surrogates and escapes are joined before they are decoded."""
    emoji = "😀".encode("utf-16-be")
    halves = [InboundPart("a", "b", 1, n, 2, 8, half, b"") for n, half in ((2, emoji[2:]), (1, emoji[:2]))]
    assert assemble(halves) == "😀"
    escape = [InboundPart("a", "b", 1, n, 2, 0, half, b"") for n, half in ((1, b"\x1b"), (2, b"\x65"))]
    assert assemble(escape) == "€"


def test_parts_of_different_codings() -> None:
    """A carrier that recodes part by part is understood; octets among text make octets."""
    mixed = [InboundPart("a", "b", 1, 1, 2, 0, b"a", b""), InboundPart("a", "b", 1, 2, 2, 8, b"\x09\x39", b"")]
    assert assemble(mixed) == "aह"
    assert assemble([mixed[0], mixed[1]._replace(data_coding=4)]) == InboundBinary(b"a\x09\x39", 0, b"")


def test_octets_keep_what_is_left_of_their_header() -> None:
    """The concatenation is done with; the port still says whom it is for."""
    parts = [
        parse_inbound(deliver(bytes.fromhex(f"0b0003aa020{n}050415811581") + data, esm_class=0x40, data_coding=4))
        for n, data in ((1, b"ab"), (2, b"cd"))
    ]
    assert assemble(parts) == InboundBinary(b"abcd", 4, bytes.fromhex("06050415811581"))
    assert assemble(delivered(PLAIN.segment_binary(b"x" * 300, 4, b"", 9))) == InboundBinary(b"x" * 300, 4, b"")


def test_no_parts_are_no_message() -> None:
    """A caller's mistake is an error."""
    with pytest.raises(TextError, match="at least one part"):
        assemble([])


PARTS = st.builds(
    InboundPart,
    sender=st.text(st.characters(codec="ascii"), max_size=64),
    recipient=st.text(st.characters(codec="ascii"), max_size=64),
    reference=st.none() | st.integers(0, 0xFFFFFFFF),
    part=st.integers(1, 5),
    total=st.integers(5, 255),
    data_coding=st.integers(0, 255),
    octets=st.binary(max_size=300),
    udh=st.binary(max_size=140),
)


@given(PARTS)
def test_packing_round_trip(part: InboundPart) -> None:
    """A stored part comes back equal."""
    assert unpack_part(pack_part(part)) == part


@given(st.one_of(st.binary(max_size=60), st.tuples(PARTS, st.integers(0, 400)).map(lambda t: pack_part(t[0])[: t[1]])))
def test_unpacking_other_octets_raises_only_text_error(octets: bytes) -> None:
    """Octets cut off or invented are refused or read, never anything else."""
    try:
        part = unpack_part(octets)
    except TextError:
        return
    assert pack_part(part) == octets


@pytest.mark.parametrize("change", [{"total": 256}, {"part": -1}, {"data_coding": 256}, {"octets": bytes(70000)}])
def test_packing_out_of_bounds_is_refused(change: dict[str, int]) -> None:
    """A part that no PDU gives is not stored."""
    part = InboundPart("a", "b", None, 1, 1, 0, b"", b"")._replace(**change)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TextError, match="out of bounds"):
        pack_part(part)


@given(st.binary(max_size=160), st.integers(0, 255), st.integers(0, 255), st.sampled_from(DefaultAlphabet))
def test_no_octets_make_it_fail_by_any_alphabet(
    octets: bytes, esm_class: int, data_coding: int, alphabet: DefaultAlphabet
) -> None:
    """Whatever the carrier means by data_coding 0, any PDU gives a part that can be packed and assembled."""
    part = parse_inbound(deliver(octets, esm_class=esm_class, data_coding=data_coding), alphabet)
    assert unpack_part(pack_part(part)) == part
    assemble([part])


@pytest.mark.parametrize("alphabet", DefaultAlphabet)
def test_the_largest_payload(alphabet: DefaultAlphabet) -> None:
    """A message_payload of all octets there can be is read, unpacked too, and can be stored."""
    pdu = deliver(b"")._replace(tlvs=(Tlv(0x0424, b"\x55" * 0xFFFF),))
    part = parse_inbound(pdu, alphabet)
    assert len(part.octets) == 0xFFFF
    assert unpack_part(pack_part(part)) == part


@given(st.binary(max_size=160), st.integers(0, 255), st.integers(0, 255))
def test_no_octets_make_it_fail(octets: bytes, esm_class: int, data_coding: int) -> None:
    """Any PDU gives a part that can be packed and, alone, assembled; no octet is lost."""
    part = parse_inbound(deliver(octets, esm_class=esm_class, data_coding=data_coding))
    assert 1 <= part.part <= part.total <= 255
    assert part.udh + part.octets == octets
    assert unpack_part(pack_part(part)) == part
    assemble([part])


@given(st.binary(max_size=160))
def test_splitting_loses_nothing(octets: bytes) -> None:
    """Header and rest are the whole."""
    udh, rest = split_user_data(octets)
    assert udh + rest == octets
