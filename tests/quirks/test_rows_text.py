"""Rows of the checklist on identifiers and on what is written in which letters."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from carrier.ids import IdForm, IdForms
from carrier.inbound import InboundBinary, assemble
from carrier.reading import PduReader
from carrier.simulator.arrival import Received
from carrier.text.national import Language
from carrier.text.profile import PLAIN_TEXT, DefaultAlphabet, Segmentation, TextProfile
from gateway.errors import InvalidRequest
from gateway.states import State
from tests.quirks.linked import linked
from tests.quirks.way import CARRIER, Files, way

_HEX_THEN_DECIMAL = "{message_ids: hex, first_id: 3735928559, receipts: {ids: decimal}}"


async def test_row_1_hex_in_the_response_and_decimal_in_the_receipt(tmp_path: Path, files: Files) -> None:
    """Row 1: ids of two notations meet, and the id that the carrier wrote is kept for those who name it."""
    forms = IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL)
    async with way(tmp_path, files, _HEX_THEN_DECIMAL, ids=forms) as all_:
        row = await all_.reach(await all_.send(), State.DELIVERED)
        written = all_.simulator.received[0].message_id
        assert row.carrier_ids == written
        assert not written.isdigit()
        assert not all_.reader.carrier_ids.unread


async def test_row_1_as_is_unless_the_profile_says_more(tmp_path: Path, files: Files) -> None:
    """Row 1: without the setting the same carrier's receipt finds nothing, and is kept."""
    async with way(tmp_path, files, _HEX_THEN_DECIMAL) as all_:
        message = await all_.send()
        await all_.counted("receipt.kept")
        assert (await all_.row(message)).state == State.SUBMITTED


async def test_row_1_a_uuid_is_never_a_number(tmp_path: Path, files: Files) -> None:
    """Row 1: ids that are UUIDs stay as they are under any form, match, and are counted on both sides."""
    forms = IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL)
    async with way(tmp_path, files, "message_ids: uuid", ids=forms) as all_:
        row = await all_.reach(await all_.send(), State.DELIVERED)
        assert row.carrier_ids == all_.simulator.received[0].message_id
        assert all_.reader.carrier_ids.unread == {(CARRIER, "response"): 1, (CARRIER, "receipt"): 1}


async def test_row_1_octets_in_hexadecimal(tmp_path: Path, files: Files) -> None:
    """Row 1: an id whose octets the receipt writes in hexadecimal is the one that the response wrote."""
    script = "{message_ids: decimal_plain, receipts: {ids: hex_bytes}}"
    async with way(tmp_path, files, script, ids=IdForms(receipt=IdForm.HEX_BYTES)) as all_:
        await all_.reach(await all_.send(), State.DELIVERED)


async def test_row_1_zeros_and_spaces(tmp_path: Path, files: Files) -> None:
    """Row 1: as decimal numbers ids meet without their zeros and spaces; as they are, they do not."""
    script = "{message_ids: decimal_plain, first_id: 77, receipts: {ids: spaced, form: tlv}}"
    decimal = IdForms(response=IdForm.DECIMAL, receipt=IdForm.DECIMAL)
    async with way(tmp_path / "decimal", files, script, ids=decimal) as all_:
        await all_.reach(await all_.send(), State.DELIVERED)
    async with way(tmp_path / "as_is", files, script) as all_:
        message = await all_.send()
        await all_.counted("receipt.kept")
        assert (await all_.row(message)).state == State.SUBMITTED


async def test_row_2_case_counts_unless_the_profile_says_so(tmp_path: Path, files: Files) -> None:
    """Row 2: the index is (carrier, canonical id, destination); case is ignored only where the profile says so."""
    script = "{message_ids: text, receipts: {ids: upper}}"
    async with way(tmp_path / "a", files, script, ids=IdForms(ignore_case=True)) as all_:
        await all_.reach(await all_.send(), State.DELIVERED)
    async with way(tmp_path / "b", files, script) as all_:
        message = await all_.send()
        await all_.counted("receipt.kept")
        assert (await all_.row(message)).state == State.SUBMITTED


async def sent(
    folder: Path, files: Files, message: str, script: str = "", profile: TextProfile = PLAIN_TEXT
) -> list[Received]:
    """Send `message` by a profile to a simulator with `script`; what arrived, when it has been delivered."""
    async with way(folder, files, script, text=profile) as all_:
        await all_.reach(await all_.send(message), State.DELIVERED)
        return list(all_.simulator.received)


@pytest.mark.parametrize(
    ("alphabet", "simulated", "octets"),
    [
        (DefaultAlphabet.GSM7, "gsm", b"a\x05\x1b\x3c\x00"),
        (DefaultAlphabet.LATIN1, "latin1", b"a\xe9[@"),
        (DefaultAlphabet.GSM7_PACKED, "packed", bytes.fromhex("e1c2860700")),
    ],
)
async def test_row_27_the_default_alphabet(
    tmp_path: Path, files: Files, alphabet: DefaultAlphabet, simulated: str, octets: bytes
) -> None:
    """Row 27: data_coding 0 is written in the alphabet that the carrier means by it, a long text too."""
    text, profile = "aé[@", TextProfile(default_alphabet=alphabet)
    script = f"alphabet: {simulated}"
    (one,) = await sent(tmp_path / "short", files, text, script, profile)
    assert (one.text, one.submit.data_coding, one.submit.short_message) == (text, 0, octets)
    received = await sent(tmp_path / "long", files, text * 50 + "x", script, profile)
    assert len(received) == 2
    assert [part.whole for part in received][-1] == text * 50 + "x"


async def test_row_27_a_wrong_alphabet_shows_other_letters(tmp_path: Path, files: Files) -> None:
    """Row 27: a carrier that reads Latin-1 makes something else of GSM octets; the setting is what helps."""
    (one,) = await sent(tmp_path / "wrong", files, "é", "alphabet: latin1")
    assert one.text == "\x05"
    (one,) = await sent(
        tmp_path / "ascii", files, "é", "alphabet: ascii", profile=TextProfile(default_alphabet=DefaultAlphabet.ASCII)
    )
    assert (one.text, one.submit.data_coding) == ("é", 8)


async def test_row_27_latin1_and_transliteration(tmp_path: Path, files: Files) -> None:
    """Row 27: data_coding 3 where the carrier takes it; transliteration where the operator wants it; else UCS-2."""
    (one,) = await sent(tmp_path / "latin1", files, "ê", profile=TextProfile(latin1=True))
    assert (one.text, one.submit.data_coding, one.submit.short_message) == ("ê", 3, b"\xea")
    (one,) = await sent(tmp_path / "plain", files, "“ê”", profile=TextProfile(transliterate=True))
    assert (one.text, one.submit.data_coding) == ('"e"', 0)
    (one,) = await sent(tmp_path / "neither", files, "“ê”")
    assert (one.text, one.submit.data_coding) == ("“ê”", 8)


async def delivered(files: Files, script: str, text: TextProfile = PLAIN_TEXT) -> str | InboundBinary:
    """Let a simulator deliver the message of its `script`; what a link with this profile reads."""
    async with linked(files, script, text=text) as wire:
        await wire.until(lambda: bool(wire.driver.deliveries))
        total = PduReader.of(wire.profile).inbound(wire.driver.deliveries[0].pdu).total
        await wire.until(lambda: len(wire.driver.deliveries) >= total)
        reader = PduReader.of(wire.profile)
        return assemble([reader.inbound(delivery.pdu) for delivery in wire.driver.deliveries])


def inbound(**fields: object) -> str:
    """Return a script with one message from a handset."""
    return yaml.safe_dump({"inbound": [{"from": "+4915112345678", "to": "80800", **fields}]})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"text": "नमस्ते 😀", "encoding": "ucs2", "data_coding": 0}, "नमस्ते 😀"),
        ({"text": "Günaydın", "encoding": "ucs2", "data_coding": 0}, "Günaydın"),
        ({"text": "Grüße", "encoding": "latin1", "data_coding": 0}, "Grüße"),
        ({"text": "नमस्ते", "encoding": "ucs2", "data_coding": 0x18}, "नमस्ते"),
        ({"text": "hi €", "encoding": "gsm", "data_coding": 0xF1}, "hi €"),
        ({"text": "hi €", "encoding": "gsm", "data_coding": 0x11}, "hi €"),
        ({"octets": "00ff", "data_coding": 0xF5}, InboundBinary(b"\x00\xff", 0xF5, b"")),
        ({"octets": "00ff", "data_coding": 0x15}, InboundBinary(b"\x00\xff", 0x15, b"")),
    ],
)
async def test_row_28_the_whole_data_coding_counts(
    files: Files, fields: dict[str, object], text: str | InboundBinary
) -> None:
    """Row 28: UCS-2 under data_coding 0 is recognised, and above 15 the groups of TS 23.038 hold, not the low bits."""
    assert await delivered(files, inbound(**fields)) == text


async def test_row_28_inbound_default_alphabets(files: Files) -> None:
    """Row 28: what handsets send comes in the carrier's default alphabet too: Latin-1, and packed septets in parts."""
    latin1 = TextProfile(default_alphabet=DefaultAlphabet.LATIN1)
    assert await delivered(files, inbound(text="¡é[", encoding="latin1", data_coding=0), latin1) == "¡é["
    packed = TextProfile(default_alphabet=DefaultAlphabet.GSM7_PACKED)
    text = "packed [septets] " * 20 + "end"
    assert await delivered(files, inbound(text=text, encoding="packed"), packed) == text
    assert await delivered(files, inbound(text=text, encoding="packed")) != text


_PARTS = {
    Segmentation.UDH8: ((1, 2), False),
    Segmentation.UDH16: ((1, 2), False),
    Segmentation.SAR: ((1, 2), True),
    Segmentation.MESSAGE_PAYLOAD: ((1,), True),
}


@pytest.mark.parametrize("how", Segmentation)
@pytest.mark.parametrize("text", ["€" * 81, "😀" * 40, "क्षि" * 20], ids=["escape", "surrogate", "cluster"])
async def test_rows_29_and_30_segmentation(tmp_path: Path, files: Files, how: Segmentation, text: str) -> None:
    """Rows 29 and 30: each way to cut arrives whole, and no part begins or ends within a character."""
    script = "refuse_udhi_with_sar: true"
    received = await sent(tmp_path, files, text, script, TextProfile(segmentation=how))
    numbers, tlvs = _PARTS[how]
    assert tuple(sorted(part.part for part in received)) == numbers
    assert [part.whole for part in received if part.whole] == [text]
    for part in received:
        assert bool(part.submit.tlvs) == tlvs
        assert bool(part.submit.esm_class & 0x40) != tlvs
        assert not part.text.strip(text)
        assert part.text.replace({"€": "€", "😀": "😀", "क": "क्षि"}[text[0]], "") == ""


@pytest.mark.parametrize("how", [Segmentation.UDH8, Segmentation.UDH16, Segmentation.SAR])
async def test_row_29_a_letter_is_whole_though_it_costs_a_part(tmp_path: Path, files: Files, how: Segmentation) -> None:
    """Row 29: 132 units would fit two parts if the 17th letter were cut; they go as three, of whole letters each."""
    received = await sent(tmp_path, files, "क्षि" * 33, profile=TextProfile(segmentation=how))
    assert [part.text for part in sorted(received, key=lambda part: part.part)] == ["क्षि" * 16, "क्षि" * 16, "क्षि"]


async def test_row_30_the_reference_has_16_bits(tmp_path: Path, files: Files) -> None:
    """Row 30: with udh16 the reference is two octets of the message's id, with udh8 the last one."""
    for how, iei, octets in ((Segmentation.UDH16, 0x08, 2), (Segmentation.UDH8, 0x00, 1)):
        async with way(tmp_path / str(how), files, text=TextProfile(segmentation=how)) as all_:
            message = await all_.send("a" * 161)
            await all_.reach(message, State.DELIVERED)
            for part in all_.simulator.received:
                ((found, value),) = part.elements
                assert (found, value[:octets]) == (iei, message[-octets:])


async def test_row_30_too_long_is_refused(tmp_path: Path, files: Files) -> None:
    """Row 30: a text over the limit of parts is refused when it is handed in, and nothing of it is sent."""
    async with way(tmp_path, files, text=TextProfile(segmentation=Segmentation.UDH16)) as all_:
        with pytest.raises(InvalidRequest, match="takes 11 segments"):
            await all_.send("a" * 1521)
        await all_.reach(await all_.send("a" * 1520), State.DELIVERED)
        assert len(all_.simulator.received) == 10


async def test_row_31_single_shift_tables(tmp_path: Path, files: Files) -> None:
    """Row 31: off by default, and then the text is UCS-2; with the setting its header names the table."""
    (one,) = await sent(tmp_path / "off", files, "şeker")
    assert (one.submit.data_coding, one.elements) == (8, ())
    turkish = TextProfile(national_tables=(Language.TURKISH,))
    (one,) = await sent(tmp_path / "on", files, "şeker", profile=turkish)
    assert (one.submit.data_coding, one.elements, one.submit.short_message[4:]) == (0, ((0x24, b"\x01"),), b"\x1bseker")


@pytest.mark.parametrize(
    ("udh", "octets", "text"),
    [
        ("240101", "1b7365", "şe"),
        ("250103", "60", "~"),
        ("25010d", "000102", "اآب"),
        ("240106250106", "151b1c1b7f", "क०ॿ"),
    ],
)
async def test_row_31_tables_are_understood(files: Files, udh: str, octets: str, text: str) -> None:
    """Row 31: single and locking tables in a header are read; escape and undefined gives the main table's character."""
    assert await delivered(files, inbound(octets=octets, data_coding=0, udh=udh)) == text
    assert await delivered(files, inbound(octets=octets, data_coding=0)) != text
