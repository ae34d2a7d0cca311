"""Rows of the checklist on the dialects of receipts: what is read out of each, whatever it looks like."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from carrier.receipt_rules import IdSource, ReceiptRules, StatMeaning
from gateway.states import State
from gateway.store.contract import EventRow, MessageRow
from tests.quirks.way import TENANT, Files, Way, now_us, way

_MINUTE = 60 * 1_000_000
_SHORT = "id:{id} stat:{stat} err:{err}"


def receipts(**fields: object) -> str:
    """Return a script whose receipts are so."""
    return yaml.safe_dump({"receipts": fields})


async def ended(
    folder: Path, files: Files, script: str, rules: ReceiptRules | None = None, text: str = "hello"
) -> tuple[MessageRow, EventRow]:
    """Send a message; how it stands when its receipt has decided, and the event of it."""
    async with way(folder, files, script, receipts=rules or ReceiptRules()) as all_:
        message = await all_.send(text)
        row = await all_.reach(message, State.DELIVERED, State.UNDELIVERABLE, State.EXPIRED, State.REJECTED)
        return row, (await all_.store.events(TENANT, 0, 1000))[-1]


async def answered(all_: Way, number: int = 1) -> None:
    """Wait until so many receipts have been read and answered."""
    await all_.until(lambda: all_.simulator.stats()["receipts_answered"] >= number)


@pytest.mark.parametrize("esm_class", [0x04, 0x44, 0x05])
async def test_row_5_esm_class_decides(tmp_path: Path, files: Files, esm_class: int) -> None:
    """Row 5: a receipt is one by its type bits, with a user data header before its text too."""
    udh = {"udh": "050003070101"} if esm_class & 0x40 else {}
    row, _ = await ended(tmp_path, files, receipts(esm_class=esm_class, form="text", **udh))
    assert row.state == State.DELIVERED


@pytest.mark.parametrize(
    "how",
    [
        {"form": "tlv"},
        {"form": "tlv", "network_type": 3, "states": ["UNDELIV"]},
        {"form": "text", "payload": True},
        {"form": "both", "template": "id:other stat:REJECTD err:9"},
        {"form": "text", "data_coding": 8},
    ],
    ids=["tlvs-only", "network-error", "message-payload", "tlvs-first", "ucs2"],
)
async def test_row_6_tlvs_then_text(tmp_path: Path, files: Files, how: dict[str, object]) -> None:
    """Row 6: TLVs come before the text, an empty short_message means message_payload, and UCS-2 is read as such."""
    row, event = await ended(tmp_path, files, receipts(**how))
    failed = "states" in how
    assert row.state == (State.UNDELIVERABLE if failed else State.DELIVERED)
    if failed:
        assert event.network_error.startswith("3:")


async def test_row_6_an_id_without_a_state(tmp_path: Path, files: Files) -> None:
    """Row 6: a receipt of nothing but an id changes nothing, and is answered."""
    async with way(tmp_path, files, receipts(form="id")) as all_:
        message = await all_.send()
        await answered(all_)
        assert (await all_.row(message)).state == State.SUBMITTED


async def test_row_6_which_id_counts(tmp_path: Path, files: Files) -> None:
    """Row 6: where TLV and text name different ids the TLV's counts, unless the profile says the text's."""
    script = receipts(form="both", template="id:unheard-of stat:{stat}")
    row, _ = await ended(tmp_path / "tlv", files, script)
    assert row.state == State.DELIVERED
    async with way(tmp_path / "text", files, script, receipts=ReceiptRules(id_from=IdSource.TEXT)) as all_:
        message = await all_.send()
        await all_.counted("receipt.kept")
        assert (await all_.row(message)).state == State.SUBMITTED


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("id:{id} submit date:{submit} done date:{done} stat:{stat} err:{err} text:", "0B2"),
        ("id:{id} sub:001 dlvrd:000 submitdate:{submit} donedate:{done} stat:{stat} err:{err} text:x", "0B2"),
        ("id:{id} sub:001 dlvrd:000 submit date:{submit} done date:{done} {stat} err:{err}", "0B2"),
        ("ID:{id} SUB:001 DLVRD:000 DONE DATE:{done} STAT:{stat} ERR:{err} TEXT:x", "0B2"),
        ("Stat: {stat} Id: {id} Err: {err}", "0B2"),
        ("id:{id} stat:{stat}", ""),
    ],
    ids=["no-sub", "no-space", "no-label", "capitals", "other-order", "no-err"],
)
async def test_row_7_texts(tmp_path: Path, files: Files, template: str, error: str) -> None:
    """Row 7: the text is read whatever is missing, joined, unlabelled, in capitals or in another order."""
    script = receipts(form="text", template=template, rules=[{"state": "UNDELIV", "error": "0B2"}])
    row, event = await ended(tmp_path, files, script)
    assert (row.state, event.network_error) == (State.UNDELIVERABLE, error)


@pytest.mark.parametrize("dates", ["minutes", "seconds", "century", "zero", "impossible"])
async def test_row_7_dates(tmp_path: Path, files: Files, dates: str) -> None:
    """Row 7: done dates of 10, 12 and 14 digits are read; all zeros, or no date, is none, and the receipt counts."""
    row, event = await ended(tmp_path, files, receipts(form="text", dates=dates))
    assert row.state == State.DELIVERED
    if dates in ("zero", "impossible"):
        assert event.operator_done_at is None
    else:
        assert event.operator_done_at is not None
        assert abs(event.operator_done_at - now_us()) < 10 * _MINUTE


async def test_row_7_it_stops_at_the_message_s_own_words(tmp_path: Path, files: Files) -> None:
    """Row 7: a state that only the text of the message itself names decides nothing."""
    async with way(tmp_path, files, receipts(form="text", template="id:{id} text:{text}")) as all_:
        message = await all_.send("stat:DELIVRD err:0")
        await answered(all_)
        assert (await all_.row(message)).state == State.SUBMITTED


@pytest.mark.parametrize("stat", ["ACCEPTD", "ENROUTE", "ACKED", "BUFFRED", "BUFFERD"])
async def test_row_8_intermediate_stats(tmp_path: Path, files: Files, stat: str) -> None:
    """Row 8: an intermediate stat leaves the message as it is, and the final one that follows decides."""
    async with way(tmp_path, files, receipts(form="text", before=[stat], gap_s=0.05)) as all_:
        message = await all_.send()
        await all_.reach(message, State.DELIVERED)
        assert all_.simulator.stats()["receipts_answered"] >= 1
    async with way(tmp_path / "only", files, receipts(form="text", states=[stat])) as all_:
        message = await all_.send()
        await answered(all_)
        assert (await all_.row(message)).state == State.SUBMITTED


async def test_row_8_an_unknown_stat(tmp_path: Path, files: Files) -> None:
    """Row 8: a stat that nobody knows leaves the message pending, unless the profile says what it means."""
    script = receipts(form="text", states=["ARRIVED"])
    async with way(tmp_path / "unknown", files, script) as all_:
        message = await all_.send()
        await answered(all_)
        assert (await all_.row(message)).state == State.SUBMITTED
    rules = ReceiptRules(stats={"ARRIVED": StatMeaning.DELIVERED})
    row, _ = await ended(tmp_path / "known", files, script, rules)
    assert row.state == State.DELIVERED


@pytest.mark.parametrize(("octet", "state"), [("00", State.SUBMITTED), ("09", State.UNDELIVERABLE)])
async def test_row_8_the_states_of_smpp_5(tmp_path: Path, files: Files, octet: str, state: State) -> None:
    """Row 8: SCHEDULED is pending, and SKIPPED is final."""
    script = receipts(form="text", template="id:{id}", tlvs=[{"tag": 0x0427, "value": octet}])
    async with way(tmp_path, files, script) as all_:
        message = await all_.send()
        await answered(all_)
        async with asyncio.timeout(30):
            while (row := await all_.row(message)).state != state:
                await asyncio.sleep(0.005)
        assert row.state == state


@pytest.mark.parametrize("by", ["deliver_sm", "data_sm"])
async def test_row_9_deliver_sm_or_data_sm(tmp_path: Path, files: Files, by: str) -> None:
    """Row 9: a receipt counts by either PDU."""
    row, _ = await ended(tmp_path, files, receipts(by=by, form="text"))
    assert row.state == State.DELIVERED


async def test_row_9_one_that_nobody_asked_for(tmp_path: Path, files: Files) -> None:
    """Row 9: a second one for a message that has its receipt, without being asked for, changes nothing."""
    async with way(tmp_path, files, receipts(unrequested=True, duplicates=1)) as all_:
        message = await all_.send()
        await all_.reach(message, State.DELIVERED)
        await answered(all_, 2)
        assert (await all_.row(message)).state == State.DELIVERED


@pytest.mark.parametrize("timezone", ["+05:30", "Asia/Kolkata"])
async def test_row_10_the_operator_s_time_zone(tmp_path: Path, files: Files, timezone: str) -> None:
    """Row 10: the done date is kept, in UTC by the carrier's time zone; without the setting it is off by so much."""
    script = receipts(done_offset_s=19_800, dates="seconds")
    _, event = await ended(tmp_path / "set", files, script, ReceiptRules(timezone=timezone))
    assert event.operator_done_at is not None
    assert abs(event.operator_done_at - now_us()) < 10 * _MINUTE
    _, event = await ended(tmp_path / "unset", files, script)
    assert event.operator_done_at is not None
    assert abs(event.operator_done_at - now_us() - 330 * _MINUTE) < 10 * _MINUTE
