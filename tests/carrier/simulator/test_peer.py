"""One connection: binding, manners, and octets that are no SMPP."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier.simulator.peer import BIND_WITHIN_S
from carrier.smpp.frames import FrameSplitter
from carrier.smpp.pdu import (
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    CancelSm,
    DataSm,
    EnquireLink,
    GenericNack,
    Pdu,
    QuerySm,
    Unbind,
    decode,
    encode,
)
from tests.carrier.simulator.esme import Esme, smsc, submit


def test_a_bind_in_raw_octets() -> None:
    """SMPP 3.4 §4.1.5 and §4.1.6, octet by octet."""
    esme = Esme(smsc("system_id: smsgw\npassword: pw"), kind=None)
    esme.raw(
        bytes.fromhex("0000001e00000009000000000000000773 6d736777 00 707700 00 34 00 00 00".replace(" ", "")), now=0.0
    )
    assert esme.peer.take_output().hex() == (
        "00000025800000090000000000000007" + b"smsgw-simulator\0".hex() + "0210000134"
    )


@pytest.mark.parametrize(
    ("system_id", "password", "status"),
    [(b"smsgw", b"pw", 0), (b"other", b"pw", 0x0F), (b"smsgw", b"wrong", 0x0E), (b"", b"", 0x0F)],
)
def test_credentials(system_id: bytes, password: bytes, status: int) -> None:
    """Wrong ones are refused by their own status, and the connection ends."""
    esme = Esme(smsc("system_id: smsgw\npassword: pw"), kind=None)
    esme.send(BindTransceiver(system_id=system_id, password=password), now=0.0)
    assert esme.take() == [(status, "BindTransceiverResp")]
    assert esme.peer.closing == bool(status)


def test_a_second_bind_is_refused() -> None:
    """ESME_RALYBND, and the first stays."""
    esme = Esme(smsc())
    esme.send(BindTransceiver(system_id=b"a", password=b"b"), submit(registered_delivery=0), now=0.0)
    assert esme.take() == [(5, "BindTransceiverResp"), (0, "SubmitSmResp")]


def test_nothing_before_the_bind() -> None:
    """ESME_RINVBNDSTS; an enquire_link is answered all the same."""
    esme = Esme(smsc(), kind=None)
    esme.send(submit(), EnquireLink(), now=0.0)
    assert esme.take() == [(4, "SubmitSmResp"), (0, "EnquireLinkResp")]


def test_who_does_not_bind_is_cut_off() -> None:
    """Silent connections do not stay."""
    box = smsc()
    esme = Esme(box, kind=None)
    assert box.next_deadline() == BIND_WITHIN_S
    esme.tick(BIND_WITHIN_S - 1)
    assert not esme.peer.closing
    esme.tick(BIND_WITHIN_S)
    assert esme.peer.closing


def test_unbind_ends_the_connection() -> None:
    """Answered, then closed; what comes after it is not read."""
    esme = Esme(smsc())
    esme.send(Unbind(), submit(), now=0.0)
    assert esme.take() == [(0, "UnbindResp")]
    assert esme.peer.closing


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (QuerySm(message_id=b"1"), (0x67, "QuerySmResp")),
        (CancelSm(message_id=b"1"), (0x11, "CancelSmResp")),
        (DataSm(destination_addr=b"1"), (3, "GenericNack")),
    ],
)
def test_what_it_cannot_do_it_says(pdu: Pdu, answer: tuple[int, str]) -> None:
    """query_sm and cancel_sm fail; other requests are nacked."""
    esme = Esme(smsc())
    esme.send(pdu, now=0.0)
    assert esme.take() == [answer]


@pytest.mark.parametrize(
    ("octets", "answer", "closes"),
    [
        ("00000010 00000666 00000000 00000009", (3, "GenericNack"), False),  # an unknown command
        ("00000010 00000004 00000000 00000009", (2, "GenericNack"), False),  # a submit_sm without a body
        ("0000000f 00000015 00000000 00000009", (2, "GenericNack"), True),  # shorter than a header
        ("7fffffff 00000004", (2, "GenericNack"), True),  # endless
        ("00000010 00000015 00000000 ffffffff", (3, "GenericNack"), False),  # a sequence number out of range
    ],
)
def test_octets_that_are_wrong(octets: str, answer: tuple[int, str], closes: bool) -> None:
    """Nacked; the connection ends only where nothing after can be trusted."""
    esme = Esme(smsc())
    esme.raw(bytes.fromhex(octets.replace(" ", "")), now=0.0)
    assert esme.take() == [answer]
    assert esme.peer.closing == closes


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.tuples(
                st.sampled_from([1, 2, 4, 5, 6, 9, 0x15, 0x80000005, 0x80000000, 0x103]), st.binary(max_size=80)
            ).map(
                lambda pair: (
                    (16 + len(pair[1])).to_bytes(4, "big") + pair[0].to_bytes(4, "big") + bytes(7) + b"\1" + pair[1]
                )
            ),
            st.just(encode(submit(), 1)),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_no_octets_make_it_fail(chunks: list[bytes], bound: bool) -> None:
    """Whatever comes in, what goes out is SMPP."""
    box = smsc("responses: {delay_s: 1}")
    esme = Esme(box, kind=BindTransceiver if bound else None)
    for chunk in chunks:
        esme.raw(chunk, now=0.0)
    esme.tick(50.0)
    octets = esme.peer.take_output()
    frames = FrameSplitter().feed(octets)
    assert b"".join(frames) == octets
    for frame in frames:
        decode(frame)


def test_only_some_kinds_of_binds() -> None:
    """A pair of transmitter and receiver, and no transceiver: nacked as unknown, and the connection ends."""
    box = smsc("binds: {kinds: [transmitter, receiver]}")
    esme = Esme(box, kind=None)
    esme.send(BindTransceiver(b"a", b"b"), now=0.0)
    assert esme.take() == [(3, "GenericNack")]
    assert esme.peer.closing
    Esme(box, kind=BindTransmitter)
    Esme(box, kind=BindReceiver)


def test_a_cap_on_binds() -> None:
    """The third bind of one account is refused and cut; another account has its own; a place comes free again."""
    box = smsc("binds: {most: 2}")
    first, _ = Esme(box), Esme(box)
    third = Esme(box, kind=None)
    third.send(BindTransceiver(b"smsgw", b"b"), now=0.0)
    assert third.take() == [(5, "BindTransceiverResp")]
    assert third.peer.closing
    other = Esme(box, kind=None)
    other.send(BindTransceiver(b"other", b"b"), now=0.0)
    assert other.take() == [(0, "BindTransceiverResp")]
    box.disconnect(first.peer)
    Esme(box)


def test_passwords_that_are_too_long_for_it() -> None:
    """SMPP 3.4 allows eight characters; some carriers insist."""
    esme = Esme(smsc("binds: {longest_password: 8}"), kind=None)
    esme.send(BindTransceiver(b"smsgw", b"123456789"), now=0.0)
    assert esme.take() == [(0x0E, "BindTransceiverResp")]


def test_it_asks_for_signs_of_life() -> None:
    """Every ten seconds, once it is bound."""
    box = smsc("enquire_link_s: 10")
    esme = Esme(box)
    assert box.next_deadline() == 10.0
    esme.tick(9.9)
    assert esme.take() == []
    esme.tick(10.0)
    esme.tick(20.0)
    assert esme.take() == [(0, "EnquireLink")] * 2


def test_octets_as_they_are() -> None:
    """What no codec writes, a while after the bind."""
    box = smsc('raw: [{at_s: 1, octets: "00 00 00 08 80 00 00 00"}]')
    esme = Esme(box)
    esme.tick(1.0)
    assert esme.peer.take_output() == b"\0\0\0\x08\x80\0\0\0"


def test_what_came_in_is_remembered() -> None:
    """Nacks among it; submit_sm are in the log of messages."""
    box = smsc("receipts: {send: false}")
    esme = Esme(box)
    esme.send(submit(), GenericNack(), EnquireLink(), now=3.0)
    assert [(seen.command, seen.at, seen.connection) for seen in box.seen] == [
        ("bind_transceiver", 0.0, "#1"),
        ("generic_nack", 3.0, "#1"),
        ("enquire_link", 3.0, "#1"),
    ]
    assert box.counts.nacks == 1
