"""What is counted when a message is accepted is what goes to the carrier: from the API's content to submit_sm."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings

from carrier.errors import TextError
from carrier.inbound import assemble, parse_inbound
from carrier.profile import CarrierProfile, Secret
from carrier.smpp.constants import CommandId
from carrier.smpp.pdu import HEADER, DeliverSm, SubmitSm, decode
from carrier.text.profile import DefaultAlphabet, Segmentation, TextProfile
from carrier.text.writing import counting
from carrier.tlvs import TlvRule
from gateway.api.estimating import estimate_content
from gateway.contents import Measured, measure
from gateway.pipeline.encoding import MessageEncoder
from gateway.records import encode_envelope
from gateway.states import State
from gateway.store.contract import Waiting
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from tests.carrier.text.test_writing import PROFILES, TEXTS

_ID = bytes(range(16))


class OpenBox:
    """Stores payloads as they are: what is sealed is another test's matter."""

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return `payload`."""
        return payload

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return `stored`."""
        return stored

    opens = True

    def at_hand(self, stored: Iterable[bytes]) -> bool:
        """All are."""
        return True

    async def ready(self, stored: Iterable[bytes]) -> None:
        """All are."""


def carrier(text: TextProfile, *tlvs: TlvRule) -> CarrierProfile:
    """Return the profile of a carrier that writes so."""
    return CarrierProfile(name="acme", host="h", port=1, system_id="s", password=Secret(b""), text=text, tlvs=tlvs)


def encoded(content: message_pb2.Content, profile: CarrierProfile, **labels: str) -> list[SubmitSm]:
    """Return the submit_sm that a message with this content becomes."""
    envelope = encode_envelope("+4915112345678", "", labels)
    message = Waiting(
        "demo", _ID, 2, "ACME", envelope, content.SerializeToString(), 1, 0, 10**15, 0, int(State.ACCEPTED), "", "", "",
        "spiffe://example.org/demo", "DE",
    )  # fmt: skip
    bodies = MessageEncoder(OpenBox(), {"acme": profile}).encode(message, 10**15 - 60_000_000, "acme")
    pdus = [decode(HEADER.pack(16 + len(body), CommandId.SUBMIT_SM, 0, 1) + body)[1] for body in bodies]
    return [pdu for pdu in pdus if isinstance(pdu, SubmitSm)]


def read_again(pdus: list[SubmitSm], alphabet: DefaultAlphabet) -> object:
    """Return what the other side makes of them."""
    delivered = [
        DeliverSm(esm_class=pdu.esm_class, data_coding=pdu.data_coding, short_message=pdu.short_message, tlvs=pdu.tlvs)
        for pdu in pdus
    ]
    return assemble([parse_inbound(pdu, alphabet) for pdu in delivered])


@settings(max_examples=150, deadline=None)
@given(TEXTS, PROFILES)
def test_estimate_and_count_are_what_is_sent(text: str, profile: TextProfile) -> None:
    """By any profile: EstimateMessage, the segments at acceptance and the PDUs agree, and the PDUs make the text."""
    content = message_pb2.Content(text=text)
    estimate = estimate_content(pb.EstimateMessageRequest(content=content), counting([profile]))
    measured = measure(content, 255, counting([profile]))
    assert isinstance(measured, Measured)
    assert (measured.segments, measured.encoding) == (estimate.segments, estimate.encoding)
    pdus = encoded(content, carrier(profile))
    in_one = profile.segmentation is Segmentation.MESSAGE_PAYLOAD
    assert len(pdus) == (1 if in_one else estimate.segments)
    if profile.default_alphabet is not DefaultAlphabet.GSM7_PACKED:  # its last septet can be taken for filling
        assert read_again(pdus, profile.default_alphabet) == (estimate.sent_text or text)


@settings(max_examples=50, deadline=None)
@given(TEXTS, PROFILES, PROFILES)
def test_several_carriers_never_take_more_than_counted(text: str, one: TextProfile, other: TextProfile) -> None:
    """A message that may go by either carrier occupies no more places at either than were counted."""
    content = message_pb2.Content(text=text)
    measured = measure(content, 255, counting([one, other]))
    assert isinstance(measured, Measured)
    for profile in (one, other):
        assert len(encoded(content, carrier(profile))) <= measured.segments


def test_labels_reach_the_carrier() -> None:
    """A label becomes the TLV that asks for it; without it the message cannot be encoded."""
    content = message_pb2.Content(text="hello")
    profile = carrier(TextProfile(), TlvRule(name="template", tag=0x1401, from_label="dlt_template_id"))
    (pdu,) = encoded(content, profile, dlt_template_id="1107")
    assert pdu.tlvs == ((0x1401, b"1107\0"),)
    with pytest.raises(TextError, match="dlt_template_id"):
        encoded(content, profile)
