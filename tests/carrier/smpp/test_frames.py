"""Cutting a stream into frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.smpp.frames import MAX_PDU_BYTES, FrameSplitter

FRAMES = st.lists(st.binary(max_size=60).map(lambda body: (16 + len(body)).to_bytes(4, "big") + bytes(12) + body))


@given(FRAMES, st.data())
def test_any_cutting_gives_the_same_frames(frames: list[bytes], data: st.DataObject) -> None:
    """However the network cuts the stream, the frames come out whole and in order."""
    splitter, stream, found = FrameSplitter(), b"".join(frames), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == frames
    assert (splitter.unsound, splitter.held_bytes) == (None, 0)


def test_octet_by_octet() -> None:
    """A peer that sends single octets is served like any other."""
    frame = (20).to_bytes(4, "big") + bytes(16)
    splitter = FrameSplitter()
    assert [out for octet in frame * 2 for out in splitter.feed(bytes((octet,)))] == [frame, frame]


@pytest.mark.parametrize("length", [0, 15, MAX_PDU_BYTES + 1, 0xFFFFFFFF])
def test_a_bad_length_stops_before_anything_is_kept(length: int) -> None:
    """The four octets of the length are enough: sound frames before it come out, nothing after it is buffered."""
    sound = (16).to_bytes(4, "big") + bytes(12)
    splitter = FrameSplitter()
    assert splitter.feed(sound + length.to_bytes(4, "big") + bytes(100)) == [sound]
    assert f"command_length {length}" in str(splitter.unsound)
    assert (splitter.held_bytes, splitter.feed(sound)) == (0, [])


def test_the_largest_frame_passes() -> None:
    """The bound itself is allowed, and one octet less than it is the most that is held."""
    splitter = FrameSplitter(1024)
    frame = (1024).to_bytes(4, "big") + bytes(1020)
    assert splitter.feed(frame[:-1]) == []
    assert splitter.held_bytes == 1023
    assert splitter.feed(frame[-1:]) == [frame]


@given(st.lists(st.binary(max_size=300)))
def test_garbage_is_bounded(chunks: list[bytes]) -> None:
    """No input makes the splitter hold more than one frame, or raise."""
    splitter = FrameSplitter(256)
    for chunk in chunks:
        splitter.feed(chunk)
        assert splitter.held_bytes < 256


@pytest.mark.parametrize("bound", [15, MAX_PDU_BYTES + 1])
def test_the_bound_is_bounded(bound: int) -> None:
    """A bound below a header or above 64 KiB is a mistake of the caller."""
    with pytest.raises(ValueError, match="16 to 65536"):
        FrameSplitter(bound)
