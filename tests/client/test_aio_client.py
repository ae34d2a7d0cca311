"""The asyncio client against a real API: what each method does, and what is raised."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from carrier.inbound import InboundPart
from gateway.errors import Overloaded
from gateway.errors import Unavailable as NodeUnavailable
from gateway.states import State as NodeState
from smsgw.client import (
    AsyncClient,
    Binary,
    CallFailed,
    Conflict,
    Denied,
    Encoding,
    Invalid,
    Message,
    NotFound,
    Received,
    RetryPolicy,
    Sent,
    State,
    StateChanged,
    TimedOut,
    Unavailable,
    WorkloadIdentity,
    WrongState,
)
from tests.certs.workload.spire import Spire, serving
from tests.client.callers import SERVER_ID, TEXT, TO, Workload, otp, otps
from tests.client.rogues import rogue
from tests.gateway.api.rig import AUTHORITY, Rig


async def test_five_lines(rig: Rig, workload: Workload) -> None:
    """A message is sent and waited for until its state is final."""
    async with workload.async_client(rig.port) as sms:
        sent = await sms.send(to=TO, sender="ACME", category="OTP", text=TEXT)
        assert (sent.state, sent.segments, sent.replayed) == (State.ACCEPTED, 1, False)
        waiting = asyncio.create_task(sms.wait(sent.id))
        await rig.settle("payments", sent.id, NodeState.REJECTED)
        done = await waiting
    assert (done.state, done.delivered) == (State.REJECTED, False)
    assert done.id == sent.id


async def test_reading(rig: Rig, workload: Workload) -> None:
    """What was sent is read back by get and by list over pages, and an estimate counts segments."""
    async with workload.async_client(rig.port) as sms:
        sent = [await sms.send(otp(number, client_reference=f"r{number}", labels={"a": "b"})) for number in range(5)]
        got = await sms.get(sent[0].id)
        assert (got.client_reference, got.labels, got.encoding) == ("r0", {"a": "b"}, Encoding.GSM7)
        assert got.accepted_at is not None
        assert got.accepted_at.tzinfo is dt.UTC
        listed = [message.id async for message in sms.list(page_size=2, states=["ACCEPTED"])]
        assert listed == [message.id for message in reversed(sent)]
        estimate = await sms.estimate("न" * 71)
        assert (estimate.encoding, estimate.segments) == (Encoding.UCS2, 2)


async def test_many(rig: Rig, workload: Workload) -> None:
    """More messages than a batch holds are split, and each has its outcome in its place."""
    async with workload.async_client(rig.port) as sms:
        outcomes = await sms.send_many([*otps(1001), otp(category="OTP", to="12")])
    assert all(isinstance(outcome, Sent) for outcome in outcomes[:1001])
    assert isinstance(outcomes[1001], Invalid)
    assert rig.intake.calls == [1000, 1]


async def test_errors_have_types_and_reasons(rig: Rig, workload: Workload) -> None:
    """Each refusal is an error of its own type, with the fields or the reason."""
    async with workload.async_client(rig.port) as sms:
        with pytest.raises(Invalid) as invalid:
            await sms.send(otp(to="12", sender="much too long a sender"))
        assert {violation.field for violation in invalid.value.violations} == {"message.recipient", "message.sender"}
        with pytest.raises(NotFound):
            await sms.get("0190163d-8694-739b-aea5-966c26f8ad91")
        first = otp(1, idempotency_key="one")
        await sms.send(first)
        with pytest.raises(Conflict):
            await sms.send(otp(2, idempotency_key="one"))
        sent = await sms.send(otp(3))
        assert (await sms.cancel(sent.id)).state is State.CANCELLED
        late = await sms.send(otp(4))
        await rig.settle("payments", late.id, NodeState.REJECTED)
        with pytest.raises(WrongState):
            await sms.cancel(late.id)


async def test_a_stranger_is_denied(rig: Rig, workload: Workload) -> None:
    """An identity of no tenant is told so, and nothing is retried."""
    stranger = Workload(workload.folder / "other", path="/nobody")
    async with stranger.async_client(rig.port) as sms:
        with pytest.raises(Denied):
            await asyncio.wait_for(sms.send(otp()), 5)


async def test_a_retry_is_the_same_message(rig: Rig, workload: Workload) -> None:
    """A call that the node could not serve is repeated with the same key: one message."""
    rig.intake.failure = NodeUnavailable("the store is busy", reason="STORE_BUSY")
    async with workload.async_client(rig.port) as sms:
        sending = asyncio.create_task(sms.send(otp()))
        while len(rig.intake.calls) < 1:
            await asyncio.sleep(0.01)
        rig.intake.failure = None
        sent = await sending
        again = await sms.send(otp(idempotency_key=sent.idempotency_key))
        assert (again.id, again.replayed) == (sent.id, True)
        assert len([message async for message in sms.list()]) == 1


async def test_retry_info_is_honoured(rig: Rig, workload: Workload) -> None:
    """No attempt comes before the time that the node named."""
    rig.intake.failure = Overloaded("full", reason="FULL", retry_after_s=0.3)
    times: list[float] = []
    loop = asyncio.get_running_loop()
    async with workload.async_client(rig.port) as sms:
        sending = asyncio.create_task(sms.send(otp()))
        while len(rig.intake.calls) < 1:
            await asyncio.sleep(0.001)
        times.append(loop.time())
        rig.intake.failure = None
        await sending
        times.append(loop.time())
    assert times[1] - times[0] >= 0.28
    assert len(rig.intake.calls) == 2


async def test_what_failed_can_be_sent_again(rig: Rig, workload: Workload) -> None:
    """An error of send has the message that was made of its fields: sent again, it is the same one."""
    rig.intake.failure = NodeUnavailable("the store is busy", reason="STORE_BUSY")
    async with workload.async_client(rig.port, retry=RetryPolicy(attempts=1)) as sms:
        with pytest.raises(Unavailable) as failed:
            await sms.send(to=TO, sender="ACME", category="OTP", text=TEXT)
        assert failed.value.message is not None
        rig.intake.failure = None
        sent = [await sms.send(failed.value.message) for _ in range(2)]
    assert sent[0].id == sent[1].id


async def test_an_opening_that_is_cancelled(tmp_path: Path) -> None:
    """A client that is given up while it waits for its identity leaves nothing behind."""
    spire = Spire(silent=True)
    async with serving(spire, tmp_path / "api.sock") as socket:
        sms = AsyncClient("127.0.0.1:1", server_id=SERVER_ID, identity=WorkloadIdentity(socket, timeout_s=1))
        opening = asyncio.create_task(sms.__aenter__())
        async with asyncio.timeout(20):
            while not spire.calls:
                await asyncio.sleep(0.01)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            while any(thread.name == "workload-api" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)
    assert opening.cancelled()


async def test_a_client_that_is_closed_under_its_calls(tmp_path: Path, workload: Workload) -> None:
    """Who still calls is told so, and is not mistaken for a task that is to end; who is to end, ends."""
    async with rogue(tmp_path, AUTHORITY.svid("/gateway"), AUTHORITY.bundle_pem) as silent:
        async with workload.async_client(silent.port) as sms:

            async def follow() -> None:
                async for _ in sms.events():
                    pass

            async def stream() -> None:
                async for _ in sms.stream([otp()]):
                    pass

            calls = [asyncio.create_task(work) for work in (sms.send(otp()), follow(), stream())]
            ending = asyncio.create_task(sms.send(otp()))
            async with asyncio.timeout(20):
                while silent.octets.count(b"PRI * HTTP/2.0") == 0:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0)
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(RuntimeError, match="not open"):
            await sms.send(otp())
    assert ending.cancelled()
    assert [type(error) for error in ended] == [RuntimeError] * 3


async def test_what_a_handset_sends(rig: Rig, workload: Workload) -> None:
    """An inbound message is an event with its text, from the oldest on; neither text nor number shows in it."""
    text = InboundPart("+4915112345678", "12345", None, 1, 1, 0, b"hello", b"")
    octets = InboundPart("+4915112345678", "12345", None, 1, 1, 4, b"\x00\x01", b"")
    await rig.receive("payments", [text])
    await rig.receive("payments", [octets])
    async with workload.async_client(rig.port) as sms, sms.events(start="OLDEST") as events:
        first, second = await anext(events), await anext(events)
    assert isinstance(first, Received)
    assert isinstance(second, Received)
    assert (first.text, first.binary, first.recipient, first.segments) == ("hello", None, "12345", 1)
    assert (second.text, second.binary) == (None, Binary(data=b"\x00\x01", data_coding=4))
    for told in (repr(first), repr(second)):
        assert "hello" not in told
        assert "x01" not in told
        assert "4915112345678" not in told


async def test_waiting_ends(rig: Rig, workload: Workload) -> None:
    """A message that is not final in time raises, and the text says where it stands."""
    async with workload.async_client(rig.port) as sms:
        sent = await sms.send(otp())
        with pytest.raises(TimedOut, match="still ACCEPTED"):
            await sms.wait(sent.id, timeout_s=0.3)


async def test_nothing_is_shown() -> None:
    """No representation tells a number, a text, a label, a reference or a key."""
    message = otp(client_reference="secret-ref", labels={"who": "secret-label"}, idempotency_key="secret-key")
    assert TO not in repr(message)
    assert "4711" not in repr(message)
    assert "secret" not in repr(message)


def test_mistakes_are_told_at_once() -> None:
    """What no gateway would take is refused before anything is sent."""
    with pytest.raises(ValueError, match="one of text"):
        Message(to=TO, sender="ACME", category="OTP")
    with pytest.raises(ValueError, match="category is one of"):
        otp(category="SPAM")
    with pytest.raises(ValueError, match="server_id"):
        AsyncClient("h:1", server_id="gateway")
    with pytest.raises(ValueError, match="no address"):
        AsyncClient("::1", server_id="spiffe://example.org/gateway")


async def test_events(rig: Rig, workload: Workload) -> None:
    """Events are followed from before a message is sent; a stored cursor goes on where it was."""
    async with workload.async_client(rig.port) as sms:
        async with sms.events() as events:
            sent = await sms.send(otp())
            event = await anext(events)
            assert isinstance(event, StateChanged)
            assert (event.message_id, event.state) == (sent.id, State.ACCEPTED)
            cursor = events.cursor
        await rig.settle("payments", sent.id, NodeState.REJECTED)
        async with sms.events(cursor) as events:
            event = await anext(events)
            assert isinstance(event, StateChanged)
            assert event.state is State.REJECTED


async def test_stream(rig: Rig, workload: Workload) -> None:
    """A flow is answered message by message, a bad one among them."""

    async def flow() -> AsyncIterator[Message]:
        for number in range(950):
            yield otp(number) if number != 500 else otp(number, to="12")

    async with workload.async_client(rig.port) as sms:
        outcomes = [(message, outcome) async for message, outcome in sms.stream(flow())]
        listed = [message async for message in sms.list(page_size=1000)]
    assert len(outcomes) == 950
    assert sum(isinstance(outcome, CallFailed) for _, outcome in outcomes) == 1
    assert len(listed) == 949
    assert all(
        outcome.idempotency_key == message.idempotency_key for message, outcome in outcomes if isinstance(outcome, Sent)
    )


async def test_stream_tells_its_sources_error(rig: Rig, workload: Workload) -> None:
    """What the caller's iterator raises comes out, after the answers to what it gave before."""

    async def flow() -> AsyncIterator[Message]:
        yield otp()
        raise LookupError("source")

    async with workload.async_client(rig.port) as sms:
        results = sms.stream(flow())
        assert isinstance((await anext(results))[1], Sent)
        with pytest.raises(LookupError, match="source"):
            await anext(results)
