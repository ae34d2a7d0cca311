"""Which messages have their answer, and which go out again."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types

from smsgw.client import CallFailed, Message, RetryPolicy, Sent, Unavailable
from smsgw.client.batching import Batch, Frames
from smsgw.client.convert import MAX_BATCH_BYTES, batches, outbound
from smsgw.client.errors import ServerFault
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api
from tests.client.callers import otp

ACCEPTED = api.SendResult(accepted=pb.AcceptedMessage(message_id="1", state=pb.MESSAGE_STATE_ACCEPTED))


def refused(code: grpc.StatusCode, retry_after_s: int | None = None) -> api.SendResult:
    """Return the result of a message that was not taken."""
    status = status_pb2.Status(code=code.value[0], message="x")
    if retry_after_s is not None:
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_after_s)))
        status.details.append(packed)
    return api.SendResult(error=status)


BAD = refused(grpc.StatusCode.INVALID_ARGUMENT)
FULL = refused(grpc.StatusCode.RESOURCE_EXHAUSTED, 2)
FULLER = refused(grpc.StatusCode.RESOURCE_EXHAUSTED, 3)


def keys(request: api.SendMessagesRequest | api.StreamMessagesRequest) -> list[str]:
    """Return the keys of a request."""
    return [message.idempotency_key for message in request.messages]


def test_only_what_may_help_goes_again() -> None:
    """Messages for which there was no room go again under their keys; the longest pause counts; the order stays."""
    messages = [otp(number, idempotency_key=f"k{number}") for number in range(4)]
    batch = Batch(messages)
    failed = batch.answered(api.SendMessagesResponse(results=[ACCEPTED, FULL, BAD, FULLER]))
    assert failed is not None
    assert failed.retry_after_s == 3
    assert keys(batch.request()) == ["k1", "k3"]
    assert batch.answered(api.SendMessagesResponse(results=[ACCEPTED, ACCEPTED])) is None
    assert [isinstance(outcome, Sent) for outcome in batch.outcomes()] == [True, True, False, True]


def test_a_call_that_fails_for_good() -> None:
    """What has no answer failed as the call did; what was refused before keeps its own refusal."""
    batch = Batch([otp(number) for number in range(2)])
    batch.answered(api.SendMessagesResponse(results=[ACCEPTED, FULL]))
    batch.failed(Unavailable(grpc.StatusCode.UNAVAILABLE, "", "gone"))
    first, second = batch.outcomes()
    assert isinstance(first, Sent)
    assert isinstance(second, CallFailed)
    assert second.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_too_few_answers_are_a_fault() -> None:
    """An answer that does not fit the request is believed for no message."""
    batch = Batch([otp(number) for number in range(2)])
    assert batch.answered(api.SendMessagesResponse(results=[ACCEPTED])) is None
    assert all(isinstance(outcome, ServerFault) for outcome in batch.outcomes())
    frames = filled([otp()])
    frames.next()
    with pytest.raises(ServerFault):
        frames.answered(api.StreamMessagesResponse(tag=1), 0)
    with pytest.raises(ServerFault):
        frames.answered(api.StreamMessagesResponse(tag=9, results=[ACCEPTED]), 0)


def test_batches_within_bounds() -> None:
    """No batch is larger than the gateway takes, by number or by size, and none loses a message."""
    small = [otp(number) for number in range(2500)]
    assert [len(batch) for batch in batches(small)] == [1000, 1000, 500]
    large = [otp(text="x" * 40_000) for _ in range(200)]
    found = list(batches(large))
    assert [message for batch in found for message in batch] == large
    assert all(sum(outbound(message).ByteSize() for message in batch) <= MAX_BATCH_BYTES for batch in found)
    assert list(batches([])) == []


def filled(messages: Iterable[Message], frame_size: int = 1, attempts: int = 3) -> Frames:
    """Return frames for these messages and no more."""
    frames = Frames(RetryPolicy(attempts=attempts, retry_after_max_s=10), frame_size)
    for message in messages:
        frames.take(message)
    frames.taken()
    return frames


def test_frames_are_bounded() -> None:
    """Two frames are taken in advance, eight are out at most, and large messages go in more than one."""
    frames = Frames(RetryPolicy(), 2)
    assert (frames.room, frames.ready, frames.done) == (True, False, False)
    for _ in range(4):
        frames.take(otp())
    assert frames.room is False
    assert [len(frames.next().messages), len(frames.next().messages)] == [2, 2]
    many = filled([otp() for _ in range(20)])
    for _ in range(8):
        assert many.ready
        many.next()
    assert (many.ready, many.out) == (False, 8)
    large = filled([otp(text="x" * 40_000) for _ in range(200)], frame_size=200)
    sizes = []
    while large.ready:
        sizes.append(len(large.next().messages))
    assert sum(sizes) == 200
    assert len(sizes) > 1


def test_lost_frames_go_out_first_and_in_order() -> None:
    """After a lost connection what had no answer goes out again before anything new, under new tags and old keys."""
    frames = filled(otp(idempotency_key=f"k{number}") for number in range(4))
    tags = [frames.next().tag for _ in range(3)]
    assert len(frames.answered(api.StreamMessagesResponse(tag=tags[0], results=[ACCEPTED]), 0)) == 1
    assert frames.out == 2
    frames.lost()
    assert (frames.out, frames.ready, frames.empty) == (0, True, False)
    again = [frames.next() for _ in range(3)]
    assert [keys(request) for request in again] == [["k1"], ["k2"], ["k3"]]
    assert all(request.tag > tags[-1] for request in again)
    for request in again:
        frames.answered(api.StreamMessagesResponse(tag=request.tag, results=[ACCEPTED]), 0)
    assert frames.done


def test_a_message_is_refused_so_many_times() -> None:
    """A message for which there is no room goes again after the pause that the node names, within the policy's; when
    that goes on, it is its outcome."""
    frames = filled([otp()])
    for now in (100.0, 200.0):
        assert frames.answered(api.StreamMessagesResponse(tag=frames.next().tag, results=[FULL]), now) == []
        assert (frames.pause_s(now), frames.pause_s(now + 3)) == (2.0, 0.0)
    ((_, outcome),) = frames.answered(api.StreamMessagesResponse(tag=frames.next().tag, results=[FULL]), 300.0)
    assert isinstance(outcome, CallFailed)
    assert frames.done
    patient = filled([otp()])
    hour = refused(grpc.StatusCode.RESOURCE_EXHAUSTED, 3600)
    patient.answered(api.StreamMessagesResponse(tag=patient.next().tag, results=[hour]), 0)
    assert patient.pause_s(0) == 10.0
