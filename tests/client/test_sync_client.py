"""The blocking client against a real API, from threads: the same promises as the asyncio one."""

from __future__ import annotations

import asyncio
import datetime as dt
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.errors import Unavailable as NodeUnavailable
from gateway.states import State as NodeState
from smsgw.client import (
    CallFailed,
    Client,
    Conflict,
    Invalid,
    Message,
    NotFound,
    Sent,
    ServerNotVerified,
    State,
    StateChanged,
    TimedOut,
    Unavailable,
)
from tests.certificates import utc_now
from tests.client.callers import TEXT, TO, Workload, otp, otps
from tests.client.rogues import rogue
from tests.gateway.api.rig import AUTHORITY, Rig

ROTATIONS = 15
CALLERS = 6


def until(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


async def test_five_lines(rig: Rig, workload: Workload) -> None:
    """A message is sent and waited for until its state is final; reading back tells the same."""

    def call(sms: Client) -> tuple[Sent, State]:
        sent = sms.send(to=TO, sender="ACME", category="OTP", text=TEXT)
        with pytest.raises(TimedOut, match="still ACCEPTED"):
            sms.wait(sent.id, timeout_s=0.2)
        return sent, sms.get(sent.id).state

    with workload.client(rig.port) as sms:
        sent, state = await asyncio.to_thread(call, sms)
        assert state is State.ACCEPTED
        await rig.settle("payments", sent.id, NodeState.REJECTED)
        done = await asyncio.to_thread(sms.wait, sent.id)
        assert done.state is State.REJECTED
        estimate = await asyncio.to_thread(sms.estimate, "hello")
        assert estimate.segments == 1


async def test_many_pages_and_errors(rig: Rig, workload: Workload) -> None:
    """Batches, pages, cancelling and typed errors."""

    def call(sms: Client) -> None:
        outcomes = sms.send_many([*otps(1001), otp(to="12")])
        assert sum(isinstance(outcome, Sent) for outcome in outcomes) == 1001
        assert isinstance(outcomes[-1], Invalid)
        assert len(list(sms.list(page_size=300))) == 1001
        with pytest.raises(Invalid, match="recipient"):
            sms.send(otp(to="12"))
        with pytest.raises(NotFound):
            sms.get("0190163d-8694-739b-aea5-966c26f8ad91")
        sms.send(otp(idempotency_key="one"))
        with pytest.raises(Conflict):
            sms.send(otp(2, idempotency_key="one"))
        first = outcomes[0]
        assert isinstance(first, Sent)
        assert sms.cancel(first.id).state is State.CANCELLED

    with workload.client(rig.port) as sms:
        await asyncio.to_thread(call, sms)


async def test_a_retry_is_the_same_message(rig: Rig, workload: Workload) -> None:
    """A call that the node could not serve is repeated under its key: one message."""
    rig.intake.failure = NodeUnavailable("the store is busy", reason="STORE_BUSY")
    with workload.client(rig.port) as sms:
        sending = asyncio.create_task(asyncio.to_thread(sms.send, otp()))
        while not rig.intake.calls:
            await asyncio.sleep(0.01)
        rig.intake.failure = None
        await sending
        assert len(await asyncio.to_thread(lambda: list(sms.list()))) == 1


async def test_no_byte_reaches_another_server(tmp_path: Path, workload: Workload) -> None:
    """Another identity of the right trust domain gets nothing of the call."""
    async with rogue(tmp_path, AUTHORITY.svid("/payments/other"), AUTHORITY.bundle_pem) as other:
        with workload.client(other.port) as sms, pytest.raises(ServerNotVerified, match="payments/other answers"):
            await asyncio.to_thread(sms.send, otp(), timeout_s=2)
        assert bytes(other.octets) == b""


async def test_many_rotations_under_load(rig: Rig, workload: Workload) -> None:
    """Threads go on through every rotation, with a stream and a watch: nothing fails, is lost, or comes twice."""
    with workload.client(rig.port) as sms:
        await asyncio.to_thread(_rotate_under_load, sms, workload)


def _rotate_under_load(sms: Client, workload: Workload) -> None:
    ended, following = threading.Event(), threading.Event()
    sent: queue.SimpleQueue[str] = queue.SimpleQueue()
    seen: list[str] = []
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # it is raised below
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def call() -> None:
        while not ended.is_set():
            sent.put(sms.send(otp()).id)

    def flow() -> Iterator[Message]:
        while not ended.wait(0.01):
            yield otp()

    def stream() -> None:
        for _, outcome in sms.stream(flow()):
            assert isinstance(outcome, Sent)
            sent.put(outcome.id)

    events = sms.events()

    def follow() -> None:
        with events:
            following.set()
            for event in events:
                assert isinstance(event, StateChanged)
                seen.append(event.message_id)

    watch = guarded(follow)
    assert following.wait(20)
    threads = [guarded(call) for _ in range(CALLERS)] + [guarded(stream)]
    for count in range(1, ROTATIONS + 1):
        workload.rotate()
        until(lambda count=count: sms.rotations >= count)  # type: ignore[misc]  # a default argument binds the number
    ended.set()
    for thread in threads:
        thread.join(30)
    stored = [message.id for message in sms.list(page_size=1000)]
    until(lambda: len(seen) >= len(stored))
    events.close()
    watch.join(30)
    assert errors == []
    assert len(set(stored)) == len(stored) == sent.qsize()
    assert sorted(seen) == sorted(stored)
    assert len(stored) > ROTATIONS


async def test_the_node_sees_the_new_identity(rig: Rig, workload: Workload) -> None:
    """When the old SVID has expired, calls and a watch go on with the new one."""
    workload.rotate(not_after=utc_now() + dt.timedelta(minutes=5))

    def call(sms: Client) -> None:
        with sms.events() as events:
            sms.send(otp(0))
            workload.rotate(not_after=utc_now() + dt.timedelta(hours=10))
            until(lambda: sms.rotations == 1)
            rig.identity_clock.ahead = dt.timedelta(minutes=10)
            sms.send(otp(1))
            assert len([next(events) for _ in range(2)]) == 2

    with workload.client(rig.port) as sms:
        await asyncio.to_thread(call, sms)


async def test_stream(rig: Rig, workload: Workload) -> None:
    """A flow is answered message by message, a bad one among them, and tells what its source raises."""

    def flow() -> Iterator[Message]:
        for number in range(450):
            yield otp(number) if number != 300 else otp(number, to="12")
        raise LookupError("source")

    def call(sms: Client) -> None:
        outcomes: list[Sent | CallFailed] = []
        results = sms.stream(flow())
        with pytest.raises(LookupError, match="source"):
            outcomes.extend(outcome for _, outcome in results)
        assert len(list(sms.list(page_size=1000))) == 449
        taken = sms.stream(otp(number) for number in range(10_000))
        next(taken)
        taken.close()  # type: ignore[attr-defined]  # a generator

    with workload.client(rig.port) as sms:
        await asyncio.to_thread(call, sms)


async def test_a_closed_client(rig: Rig, workload: Workload) -> None:
    """After its end a client says so, and its threads are gone."""
    before = {thread.name for thread in threading.enumerate() if thread.name.startswith("smsgw-client")}
    with workload.client(rig.port) as sms:
        await asyncio.to_thread(sms.send, otp())
    with pytest.raises(RuntimeError, match="not open"):
        sms.send(otp())
    after = {thread.name for thread in threading.enumerate() if thread.name.startswith("smsgw-client")}
    assert before == after == set()


def test_who_is_not_there(workload: Workload) -> None:
    """An address at which nobody listens is named."""
    with workload.client(1) as sms, pytest.raises(Unavailable, match="no node listens"):
        sms.send(otp(), timeout_s=0.3)
