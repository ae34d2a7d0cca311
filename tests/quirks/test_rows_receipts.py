"""Rows of the checklist on receipts: which are believed, what they decide, and what is kept of the others."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from carrier.operation_rules import OperationRules
from carrier.receipt_rules import ReceiptedParts, ReceiptRules, UnmatchedAnswer
from carrier.smpp.constants import CommandId
from carrier.smpp.pdu import CancelSm, QuerySm
from gateway.errors import WrongState
from gateway.states import Category, State
from gateway.store.contract import EventRow
from gateway.store.receipts import NotedReceipt, Oddity, UnmatchedReceipt
from tests.quirks.way import RECIPIENT, TENANT, Files, Way, now_us, simulated, way, way_to

_HOUR = 3600 * 1_000_000
_LONG = "long " * 60  # two parts
_OTHER = "4915199999999"


async def _noted(all_: Way, number: int = 1) -> list[NotedReceipt]:
    """Wait until so many receipts are noted."""
    async with asyncio.timeout(30):
        while len(noted := await all_.store.noted(10)) < number:
            await asyncio.sleep(0.005)
    return noted


async def _unmatched(all_: Way) -> UnmatchedReceipt:
    """Wait for the one receipt that matches nothing."""
    async with asyncio.timeout(30):
        while not (rows := await all_.store.unmatched(now_us() + _HOUR, 10)):
            await asyncio.sleep(0.005)
    (row,) = rows
    return row


async def _events(all_: Way) -> list[EventRow]:
    return await all_.store.events(TENANT, 0, 1000)


async def test_row_2_the_destination_is_part_of_the_index(tmp_path: Path, files: Files) -> None:
    """Row 2: a receipt with the id of a message to somebody else changes nothing, is counted and noted."""
    script = f"receipts: {{destination: '{_OTHER}'}}"
    async with way(tmp_path, files, script) as all_:
        message = await all_.send()
        (noted,) = await _noted(all_)
        assert (noted.oddity, noted.message_id) == (Oddity.MISMATCH, message)
        assert await all_.counted("receipt.mismatch") == 1
        assert (await all_.row(message)).state == State.SUBMITTED


async def test_row_2_an_id_that_is_given_again(tmp_path: Path, files: Files) -> None:
    """Row 2: a carrier that gives one id to messages of two recipients: the receipt finds the one that it names."""
    async with (
        simulated(files, "{first_id: 7, receipts: {send: false}}") as before,
        way_to(before, tmp_path, files) as all_,
    ):
        old = await all_.reach(await all_.send(), State.SUBMITTED)
    again = f"{{first_id: 7, receipts: {{destination: '{RECIPIENT[1:]}'}}}}"
    async with simulated(files, again) as after, way_to(after, tmp_path, files) as all_:
        new = await all_.reach(await all_.send(recipient=f"+{_OTHER}"), State.SUBMITTED)
        assert new.carrier_ids == old.carrier_ids
        assert (await all_.reach(old.id, State.DELIVERED)).done_at is not None
        assert (await all_.row(new.id)).state == State.SUBMITTED
        assert await all_.counted("carrier_id.reused") == 1


async def test_row_3_a_receipt_before_its_response(tmp_path: Path, files: Files) -> None:
    """Row 3: receipts that come before the responses are kept, and decide when those are settled."""
    script = "{receipts: {before_response: true}, responses: {delay_s: 0.2}}"
    async with way(tmp_path, files, script) as all_:
        message = await all_.send(_LONG)
        await all_.reach(message, State.DELIVERED)
        assert await all_.counted("receipt.kept") == 2
        told = [event.state for event in await _events(all_) if event.message_id == message]
        assert told == [State.ACCEPTED, State.SUBMITTED, State.DELIVERED]
        assert (await all_.store.counts())["receipts.unmatched"] == 0


async def test_row_3_a_receipt_before_its_response_and_a_crash(tmp_path: Path, files: Files) -> None:
    """Row 3: after a crash between receipt and response the message is sent again and delivered; the receipt of the
    copy whose response was lost is still there, as evidence that two may have arrived."""
    script = "{receipts: {before_response: true}, responses: {none_every: 1}}"
    async with way(tmp_path / "before", files, script) as all_:
        message = await all_.send()
        lost = await _unmatched(all_)
        assert lost.carrier_id == all_.simulator.received[0].message_id
        # What a crash leaves: the files as they are now.
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with way(tmp_path / "after", files) as all_:
        row = await all_.reach(message, State.DELIVERED)
        assert row.attempts == 2
        assert await _unmatched(all_) == lost


async def test_row_4_an_unmatched_receipt_is_kept_and_seen(tmp_path: Path, files: Files) -> None:
    """Row 4: what matches nothing is answered well by default, kept as evidence, and shown without personal data."""
    script = "receipts: {unknown_id: feed}"
    async with way(tmp_path, files, script) as all_:
        message = await all_.send()
        row = await _unmatched(all_)
        assert (row.carrier_id, row.stat, row.addressed, row.refused) == ("feed", "DELIVRD", True, 0)
        assert (await all_.store.counts())["receipts.unmatched"] == 1
        await all_.until(lambda: all_.simulator.stats()["receipts_answered"] == 1)
        assert all_.simulator.stats()["deliveries_repeated"] == 0
        assert (await all_.row(message)).state == State.SUBMITTED


async def test_row_4_a_poison_receipt_is_refused_so_often_only(tmp_path: Path, files: Files) -> None:
    """Row 4: where the profile says so the carrier is asked to deliver it again, so often and no more; the receipts of
    other messages go on meanwhile."""
    poison = "{text: poison, unknown_id: feed}"
    script = f"receipts: {{retry_s: 0.05, variants: [{poison}]}}"
    rules = ReceiptRules(unmatched=UnmatchedAnswer.REFUSE, refusals=3)
    async with way(tmp_path, files, script, receipts=rules) as all_:
        await all_.send("poison")
        await all_.reach(await all_.send(), State.DELIVERED)
        await all_.until(lambda: all_.simulator.stats()["receipts_answered"] == 2)
        assert all_.simulator.stats()["deliveries_repeated"] == 3
        assert (await _unmatched(all_)).refused == 4


async def test_row_5_a_text_that_looks_like_a_receipt(tmp_path: Path, files: Files) -> None:
    """Row 5: only the esm_class makes a receipt; a handset's text in the form of one is an inbound message."""
    async with way(tmp_path, files, "receipts: {esm_class: 0}") as all_:
        message = await all_.send(sender="80800")
        async with asyncio.timeout(30):
            while not (inbound := [event for event in await _events(all_) if not event.state]):
                await asyncio.sleep(0.005)
        assert len(inbound) == 1
        assert (await all_.row(message)).state == State.SUBMITTED
        assert not [name for name in await all_.store.counts() if name.startswith("receipt.")]


@pytest.mark.parametrize("offset_s", [-172_800, 172_800])
async def test_row_5_a_receipt_of_an_impossible_time(tmp_path: Path, files: Files, offset_s: int) -> None:
    """Row 5: a receipt from long before the message, or from the future, changes nothing, is counted and noted; with a
    tolerance that wide it is believed."""
    script = f"receipts: {{done_offset_s: {offset_s}}}"
    async with way(tmp_path / "a", files, script) as all_:
        message = await all_.send()
        (noted,) = await _noted(all_)
        assert noted.oddity == Oddity.IMPOSSIBLE
        assert await all_.counted("receipt.impossible") == 1
        assert (await all_.row(message)).state == State.SUBMITTED
    async with way(tmp_path / "b", files, script, receipts=ReceiptRules(clock_tolerance_s=200_000)) as all_:
        await all_.reach(await all_.send(), State.DELIVERED)


async def test_row_8_an_unknown_state_is_left_pending(tmp_path: Path, files: Files) -> None:
    """Row 8: intermediate states and those that nobody knows leave the message open; the final one decides."""
    script = "receipts: {form: text, before: [ENROUTE, BUFFERD, WHATEVR], gap_s: 0.02}"
    async with way(tmp_path, files, script) as all_:
        message = await all_.send()
        await all_.reach(message, State.DELIVERED)
        assert await all_.counted("receipt.intermediate") == 2
        assert [(row.oddity, row.stat) for row in await _noted(all_)] == [(Oddity.UNKNOWN_STAT, "WHATEVR")]


async def test_row_9_receipts_by_data_sm(tmp_path: Path, files: Files) -> None:
    """Row 9: a receipt counts as well when it comes as a data_sm."""
    async with way(tmp_path, files, "receipts: {by: data_sm}") as all_:
        await all_.reach(await all_.send(_LONG), State.DELIVERED)


async def test_row_10_the_operators_time(tmp_path: Path, files: Files) -> None:
    """Row 10: the operator's done date is kept with the message and in its event, beside our own time."""
    async with way(tmp_path, files, "receipts: {dates: seconds, done_offset_s: -3600}") as all_:
        row = await all_.reach(await all_.send(), State.DELIVERED)
        assert row.operator_done_at is not None
        assert row.done_at is not None
        assert abs(row.done_at - _HOUR - row.operator_done_at) < 60_000_000
        assert (await _events(all_))[-1].operator_done_at == row.operator_done_at


@pytest.mark.parametrize(("sends", "parts"), [("first", "DS"), ("last", "SD")])
async def test_row_11_a_receipt_for_one_part(tmp_path: Path, files: Files, sends: str, parts: str) -> None:
    """Row 11: of a carrier that tells of one part only the profile says so; without that the message stays open."""
    script = f"{{receipts: {{parts: {sends}}}, responses: {{swap_s: 0.05}}}}"
    for rule in (ReceiptedParts(sends), ReceiptedParts.ANY):
        async with way(tmp_path / rule, files, script, receipts=ReceiptRules(parts=rule)) as all_:
            row = await all_.reach(await all_.send(_LONG), State.DELIVERED)
            assert row.part_states == parts
    async with way(tmp_path / "all", files, script) as all_:
        message = await all_.send(_LONG)
        await all_.until(lambda: all_.simulator.stats()["receipts_answered"] == 1)
        assert (await all_.reach(message, State.SUBMITTED)).part_states == parts


async def test_row_11_one_state_for_all_parts(tmp_path: Path, files: Files) -> None:
    """Row 11: responses out of order, receipts for all parts: one state; a part that failed makes it UNDELIVERABLE."""
    script = """{responses: {swap_s: 0.05}, receipts: {
        rules: [{text: second, state: UNDELIV, error: '042'}]}}"""
    async with way(tmp_path, files, script) as all_:
        fine, failed = await all_.send(_LONG), await all_.send("x" * 160 + " second part")
        await all_.reach(fine, State.DELIVERED)
        row = await all_.reach(failed, State.UNDELIVERABLE)
        assert (row.reason_code, row.network_error) == ("RECEIPT_UNDELIVERABLE", "042")
        states = [event.state for event in await _events(all_) if event.message_id == failed]
        assert states == [State.ACCEPTED, State.SUBMITTED, State.UNDELIVERABLE]


async def test_contradictory_and_repeated_receipts(tmp_path: Path, files: Files) -> None:
    """Rows 8 and 11: the first final state stays; a receipt delivered again is recognised, and one that contradicts is
    counted and noted."""
    script = "receipts: {duplicates: 1, afterwards: [UNDELIV], gap_s: 0.02}"
    async with way(tmp_path, files, script) as all_:
        message = await all_.send()
        noted = await _noted(all_, 2)
        assert {(row.oddity, row.stat) for row in noted} == {(Oddity.CONTRADICTED, "UNDELIV")}
        assert (await all_.row(message)).state == State.DELIVERED
        assert await all_.counted("receipt.duplicate") == 1


async def test_row_15_a_message_in_doubt_is_asked_about_by_the_id_that_is_known(tmp_path: Path, files: Files) -> None:
    """Row 15: no response in time makes UNKNOWN and no blind resend; what has an id is asked about, and the carrier's
    answer decides."""
    script = "{responses: {none_every: 2}, receipts: {send: false}, operations: {query: answer}}"
    async with way(tmp_path, files, script, response_timeout_s=2.0) as all_:
        message = await all_.send(_LONG, category=Category.PROMOTIONAL)
        row = await all_.reach(message, State.UNKNOWN)
        assert sorted(row.part_states) == ["-", "S"]
        all_.ahead = 11 * 1_000_000
        async with asyncio.timeout(30):
            while "D" not in (row := await all_.row(message)).part_states:
                await asyncio.sleep(0.005)
        assert (row.state, sorted(row.part_states)) == (State.UNKNOWN, ["-", "D"])
        assert all_.simulator.stats()["submits"] == 2


async def test_an_overdue_receipt_is_asked_for(tmp_path: Path, files: Files) -> None:
    """Row 18: a carrier that answers query_sm is asked when a receipt is overdue, by the sender that it was told."""
    script = "{receipts: {send: false}, operations: {query: answer}}"
    async with way(tmp_path, files, script, operations=OperationRules(query_after_s=0.0)) as all_:
        row = await all_.reach(await all_.send(), State.DELIVERED)
        assert row.reason_code == "QUERY_DELIVERED"
        assert row.operator_done_at is not None
        assert await all_.counted("query.answered") == 1


@pytest.mark.parametrize(
    "operations", [OperationRules(query_after_s=0.0), OperationRules(query=False, query_after_s=0.0)]
)
async def test_row_18_a_query_that_is_nacked_is_remembered(
    tmp_path: Path, files: Files, operations: OperationRules
) -> None:
    """Row 18: a carrier that nacks query_sm is not asked again, and one whose profile says so not at all."""
    script = "{receipts: {send: false}, operations: {query: nack}}"
    async with way(tmp_path, files, script, operations=operations) as all_:
        for message in [await all_.send() for _ in range(3)]:
            await all_.reach(message, State.SUBMITTED)
        await all_.pipeline.inquiries.sweep()
        if operations.query:
            await all_.until(lambda: not all_.link.supports(CommandId.QUERY_SM))
        await all_.reach(await all_.send(), State.SUBMITTED)
        await all_.pipeline.inquiries.sweep()
        asked = [each for each in all_.simulator.seen if isinstance(each.pdu, QuerySm)]
        assert 1 <= len(asked) <= 3 if operations.query else not asked


async def test_a_message_is_cancelled_at_the_carrier(tmp_path: Path, files: Files) -> None:
    """A long message that has left is cancelled part by part, and its receipts (DELETED) change nothing more."""
    script = "{receipts: {delay_s: 600}, operations: {cancel: answer}}"
    async with way(tmp_path, files, script) as all_:
        row = await all_.reach(await all_.send(_LONG), State.SUBMITTED)
        await all_.pipeline.cancel(row, "spiffe://example.org/demo/api")
        row = await all_.row(row.id)
        assert (row.state, row.part_states, row.reason_code) == (State.CANCELLED, "CC", "CANCELLED_AT_CARRIER")


@pytest.mark.parametrize(
    ("how", "reasons"),
    [
        ("fail", ["CARRIER_REFUSED_CANCEL", "CARRIER_REFUSED_CANCEL"]),
        ("nack", ["CANCEL_UNSUPPORTED", "CANCEL_UNSUPPORTED"]),
    ],
)
async def test_row_18_a_cancel_that_the_carrier_does_not_do(
    tmp_path: Path, files: Files, how: str, reasons: list[str]
) -> None:
    """Row 18: what the carrier refuses is told and tried again; what it does not know is remembered, and not asked."""
    script = f"{{receipts: {{delay_s: 600}}, operations: {{cancel: {how}}}}}"
    async with way(tmp_path, files, script) as all_:
        row = await all_.reach(await all_.send(), State.SUBMITTED)
        for reason in reasons:
            with pytest.raises(WrongState) as raised:
                await all_.pipeline.cancel(row, "spiffe://example.org/demo/api")
            assert raised.value.reason == reason
        asked = [each for each in all_.simulator.seen if isinstance(each.pdu, CancelSm)]
        assert len(asked) == (2 if how == "fail" else 1)
        assert (await all_.row(row.id)).state == State.SUBMITTED


async def test_row_9_a_message_from_a_handset_by_data_sm(tmp_path: Path, files: Files) -> None:
    """Row 9: a handset's message that comes by data_sm, in parts, is one inbound message."""
    script = f"inbound: [{{from: '+{_OTHER}', to: '80800', text: '{'long ' * 40}', by: data_sm, at_s: 0.1}}]"
    async with way(tmp_path, files, script) as all_:
        async with asyncio.timeout(30):
            while not (inbound := [event for event in await _events(all_) if not event.state]):
                await asyncio.sleep(0.005)
        assert [len(event.parts) for event in inbound] == [2]


async def test_row_12_no_message_and_no_receipt_is_lost(tmp_path: Path, files: Files) -> None:
    """Row 12: temporary errors delay messages and lose none, and the map of receipts survives them and a restart."""
    script = """{errors: [{every: 3, times: 4, status: ESME_RMSGQFUL}, {every: 4, times: 2, status: ESME_RTHROTTLED}],
        receipts: {delay_s: 2}}"""
    async with simulated(files, script) as carrier:
        async with way_to(carrier, tmp_path, files) as all_:
            messages = [await all_.send(_LONG) for _ in range(5)]
            for message in messages:
                await all_.reach(message, State.SUBMITTED, State.DELIVERED)
        assert carrier.stats()["refused"] == 6
        async with way_to(carrier, tmp_path, files) as all_:
            for message in messages:
                row = await all_.reach(message, State.DELIVERED)
                assert row.part_states == "DD"
            assert (await all_.store.counts())["receipts.unmatched"] == 0


async def test_row_15_a_late_answer_ends_the_doubt(tmp_path: Path, files: Files) -> None:
    """Row 15: a response that comes after its time makes SUBMITTED of UNKNOWN, and the receipt finds the message."""
    script = "{responses: {late_every: 1, late_s: 1.0}, receipts: {delay_s: 2.0}}"
    async with way(tmp_path, files, script, response_timeout_s=0.3) as all_:
        message = await all_.send(category=Category.PROMOTIONAL)
        await all_.reach(message, State.UNKNOWN)
        await all_.reach(message, State.DELIVERED)
        told = [event.state for event in await _events(all_) if event.message_id == message]
        assert told == [State.ACCEPTED, State.UNKNOWN, State.SUBMITTED, State.DELIVERED]
        assert await all_.counted("late.answered") == 1
        assert all_.simulator.stats()["submits"] == 1
