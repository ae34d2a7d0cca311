"""The form that a text gets, its count, and its parts: they agree, and a handset reads the text again."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier.errors import TextError
from carrier.inbound import InboundBinary, assemble, parse_inbound
from carrier.smpp.pdu import DeliverSm
from carrier.smpp.tlv import decode_tlvs
from carrier.text import gsm7
from carrier.text.coding import Encoding
from carrier.text.cutting import Room
from carrier.text.forms import Coded
from carrier.text.national import Language
from carrier.text.profile import DefaultAlphabet, Segmentation, TextProfile
from carrier.text.segment import Segmented
from carrier.text.writing import PLAIN, TextWriter, Widest, counting

GSM7, PACKED, LATIN1, ASCII = DefaultAlphabet
UDH8, UDH16, SAR, PAYLOAD = Segmentation
TURKISH = TextProfile(national_tables=(Language.TURKISH,))
UDHI = 0x40


def pdus(segmented: Segmented) -> list[DeliverSm]:
    """Return what a carrier that hands on what it got would deliver."""
    tlvs = segmented.tlvs or (b"",) * len(segmented.parts)
    return [
        DeliverSm(
            source_addr=b"4915112345678",
            destination_addr=b"80800",
            esm_class=segmented.esm_class,
            data_coding=segmented.data_coding,
            short_message=part,
            tlvs=decode_tlvs(extra, 0),
        )
        for part, extra in zip(segmented.parts, tlvs, strict=True)
    ]


def received(segmented: Segmented, alphabet: DefaultAlphabet = GSM7) -> str | InboundBinary:
    """Return the message as the other side puts it together, its parts in reverse order."""
    return assemble([parse_inbound(pdu, alphabet) for pdu in reversed(pdus(segmented))])


PROFILES = st.builds(
    TextProfile,
    default_alphabet=st.sampled_from(DefaultAlphabet),
    latin1=st.booleans(),
    transliterate=st.booleans(),
    segmentation=st.sampled_from(Segmentation),
) | st.builds(
    TextProfile,
    default_alphabet=st.sampled_from([GSM7, PACKED]),
    latin1=st.booleans(),
    national_tables=st.lists(st.sampled_from(Language), unique=True, max_size=3).map(tuple),
    transliterate=st.booleans(),
    segmentation=st.sampled_from([UDH8, UDH16]),
)
_PIECES = st.sampled_from(
    [
        "a",
        "Hello ",
        "é",
        "€",
        "[",
        "ş",
        "ğ",
        "ê",
        "ó",
        "“",
        "…",
        "Ω",
        "ß",
        "नि",
        "क्ष",
        "१",
        "😀",
        "👩🏽\u200d🚒",
        "\r\n",
        "ç",
    ]
)
TEXTS = st.lists(st.tuples(_PIECES, st.integers(1, 90)), min_size=1, max_size=7).map(
    lambda runs: "".join(piece * times for piece, times in runs)
) | st.text(st.characters(codec="utf-8", exclude_characters="\x00\ufeff"), min_size=1, max_size=200)


@settings(max_examples=400, deadline=None)
@given(TEXTS, PROFILES, st.integers(0, 0xFFFF))
def test_estimated_counted_and_sent_agree(text: str, profile: TextProfile, reference: int) -> None:
    """Estimate, count and parts agree by every profile; the parts fit 140 octets and make the text again."""
    writer = TextWriter(profile)
    estimate = writer.estimate(text)
    segmented = writer.segment(text, reference)
    assert writer.count(text) == (estimate.encoding, estimate.segments)
    in_one = profile.segmentation is PAYLOAD or estimate.segments == 1
    assert len(segmented.parts) == (1 if in_one else estimate.segments)
    assert estimate.units <= estimate.capacity
    assert not (segmented.tlvs and segmented.esm_class & UDHI)
    sent = text if estimate.sent_text is None else estimate.sent_text
    if estimate.sent_text is not None:
        assert profile.transliterate
    whole = received(segmented, profile.default_alphabet)
    if estimate.encoding is Encoding.UCS2 or profile.default_alphabet is not PACKED:
        assert whole == sent
    else:  # the last septet of packed ones may be a filling, and is taken for one
        assert isinstance(whole, str)
        assert whole.replace("@", "").replace("\r", "") == sent.replace("@", "").replace("\r", "")


@settings(max_examples=200, deadline=None)
@given(TEXTS, PROFILES)
def test_the_fewest_segments_are_taken(text: str, profile: TextProfile) -> None:
    """No further form that a profile allows would have taken fewer: without them it is as many, or more."""
    segments = TextWriter(profile).count(text)[1]
    for without in ({"latin1": False}, {"transliterate": False}, {"national_tables": ()}):
        assert segments <= TextWriter(dataclasses.replace(profile, **without)).count(text)[1]


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=900), PROFILES)
def test_octets_agree(data: bytes, profile: TextProfile) -> None:
    """Octets are estimated as they are sent, and come back."""
    writer = TextWriter(profile)
    segmented = writer.segment_binary(data, 4, b"", 0x1234)
    estimate = writer.estimate_binary(data)
    assert estimate.segments == writer.count_binary(len(data))
    assert len(segmented.parts) == (1 if profile.segmentation is PAYLOAD else estimate.segments)
    assert received(segmented, profile.default_alphabet) == InboundBinary(data, 4, b"")


@pytest.mark.parametrize(
    ("how", "gsm", "utf16", "octets"),
    [(UDH8, 153, 67, 134), (UDH16, 152, 66, 133), (SAR, 153, 67, 134), (PAYLOAD, 153, 67, 134)],
)
def test_room_of_a_part(how: Segmentation, gsm: int, utf16: int, octets: int) -> None:
    """Two parts' worth of units is two segments by each way to cut, and one unit more is three."""
    writer = TextWriter(TextProfile(segmentation=how, latin1=True))
    assert [writer.count("a" * gsm * 2), writer.count("a" * (gsm * 2 + 1))] == [(1, 2), (1, 3)]
    assert [writer.count("ह" * utf16 * 2), writer.count("ह" * (utf16 * 2 + 1))] == [(2, 2), (2, 3)]
    assert [writer.count("ê" * octets * 2), writer.count("ê" * (octets * 2 + 1))] == [(4, 2), (4, 3)]
    assert [writer.count_binary(octets * 2), writer.count_binary(octets * 2 + 1)] == [2, 3]


def test_headers_with_a_16_bit_reference() -> None:
    """Element 0x08 with two octets of reference; 152 septets behind its seven octets."""
    segmented = TextWriter(TextProfile(segmentation=UDH16)).segment("a" * 161, 0xABCD)
    assert segmented.esm_class == UDHI
    assert segmented.parts == (
        bytes.fromhex("060804abcd0201") + b"a" * 152,
        bytes.fromhex("060804abcd0202") + b"a" * 9,
    )


def test_sar_has_tlvs_and_no_header() -> None:
    """The three TLVs of SMPP, a reference of one octet, and no UDHI beside them."""
    segmented = TextWriter(TextProfile(segmentation=SAR)).segment("a" * 161, 0xABCD)
    assert segmented.esm_class == 0
    assert segmented.parts == (b"a" * 153, b"a" * 8)
    assert segmented.tlvs == (
        bytes.fromhex("020c000200cd020e000102020f000101"),
        bytes.fromhex("020c000200cd020e000102020f000102"),
    )


def test_message_payload_is_one_pdu_for_several_segments_only() -> None:
    """A short text stays in short_message; a long one goes whole into the TLV."""
    writer = TextWriter(TextProfile(segmentation=PAYLOAD))
    assert writer.segment("a" * 160, 1) == Segmented(0, 0, (b"a" * 160,))
    assert writer.segment("a" * 161, 1) == Segmented(0, 0, (b"",), (bytes.fromhex("042400a1") + b"a" * 161,))


@pytest.mark.parametrize("how", Segmentation)
def test_too_many_parts_are_refused(how: Segmentation) -> None:
    """256 segments are refused by each way to cut, never shortened."""
    writer = TextWriter(TextProfile(segmentation=how))
    with pytest.raises(TextError, match="takes 256 segments"):
        writer.segment("ह" * (writer.estimate("ह" * 71).capacity // 2 * 255 + 1), 1)


@pytest.mark.parametrize(("how", "header"), [(UDH8, 6), (UDH16, 7), (SAR, 0)])
@pytest.mark.parametrize(("piece", "times"), [("€", 100), ("😀", 60), ("क्षि", 25), ("👩🏽\u200d🚒", 15)])
def test_nothing_is_split(how: Segmentation, header: int, piece: str, times: int) -> None:
    """Escape pairs, surrogate pairs and grapheme clusters stay whole by each way to cut that we do."""
    segmented = TextWriter(TextProfile(segmentation=how)).segment("xxx" + piece * times, 9)
    assert len(segmented.parts) > 1
    for part in segmented.parts:
        text = part[header:].decode("utf-16-be") if segmented.data_coding else gsm7.decode(part[header:])
        assert text.replace(piece, "").strip("x") == ""


_CLUSTERS = ["a", "€", "ş", "नि", "क्षि", "😀", "👩🏽\u200d🚒", "🇩🇪", "e\u0301", "\r\n"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_CLUSTERS), st.integers(1, 90)), min_size=2, max_size=8), PROFILES)
def test_no_cluster_is_split_wherever_it_stands(runs: list[tuple[str, int]], profile: TextProfile) -> None:
    """Every part begins where a cluster does, by each form and each way to cut that we do; the estimate says how
    many."""
    clusters = [piece for piece, times in runs for _ in range(times)]
    writer = TextWriter(profile)
    coded = writer.choose("".join(clusters))
    parts = coded.cut()
    assert len(parts) == coded.segments == writer.estimate("".join(clusters)).segments
    if coded.text == "".join(clusters):
        starts = set(itertools.accumulate(len(_units_of(coded, piece)) for piece in clusters))
        assert set(itertools.accumulate(map(len, parts))) <= starts


def _units_of(coded: Coded, piece: str) -> bytes:
    found = coded.form.code(piece)
    assert found is not None
    return found.units


def test_national_table_is_named_in_every_part() -> None:
    """Element 0x24 and the language, behind the concatenation; 155 septets in one, 149 in each of many."""
    writer = TextWriter(TURKISH)
    assert writer.segment("aş", 1) == Segmented(0, UDHI, (bytes.fromhex("03240101") + b"a\x1bs",))
    assert writer.estimate("a" * 153 + "ş").capacity == 155
    segmented = writer.segment("ş" + "a" * 154, 5)
    assert segmented.parts == (
        bytes.fromhex("080003050201240101") + b"\x1bs" + b"a" * 147,
        bytes.fromhex("080003050202240101") + b"a" * 7,
    )
    assert writer.segment("plain", 1) == Segmented(0, 0, (b"plain",))


def test_national_tables_are_off_by_default() -> None:
    """Without the setting the same text is UCS-2."""
    assert PLAIN.count("aş") == (Encoding.UCS2, 1)


@pytest.mark.parametrize(
    "profile",
    [
        TextProfile(national_tables=(Language.HINDI,), segmentation=SAR),
        TextProfile(national_tables=(Language.HINDI,), segmentation=PAYLOAD),
        TextProfile(national_tables=(Language.HINDI,), default_alphabet=LATIN1),
    ],
)
def test_national_tables_want_a_header(profile: TextProfile) -> None:
    """Where no header can name the table, or there are no septets, the settings are refused."""
    with pytest.raises(TextError, match="national tables"):
        TextWriter(profile)


def test_what_the_default_alphabet_can_write() -> None:
    """Characters of GSM that Latin-1 or ASCII lack go as UCS-2; segments count septets in any case."""
    latin1, ascii_ = TextWriter(TextProfile(default_alphabet=LATIN1)), TextWriter(TextProfile(default_alphabet=ASCII))
    assert latin1.segment("é[", 1) == Segmented(0, 0, (b"\xe9[",))
    assert ascii_.segment("e[", 1) == Segmented(0, 0, (b"e[",))
    assert latin1.count("[" * 81) == (Encoding.GSM7, 2)
    assert [latin1.count("Ω"), latin1.count("€"), ascii_.count("é")] == [(Encoding.UCS2, 1)] * 3


def test_packed_septets_begin_at_a_boundary() -> None:
    """One fill bit behind six octets of header; seven bits left over are filled by a carriage return."""
    writer = TextWriter(TextProfile(default_alphabet=PACKED))
    assert writer.segment("hellohello", 1).parts == (bytes.fromhex("e8329bfd4697d9ec37"),)
    assert writer.segment("a" * 7, 1).parts == (gsm7.pack(b"aaaaaaa\r"),)
    first, second = writer.segment("a" * 161, 1).parts
    assert (len(first), first[6:]) == (140, gsm7.pack(b"a" * 153, 1))
    assert second[6:] == gsm7.pack(b"a" * 8 + b"\r", 1)


def test_the_order_of_equals() -> None:
    """Default alphabet, national table, transliteration, Latin-1, UCS-2; and fewer segments before any of it."""
    every = TextProfile(national_tables=(Language.TURKISH,), transliterate=True, latin1=True)
    writer = TextWriter(every)
    assert writer.choose("plain").form.language == 0
    assert writer.choose("ş").form.language == 1
    assert writer.estimate("ê").sent_text == "e"
    assert TextWriter(TextProfile(latin1=True)).count("ê") == (Encoding.LATIN1, 1)
    assert writer.count("þ½") == (Encoding.LATIN1, 1)
    assert writer.count("ह") == (Encoding.UCS2, 1)
    brackets = TextWriter(TextProfile(latin1=True))
    assert (brackets.count("[" * 80), brackets.count("[" * 81)) == ((Encoding.GSM7, 1), (Encoding.LATIN1, 1))


def test_several_profiles_count_the_most() -> None:
    """A message that may go by several carriers takes what it takes by the one that needs the most."""
    narrow = TextProfile(segmentation=UDH16)
    both = counting([TextProfile(), narrow, TextProfile()])
    assert isinstance(both, Widest)
    text = "a" * 306
    assert (PLAIN.count(text), both.count(text)) == ((1, 2), (1, 3))
    assert both.estimate(text).segments == 3
    assert both.estimate_binary(b"x" * 268).segments == both.count_binary(268) == 3
    assert isinstance(counting([narrow, narrow]), TextWriter)
    assert counting([]) is PLAIN


def test_rooms_of_forms() -> None:
    """Room beside a header that names a table (TS 23.040 §9.2.3.24)."""
    for how, room in ((UDH8, Room(155, 149)), (UDH16, Room(155, 148))):
        profile = TextProfile(national_tables=(Language.TURKISH,), segmentation=how)
        assert TextWriter(profile).choose("ş").form.room == room


def test_a_line_s_end_is_not_split() -> None:
    """A carriage return and its line feed stay together in GSM 7 bit and Latin-1 too, and both count so."""
    parts = PLAIN.segment("a" * 152 + "\r\n" + "b" * 20, 1).parts
    assert [part[6:] for part in parts] == [b"a" * 152, b"\r\n" + b"b" * 20]
    full = "a" * 152 + "\r\n" + "b" * 152
    assert [len(part[6:]) for part in PLAIN.segment(full, 1).parts] == [152, 153, 1]
    assert PLAIN.estimate(full).segments == 3
    writer = TextWriter(TextProfile(latin1=True))
    full = "ê" * 133 + "\r\n" + "ê" * 133
    assert [len(part[6:]) for part in writer.segment(full, 1).parts] == [133, 134, 1]
    assert writer.estimate(full).segments == 3
