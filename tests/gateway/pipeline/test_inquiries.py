"""Carriers that are asked about messages that have left, on a real store and a link that does what the test says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carrier.contract import LinkState, Outcome
from carrier.operation_rules import OperationRules
from carrier.smpp.constants import CommandId, Status
from carrier.smpp.pdu import CancelSm, CancelSmResp, QuerySm, QuerySmResp
from gateway.audit.records import CancelAnswered, CancelAsked, Record
from gateway.errors import GatewayError, StoreUnavailable, Unavailable, WrongState
from gateway.states import Category, State
from tests.gateway.audit.agreement import records_of
from tests.gateway.pipeline.rig import CALLER, SECOND, Rig, receipt, running

SOON = OperationRules(query_after_s=60)
LONG = "long " * 60  # two parts
BY = CALLER.spiffe_id


async def submitted(rig: Rig, text: str = "hello") -> tuple[bytes, list[str]]:
    """Take a message to SUBMITTED; its id, and those of the carrier."""
    (accepted,) = await rig.send(text=text)
    await rig.until(lambda: len(rig.link.held) > 0)
    ids = rig.link.finish(len(rig.link.held))
    await rig.reach(accepted.id, State.SUBMITTED)
    return accepted.id, ids


async def cancelling(rig: Rig, message_id: bytes) -> asyncio.Task[None]:
    """Begin to cancel a message, until the link has been asked."""
    row = await rig.store.get_message("demo", message_id)
    assert row is not None
    before = len(rig.link.requests)
    task = asyncio.create_task(rig.pipeline.cancel(row, BY))
    await rig.until(lambda: task.done() or len(rig.link.requests) > before)
    return task


async def asked(rig: Rig, number: int = 1) -> None:
    """Look through what waits until so many questions are with the link."""
    async with asyncio.timeout(10):
        while len(rig.link.requests) < number:
            await rig.pipeline.inquiries.sweep()


async def on_record(rig: Rig) -> list[Record]:
    """Return what the audit says of cancels."""
    return [each for each in await records_of(rig.store) if isinstance(each, CancelAsked | CancelAnswered)]


async def test_a_message_that_has_left_is_cancelled(tmp_path: Path) -> None:
    """The carrier is asked by its own id and the sender it was told; the answer is on disk before the caller has it."""
    async with running(tmp_path) as rig:
        message_id, (carrier_id,) = await submitted(rig)
        task = await cancelling(rig, message_id)
        (request,) = rig.link.requests
        assert request.pdu == CancelSm(
            message_id=carrier_id.encode(), source_addr_ton=5, source_addr_npi=0, source_addr=b"ACME"
        )
        assert isinstance((await on_record(rig))[-1], CancelAsked)  # before the carrier has answered
        rig.link.finish_request(0, CancelSmResp())
        await task
        assert await rig.state(message_id) is State.CANCELLED
        at = rig.now
        assert await on_record(rig) == [
            CancelAsked(at, message_id, "demo", "acme", 1, BY),
            CancelAnswered(at, message_id, "demo", "acme", 1, 0, None),
        ]


async def test_a_long_message_is_cancelled_part_by_part(tmp_path: Path) -> None:
    """Each part is asked about; when the carrier cancels one of two, the message says so."""
    async with running(tmp_path) as rig:
        message_id, _ = await submitted(rig, LONG)
        task = await cancelling(rig, message_id)
        assert len(rig.link.requests) == 2
        rig.link.finish_request(Status.ESME_RCANCELFAIL, CancelSmResp())
        await asyncio.sleep(0)
        assert not task.done()
        rig.link.finish_request(0, CancelSmResp())
        await task
        row = await rig.store.get_message("demo", message_id)
        assert row is not None
        assert (row.state, row.part_states, row.reason_code) == (State.CANCELLED, "SC", "PARTLY_CANCELLED")


@pytest.mark.parametrize(
    ("outcome", "status", "error", "reason"),
    [
        (Outcome.ANSWERED, Status.ESME_RCANCELFAIL, WrongState, "CARRIER_REFUSED_CANCEL"),
        (Outcome.ANSWERED, Status.ESME_RINVCMDID, WrongState, "CANCEL_UNSUPPORTED"),
        (Outcome.IN_DOUBT, 0, Unavailable, "CANCEL_UNANSWERED"),
        (Outcome.NOT_WRITTEN, 0, Unavailable, "CARRIER_UNAVAILABLE"),
    ],
)
async def test_a_message_that_is_not_cancelled(
    tmp_path: Path, outcome: Outcome, status: int, error: type[GatewayError], reason: str
) -> None:
    """What the carrier did not confirm changes nothing, is on record, and the caller is told which it was."""
    async with running(tmp_path) as rig:
        message_id, (carrier_id,) = await submitted(rig)
        task = await cancelling(rig, message_id)
        rig.link.finish_request(status, outcome=outcome)
        with pytest.raises(error) as raised:
            await task
        assert raised.value.reason == reason
        assert await rig.state(message_id) is State.SUBMITTED
        answered = (await on_record(rig))[-1]
        assert isinstance(answered, CancelAnswered)
        assert (answered.cancelled, answered.unanswered) == (0, int(outcome is Outcome.IN_DOUBT))
        rig.link.deliver(receipt(carrier_id, "DELETED"))  # and the truth comes by the receipt
        await rig.reach(message_id, State.CANCELLED)


async def test_a_carrier_that_cannot_be_asked(tmp_path: Path) -> None:
    """A carrier that takes no cancel_sm, by its profile or by what it answered before, and one without a link."""
    async with running(tmp_path) as rig:
        message_id, _ = await submitted(rig)
        rig.link.refused.add(CommandId.CANCEL_SM)
        with pytest.raises(WrongState, match="takes no cancel_sm"):
            await (await cancelling(rig, message_id))
        rig.link.refused.clear()
        rig.link.state = LinkState.BACKOFF
        with pytest.raises(Unavailable, match="no link"):
            await (await cancelling(rig, message_id))
        assert await on_record(rig) == []
        rig.link.state = LinkState.BOUND
    async with running(tmp_path / "off", operations=OperationRules(cancel=False)) as rig:
        message_id, _ = await submitted(rig)
        with pytest.raises(WrongState, match="takes no cancel_sm"):
            await (await cancelling(rig, message_id))


async def test_a_message_without_an_id_cannot_be_cancelled(tmp_path: Path) -> None:
    """Of a message in doubt that was never answered nobody can name the id: it has left."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(category=Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        await rig.reach(accepted.id, State.UNKNOWN)
        with pytest.raises(WrongState) as raised:
            await (await cancelling(rig, accepted.id))
        assert raised.value.reason == "ALREADY_SENT"


async def test_a_caller_that_goes_away_loses_no_answer(tmp_path: Path) -> None:
    """The answer is recorded whoever waits for it, also when the node ends meanwhile."""
    async with running(tmp_path) as rig:
        message_id, _ = await submitted(rig)
        task = await cancelling(rig, message_id)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rig.link.finish_request(0, CancelSmResp())
        await rig.reach(message_id, State.CANCELLED)


async def test_two_callers_that_cancel_the_same_message(tmp_path: Path) -> None:
    """The carrier is asked once, and both are told what it said."""
    async with running(tmp_path) as rig:
        message_id, _ = await submitted(rig)
        row = await rig.store.get_message("demo", message_id)
        assert row is not None
        tasks = [asyncio.create_task(rig.pipeline.cancel(row, BY)) for _ in range(2)]
        await rig.until(lambda: len(rig.link.requests) > 0)
        assert len(rig.link.requests) == 1
        rig.link.finish_request(0, CancelSmResp())
        await asyncio.gather(*tasks)
        assert len(await on_record(rig)) == 2


async def test_nothing_is_asked_that_is_not_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the audit cannot be written the carrier is not asked, and the next try is a new one."""
    async with running(tmp_path) as rig:
        message_id, _ = await submitted(rig)

        async def refuse(batch: list[Record]) -> None:
            raise StoreUnavailable("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(rig.store, "audit", refuse)
            with pytest.raises(StoreUnavailable):
                await (await cancelling(rig, message_id))
        assert rig.link.requests == []
        task = await cancelling(rig, message_id)
        rig.link.finish_request(0, CancelSmResp())
        await task


async def test_an_answer_waits_for_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a carrier answered is kept until the store takes it."""
    async with running(tmp_path) as rig:
        message_id, _ = await submitted(rig)
        task = await cancelling(rig, message_id)
        real, tries = rig.store.learned, 0

        async def refuse_once(*arguments: object) -> list[int]:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise StoreUnavailable("disk full")
            return await real(*arguments)  # type: ignore[arg-type]  # as they came

        monkeypatch.setattr(rig.store, "learned", refuse_once)
        rig.link.finish_request(0, CancelSmResp())
        await task
        assert tries == 2
        assert await rig.state(message_id) is State.CANCELLED


async def test_an_overdue_message_is_asked_about(tmp_path: Path) -> None:
    """A message whose receipt is overdue is queried; the answer counts like a receipt, and says where it is from."""
    async with running(tmp_path, operations=SOON) as rig:
        message_id, (carrier_id,) = await submitted(rig)
        await rig.pipeline.inquiries.sweep()
        assert rig.link.requests == []
        rig.now += 61 * SECOND
        await asked(rig)
        assert rig.link.requests[0].pdu == QuerySm(carrier_id.encode(), 5, 0, b"ACME")
        rig.link.finish_request(0, QuerySmResp(carrier_id.encode(), b"260921141400000+", 2, 0))
        await rig.reach(message_id, State.DELIVERED)
        row = await rig.store.get_message("demo", message_id)
        assert row is not None
        assert (row.reason_code, row.operator_done_at) == ("QUERY_DELIVERED", 1_789_999_980 * SECOND + 60 * SECOND)


async def test_who_has_the_first_bind_asks(tmp_path: Path) -> None:
    """Of nodes that share a carrier's binds only one asks about what is overdue."""
    async with running(tmp_path) as rig:
        await submitted(rig)
        rig.now += 3600 * SECOND
        rig.link._index = 1
        assert await rig.pipeline.inquiries.sweep() == 0
        assert not rig.link.requests
        rig.link._index = 0
        await asked(rig)


async def test_an_overdue_message_is_asked_about_again_later(tmp_path: Path) -> None:
    """An answer that is not final, an error and no answer leave it open; the next one comes after twice the time."""
    async with running(tmp_path, operations=SOON) as rig:
        message_id, _ = await submitted(rig)
        rig.now += 61 * SECOND
        await asked(rig)
        rig.link.finish_request(0, QuerySmResp(b"x", b"", 1, 0))
        await rig.pipeline.inquiries.sweep()
        rig.now += 110 * SECOND
        await rig.pipeline.inquiries.sweep()
        assert rig.link.requests == []
        rig.now += 11 * SECOND
        await asked(rig)
        rig.link.finish_request(Status.ESME_RQUERYFAIL, QuerySmResp())
        rig.now += 241 * SECOND
        await asked(rig)
        rig.link.finish_request(outcome=Outcome.IN_DOUBT)
        await rig.pipeline.inquiries.sweep()
        assert await rig.state(message_id) is State.SUBMITTED


async def test_who_is_not_asked(tmp_path: Path) -> None:
    """A carrier that does not know query_sm, whose profile says so, or whose links are down is not asked."""
    async with running(tmp_path, operations=SOON) as rig:
        await submitted(rig)
        rig.link.refused.add(CommandId.QUERY_SM)
        rig.now += 61 * SECOND
        await rig.pipeline.inquiries.sweep()
        rig.link.refused.clear()
        rig.link.state = LinkState.BACKOFF
        await rig.pipeline.inquiries.sweep()
        assert rig.link.requests == []
        rig.link.state = LinkState.BOUND
        await asked(rig)
    async with running(tmp_path / "off", operations=OperationRules(query=False, query_after_s=60)) as rig:
        await submitted(rig)
        rig.now += 61 * SECOND
        await rig.pipeline.inquiries.sweep()
        assert rig.link.requests == []


async def test_queries_are_bounded(tmp_path: Path) -> None:
    """However many are overdue, only so many questions are under way at one carrier; each answer makes room."""
    async with running(tmp_path, window=50, operations=SOON) as rig:
        await rig.send(50)
        await rig.until(lambda: len(rig.link.held) == 50)
        rig.link.finish(50)
        rig.now += 61 * SECOND
        await asked(rig, 20)
        await rig.pipeline.inquiries.sweep()
        assert len(rig.link.requests) == 20
        for _ in range(50):
            await asked(rig)
            rig.link.finish_request(0, QuerySmResp(b"x", b"", 2, 0))
        await rig.pipeline.inquiries.sweep()
        assert rig.link.requests == []


async def test_a_doubtful_message_with_an_id_is_asked_about(tmp_path: Path) -> None:
    """Of a long message in doubt the part that has an id is queried soon, the other one cannot be."""
    async with running(tmp_path, operations=SOON) as rig:
        (accepted,) = await rig.send(text=LONG, category=Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 2)
        rig.link.finish(1)
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        await rig.reach(accepted.id, State.UNKNOWN)
        rig.now += 11 * SECOND
        await asked(rig)
        rig.link.finish_request(0, QuerySmResp(b"x", b"", 5, 7))
        await rig.reach(accepted.id, State.UNDELIVERABLE)
