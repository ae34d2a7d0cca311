"""A relaying node says when another node has counted a message otherwise than its own carriers need it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from carrier.profile import CarrierProfile
from carrier.text.profile import Segmentation, TextProfile
from carrier.text.writing import counting
from gateway.contents import Measured, measure
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.recounting import Recounter
from gateway.records import encode_envelope
from gateway.states import State
from gateway.store.contract import Waiting
from smsgw.v1 import message_pb2
from tests.gateway.pipeline.test_encoding import OpenBox, carrier
from visibility.alerts import AlertKind
from visibility.catalogue import SEGMENTS_DIFFER

NOW = 1_800_000_000_000_000
WIDE = TextProfile(segmentation=Segmentation.UDH16)
LONG = message_pb2.Content(text="x" * 306)  # 2 segments of 153, or 3 of 152


class Told:
    """Keeps the alerts that are raised."""

    def __init__(self) -> None:
        self.why: list[str] = []

    def raise_alert(self, kind: AlertKind, *values: str, why: str = "") -> None:
        """Keep it."""
        assert (kind, values) == (SEGMENTS_DIFFER, ())
        self.why.append(why)

    def resolve(self, kind: AlertKind, *values: str) -> None:
        """It ends by itself."""


class Rig:
    """An encoder that recounts, and what it has told."""

    def __init__(self, *profiles: CarrierProfile) -> None:
        self.now = NOW
        self.told = Told()
        recounter = Recounter(profiles, self.told, lambda: self.now)
        self.encoder = MessageEncoder(OpenBox(), {each.name: each for each in profiles}, recounter)

    def encode(self, content: message_pb2.Content, segments: int, accepted_at: int) -> int:
        """Encode a message that was counted so; returns how many alerts there were until now."""
        message_id = (accepted_at // 1000).to_bytes(6, "big") + bytes(10)
        message = Waiting(
            "demo", message_id, 2, "ACME", encode_envelope("+4915112345678", "", {}), content.SerializeToString(),
            segments, 0, 2 * NOW, 0, int(State.ACCEPTED), "", "", "", "spiffe://example.org/demo", "DE",
        )  # fmt: skip
        self.encoder.encode(message, self.now, "acme")
        return len(self.told.why)


@pytest.mark.parametrize(
    "content",
    [
        LONG,
        message_pb2.Content(text="hello"),
        message_pb2.Content(binary=message_pb2.BinaryContent(data=bytes(266))),
        message_pb2.Content(binary=message_pb2.BinaryContent(data=bytes(10), user_data_header=b"\x03\x24\x01\x00")),
    ],
)
def test_what_an_accepting_node_counts_by_the_same_profiles(content: message_pb2.Content) -> None:
    """It differs in nothing: no alert, whatever the content; one that was counted as one more is told."""
    rig = Rig(carrier(WIDE))
    measured = measure(content, 255, counting([WIDE]))
    assert isinstance(measured, Measured)
    segments = measured.segments
    assert rig.encode(content, segments, NOW) == 0
    assert rig.encode(content, segments + 1, NOW) == 1


def test_what_is_counted_by_other_profiles() -> None:
    """Fewer or more are told, with both numbers; the widest of all carriers counts, not the one that it goes by."""
    rig = Rig(carrier(TextProfile()), replace(carrier(WIDE), name="beta"))
    assert rig.encode(LONG, 3, NOW) == 0
    assert rig.encode(LONG, 2, NOW) == 1
    assert rig.encode(LONG, 4, NOW) == 2
    assert "as 2 segments when it was accepted, and here as 3" in rig.told.why[0]


def test_what_was_accepted_before_the_carriers_changed() -> None:
    """It was counted as they were then: a reload raises no alert for what waits."""
    rig = Rig(carrier(TextProfile()))
    rig.now += 60_000_000
    rig.encoder.use([carrier(WIDE)])
    assert rig.encode(LONG, 2, NOW) == 0
    assert rig.encode(LONG, 2, rig.now) == 1
