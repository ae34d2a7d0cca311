"""Rows of the link seen from a message: accepted by a node, sent over TLS, settled in the store."""

from __future__ import annotations

from pathlib import Path

from carrier.contract import LinkState
from carrier.profile import Binding, Receiver
from gateway.states import State
from tests.quirks.way import Files, way


async def test_row_12_nothing_is_dropped_by_throttling(tmp_path: Path, files: Files) -> None:
    """Row 12: a carrier that refuses most of a burst gets all of it in the end, parts of one message in their order,
    and each message is delivered."""
    script = "throttle: {rate_s: 8, status: ESME_RTHROTTLED, burst_s: 0.3}"
    async with way(tmp_path, files, script, rate_pdus_s=100.0) as all_:
        messages = [await all_.send(f"number {number}") for number in range(8)]
        messages.append(await all_.send("long " * 60))
        for message in messages:
            await all_.reach(message, State.DELIVERED)
        stats = all_.link.stats()
        assert stats.answered[0x58] >= 1
        texts = all_.simulator.texts
        assert {f"number {number}" for number in range(8)} | {"long " * 60} <= set(texts)


async def test_row_17_a_pair_delivers(tmp_path: Path, files: Files) -> None:
    """Row 17: a message that left by the transmitter is delivered by the receipt that came by the receiver, though the
    receiver was away when the carrier had it."""
    script = "binds: {kinds: [transmitter, receiver]}\nreceipts: {delay_s: 0.3, redeliver_after_s: 0.5}"
    pair = Binding(receiver=Receiver())
    async with way(tmp_path, files, script, binding=pair, reconnect_min_s=0.05, reconnect_max_s=0.2) as all_:
        await all_.until(lambda: all(bind.state is LinkState.BOUND for bind in all_.link.stats().binds))
        message = await all_.send()
        await all_.reach(message, State.SUBMITTED)
        receiver = all_.link._binds[1]
        receiver.rebind("the test wants it away")
        await all_.reach(message, State.DELIVERED)
        (status,) = all_.pipeline.status()
        assert "transmitter bound" in status.why
        assert "receiver bound" in status.why


async def test_row_19_a_bind_that_is_no_good_is_renewed(tmp_path: Path, files: Files) -> None:
    """Row 19: a carrier that has forgotten the bind gets a new one, and the message goes by that."""
    script = "errors: [{every: 1, times: 1, status: ESME_RINVBNDSTS}]"
    async with way(tmp_path, files, script, reconnect_min_s=0.05, reconnect_max_s=0.2) as all_:
        message = await all_.send()
        row = await all_.reach(message, State.DELIVERED)
        assert row.attempts == 2
        assert all_.simulator.stats()["binds"] == 2
