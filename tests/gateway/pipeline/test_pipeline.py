"""The pipeline on a real store and a link that does what the test says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carrier.contract import Outcome, Request, Submission
from carrier.smpp.pdu import DeliverSm, QuerySm
from gateway.errors import StoreUnavailable
from gateway.pipeline.deliveries import ESME_RINVDSTADR
from gateway.pipeline.settler import ESME_RX_T_APPN
from gateway.states import Category, State
from gateway.store.receipts import NewReceipt, ReceiptVerdict
from tests.gateway.pipeline.rig import SECOND, receipt, running


async def test_a_message_goes_from_accepted_to_delivered(tmp_path: Path) -> None:
    """Accepted, submitted with the carrier's id, and delivered by its receipt, which is answered after that."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        assert await rig.state(accepted.id) is State.SENDING
        (carrier_id,) = rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)
        (ticket,) = rig.link.deliver(receipt(carrier_id))
        await rig.until(lambda: rig.link.answers == [(ticket, 0)])
        assert await rig.state(accepted.id) is State.DELIVERED


async def test_sending_is_committed_before_the_link_gets_it(tmp_path: Path) -> None:
    """When the link is handed a submission, another reader of the database already sees SENDING."""
    import apsw

    seen: list[int] = []

    async with running(tmp_path) as rig:
        other = apsw.Connection(str(tmp_path / "smsgw.db"), flags=apsw.SQLITE_OPEN_READONLY)

        def look(batch: object) -> None:
            seen.extend(row[0] for row in other.execute("SELECT state FROM message"))

        rig.link.on_submit = look
        await rig.send(3)
        await rig.until(lambda: len(rig.link.held) == 3)
        other.close()
    assert seen == [State.SENDING] * 3


async def test_slots_never_exceed_two_windows_and_a_fifth_is_kept_for_otp(tmp_path: Path) -> None:
    """A hundred promotions fill four fifths of two windows; an OTP still gets in."""
    async with running(tmp_path, window=10) as rig:
        await rig.send(100, Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 16)
        await rig.send(100, Category.OTP)
        await rig.until(lambda: len(rig.link.held) == 20)
        assert rig.pipeline.status()[0].slots == 20
        async with asyncio.timeout(30):
            while len(rig.pipeline.lanes) or rig.pipeline.status()[0].slots:
                rig.link.finish(len(rig.link.held))
                await asyncio.sleep(0.002)
        assert rig.link.most_held == 20


async def test_more_than_memory_holds_waits_in_the_store_and_is_sent_in_order(tmp_path: Path) -> None:
    """With memory for 20, 500 messages all go out, each once."""
    async with running(tmp_path, memory=20, window=50) as rig:
        sent: list[bytes] = []

        def note(batch: object) -> None:
            assert isinstance(batch, list)
            sent.extend(submission.key.message.id for submission in batch if isinstance(submission, Submission))  # type: ignore[attr-defined]  # an Attempt

        rig.link.on_submit = note
        for _ in range(10):
            await rig.send(50, Category.TRANSACTIONAL)
        async with asyncio.timeout(20):
            while len(sent) < 500:
                rig.link.finish(len(rig.link.held))
                await asyncio.sleep(0.002)
        rig.link.finish(len(rig.link.held))
        assert len(set(sent)) == 500


async def test_a_lost_link_resends_an_otp_and_leaves_a_promotion_in_doubt(tmp_path: Path) -> None:
    """Written, unanswered, lost: the OTP goes out again when the link is back; the promotion waits for a receipt."""
    async with running(tmp_path) as rig:
        (otp,) = await rig.send(1, Category.OTP)
        (promotion,) = await rig.send(1, Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 2)
        rig.link.lose()
        await rig.reach(otp.id, State.UNKNOWN)
        await rig.reach(promotion.id, State.UNKNOWN)
        rig.link.come_back()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(otp.id, State.SUBMITTED)
        assert await rig.state(promotion.id) is State.UNKNOWN
        counts = await rig.store.counts()
        assert counts["resend.no_answer"] == 1
        assert counts["doubt.no_answer"] == 1


async def test_what_was_not_written_is_sent_again_and_is_no_duplicate(tmp_path: Path) -> None:
    """NOT_WRITTEN goes back to ACCEPTED and out again."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1, outcome=Outcome.NOT_WRITTEN)
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)
        assert (await rig.store.counts())["retry.not_written"] == 1


async def test_throttled_is_retried_and_an_invalid_number_is_rejected(tmp_path: Path) -> None:
    """A temporary status waits for its time; a permanent one is the end."""
    async with running(tmp_path) as rig:
        (throttled,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1, status=0x58)
        await rig.reach(throttled.id, State.ACCEPTED)
        rig.now += 120 * SECOND
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1, status=0x0B)
        await rig.reach(throttled.id, State.REJECTED)
        row = await rig.store.get_message("demo", throttled.id)
        assert row is not None
        assert (row.reason_code, row.smpp_status, row.attempts) == ("CARRIER_REJECTED", 0x0B, 2)


async def test_a_restart_continues_everything(tmp_path: Path) -> None:
    """After a crash, what waited is sent, what was in doubt is resent, what was submitted takes its receipt."""
    async with running(tmp_path) as rig:
        (submitted,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        (carrier_id,) = rig.link.finish(1)
        await rig.reach(submitted.id, State.SUBMITTED)
        in_doubt = await rig.send(20)
        await rig.until(lambda: len(rig.link.held) == 20)
        waiting = await rig.send(30)
        rig.link.held.clear()  # the process is killed here: nothing of it is ever settled
    async with running(tmp_path) as rig:
        rig.link.deliver(receipt(carrier_id))
        await rig.reach(submitted.id, State.DELIVERED)
        for message in (*in_doubt, *waiting):
            async with asyncio.timeout(10):
                while await rig.state(message.id) is not State.SUBMITTED:
                    rig.link.finish(len(rig.link.held))
                    await asyncio.sleep(0.001)
        assert (await rig.store.counts())["resend.restart"] == 20


async def test_a_receipt_before_its_response_is_kept_and_applied(tmp_path: Path) -> None:
    """The receipt overtakes the response: it is answered, kept, and applied when the id is known."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        submission = rig.link.held[0]
        early = f"{id(submission.key):x}-0"
        (ticket,) = rig.link.deliver(receipt(early))
        await rig.until(lambda: rig.link.answers == [(ticket, 0)])
        assert await rig.state(accepted.id) is State.SENDING
        rig.link.finish(1)
        await rig.reach(accepted.id, State.DELIVERED)


async def test_a_long_message_is_delivered_when_all_its_parts_are(tmp_path: Path) -> None:
    """Three parts, three ids, three receipts: SUBMITTED until the last."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(text="x" * 400)
        await rig.until(lambda: len(rig.link.held) == 3)
        ids = rig.link.finish(3)
        await rig.reach(accepted.id, State.SUBMITTED)
        rig.link.deliver(receipt(ids[2]), receipt(ids[0]))
        await rig.until(lambda: len(rig.link.answers) == 2)
        assert await rig.state(accepted.id) is State.SUBMITTED
        rig.link.deliver(receipt(ids[1]))
        await rig.reach(accepted.id, State.DELIVERED)


async def test_only_the_parts_not_answered_are_sent_again(tmp_path: Path) -> None:
    """Two of three parts are throttled: those two are sent again, and one id belongs to each part."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(text="x" * 400)
        await rig.until(lambda: len(rig.link.held) == 3)
        first = rig.link.finish(1)
        rig.link.finish(2, status=0x58)
        await rig.reach(accepted.id, State.ACCEPTED)
        rig.now += 120 * SECOND
        await rig.until(lambda: len(rig.link.held) == 2)
        rest = rig.link.finish(2)
        await rig.reach(accepted.id, State.SUBMITTED)
        row = await rig.store.get_message("demo", accepted.id)
        assert row is not None
        assert row.carrier_ids.split("\n") == first + rest


async def test_an_inbound_message_belongs_to_the_tenant_of_its_number(tmp_path: Path) -> None:
    """An owned number gives an event; a number of nobody is refused for good."""
    async with running(tmp_path) as rig:
        _, before = await rig.store.event_bounds("demo")
        mine = DeliverSm(
            source_addr_ton=1, source_addr=b"4915112345678", destination_addr=b"80800", short_message=b"hi"
        )
        nobody = DeliverSm(source_addr_ton=1, source_addr=b"4915112345678", destination_addr=b"9", short_message=b"hi")
        first, second = rig.link.deliver(mine, nobody)
        await rig.until(lambda: len(rig.link.answers) == 2)
        assert dict(rig.link.answers) == {first: 0, second: ESME_RINVDSTADR}
        events = await rig.store.events("demo", before, 10)
        assert [event.state for event in events] == [0]


async def test_a_redelivered_pdu_is_recognised_and_a_repeated_text_is_not_lost(tmp_path: Path) -> None:
    """STOP twice on one connection is two messages; again on the next connection, it is a redelivery of the first."""
    async with running(tmp_path) as rig:
        _, before = await rig.store.event_bounds("demo")
        stop = DeliverSm(
            source_addr_ton=1, source_addr=b"4915112345678", destination_addr=b"80800", short_message=b"STOP"
        )
        rig.link.deliver(stop)
        rig.link.deliver(stop)
        rig.link.lose()
        rig.link.come_back()
        rig.link.deliver(stop)
        await rig.until(lambda: len(rig.link.answers) == 3)
        assert {status for _, status in rig.link.answers} == {0}
        assert len(await rig.store.events("demo", before, 10)) == 2
        rig.now += 601 * SECOND
        rig.link.lose()
        rig.link.come_back()
        rig.link.deliver(stop)
        await rig.until(lambda: len(rig.link.answers) == 4)
        assert len(await rig.store.events("demo", before, 10)) == 3


async def test_a_delivery_that_cannot_be_stored_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store refuses, receipts are answered with a temporary error, and nothing is lost of them."""
    async with running(tmp_path) as rig:

        async def refuse(batch: list[NewReceipt]) -> list[ReceiptVerdict]:
            raise StoreUnavailable("disk full")

        monkeypatch.setattr(rig.store, "receipts", refuse)
        (ticket,) = rig.link.deliver(receipt("1"))
        await rig.until(lambda: rig.link.answers == [(ticket, ESME_RX_T_APPN)])


async def test_a_caller_that_goes_away_during_the_commit_loses_nothing(tmp_path: Path) -> None:
    """The call is cancelled while its commit runs: what is on disk is sent all the same."""
    async with running(tmp_path) as rig:
        call = asyncio.create_task(rig.send(5))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await rig.until(lambda: len(rig.link.held) == 5)
        rig.link.finish(5)


async def test_a_cancelled_message_is_not_sent(tmp_path: Path) -> None:
    """Cancelled in memory, behind a full link: it never reaches the link, and its slots are free."""
    async with running(tmp_path, window=1) as rig:
        await rig.send(2)
        await rig.until(lambda: len(rig.link.held) == 2)
        (late,) = await rig.send()
        cancelled, _ = await rig.store.cancel("demo", late.id, rig.now)
        assert cancelled
        rig.link.finish(2)
        await rig.until(lambda: not len(rig.pipeline.lanes) and rig.pipeline.status()[0].slots == 0)
        assert rig.link.held == []
        assert await rig.state(late.id) is State.CANCELLED


async def test_a_replay_is_not_sent_twice(tmp_path: Path) -> None:
    """The same idempotency key and content: one message, one submission."""
    async with running(tmp_path) as rig:
        first = await rig.send(key="k1")
        again = await rig.send(key="k1")
        assert first[0].id == again[0].id
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(first[0].id, State.SUBMITTED)
        assert rig.link.held == []


async def test_results_of_requests_that_nobody_made(tmp_path: Path) -> None:
    """Results of requests that no part of the pipeline made change nothing."""
    async with running(tmp_path) as rig:
        rig.link.request([Request("nobody", QuerySm(b"7"))])
        rig.link.finish_request()
        (sent,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(sent.id, State.SUBMITTED)
