"""Rows of the checklist on identifiers and on what is written in which letters."""

from __future__ import annotations

from pathlib import Path

from carrier.ids import IdForm, IdForms
from gateway.states import State
from tests.quirks.way import CARRIER, Files, way

_HEX_THEN_DECIMAL = "{message_ids: hex, receipts: {ids: decimal}}"


async def test_row_1_hex_in_the_response_and_decimal_in_the_receipt(tmp_path: Path, files: Files) -> None:
    """Row 1: ids of two notations meet, and the id that the carrier wrote is kept for those who name it."""
    forms = IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL)
    async with way(tmp_path, files, _HEX_THEN_DECIMAL, ids=forms) as all_:
        row = await all_.reach(await all_.send(), State.DELIVERED)
        written = all_.simulator.received[0].message_id
        assert row.carrier_ids == written
        assert not written.isdigit()
        assert not all_.carrier_ids.unread


async def test_row_1_as_is_unless_the_profile_says_more(tmp_path: Path, files: Files) -> None:
    """Row 1: without the setting the same carrier's receipt finds nothing, and is kept."""
    async with way(tmp_path, files, _HEX_THEN_DECIMAL) as all_:
        message = await all_.send()
        await all_.counted("receipt.kept")
        assert (await all_.row(message)).state == State.SUBMITTED


async def test_row_1_a_uuid_is_never_a_number(tmp_path: Path, files: Files) -> None:
    """Row 1: ids that are UUIDs stay as they are under any form, match, and are counted on both sides."""
    forms = IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL)
    async with way(tmp_path, files, "message_ids: uuid", ids=forms) as all_:
        row = await all_.reach(await all_.send(), State.DELIVERED)
        assert row.carrier_ids == all_.simulator.received[0].message_id
        assert all_.carrier_ids.unread == {(CARRIER, "response"): 1, (CARRIER, "receipt"): 1}


async def test_row_2_case_counts_unless_the_profile_says_so(tmp_path: Path, files: Files) -> None:
    """Row 2: the index is (carrier, canonical id, destination); case is ignored only where the profile says so."""
    script = "{message_ids: hex, receipts: {ids: upper}}"
    async with way(tmp_path / "a", files, script, ids=IdForms(ignore_case=True)) as all_:
        await all_.reach(await all_.send(), State.DELIVERED)
    async with way(tmp_path / "b", files, script) as all_:
        message = await all_.send()
        await all_.counted("receipt.kept")
        assert (await all_.row(message)).state == State.SUBMITTED
