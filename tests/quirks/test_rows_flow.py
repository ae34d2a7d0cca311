"""Rows 12 to 16: how much a carrier takes, and what is done about silence, over TLS to the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from carrier.contract import LinkState, Outcome
from carrier.link import SmppLink
from carrier.smpp.constants import Status
from carrier.statuses import Action, action_for, with_overrides
from tests.quirks.linked import Wire, linked
from tests.quirks.way import Files

_ASKED = "enquire_link"


def refused(wire: Wire) -> int:
    """Return how many submissions were answered with an error."""
    return sum(result.status != 0 for result in wire.driver.results)


async def all_ended(wire: Wire, count: int) -> None:
    """Wait until so many submissions have ended."""
    await wire.until(lambda: len(wire.driver.results) == count)


@pytest.mark.parametrize("status", ["ESME_RTHROTTLED", "ESME_RMSGQFUL"])
@pytest.mark.parametrize("heeds", [True, False])
async def test_row_12_a_throttling_carrier_is_sent_less(files: Files, status: str, heeds: bool) -> None:
    """Row 12: what is refused for now halves the pace, which grows again by itself; a profile may say otherwise."""
    code = int(Status[status])
    settings: dict[str, Any] = {} if heeds else {"statuses": with_overrides({code: Action.RETRY})}
    script = f"throttle: {{rate_s: 1, status: {status}}}"
    async with linked(files, script, rate_pdus_s=100.0, **settings) as wire:
        wire.submit(5)
        await all_ended(wire, 5)
        assert refused(wire) >= 3
        assert Action.RETRY in action_for(wire.profile, code)
        factor = wire.link.stats().slow_factor
        assert (factor < 0.6) is heeds
        if heeds:
            await wire.until(lambda: wire.link.stats().slow_factor > factor)


@pytest.mark.parametrize("status", ["ESME_RSYSERR", "ESME_RX_T_APPN"])
async def test_row_12_an_ill_carrier_is_tried_again_at_the_same_pace(files: Files, status: str) -> None:
    """Row 12: a temporary error that is no sign of congestion is to be retried, and slows nothing down."""
    async with linked(files, f"errors: [{{every: 1, status: {status}}}]") as wire:
        wire.submit(1)
        await all_ended(wire, 1)
        assert action_for(wire.profile, wire.driver.results[0].status) == Action.RETRY | Action.FAIL_OVER
        assert wire.link.stats().slow_factor == 1.0


@pytest.mark.parametrize(("window", "keeps"), [(5, True), (20, False)])
async def test_row_13_the_window_is_the_carriers(files: Files, window: int, keeps: bool) -> None:
    """Row 13: a carrier that takes five unanswered PDUs refuses none of a link whose window is five."""
    script = "window: {most: 5}\nresponses: {delay_s: 0.05}"
    async with linked(files, script, window=window) as wire:
        wire.submit(2 * window)
        await all_ended(wire, 2 * window)
        assert (refused(wire) == 0) is keeps


@pytest.mark.parametrize(("rate", "keeps"), [(50.0, True), (5000.0, False)])
async def test_row_13_the_rate_counts_pdus(files: Files, rate: float, keeps: bool) -> None:
    """Row 13: a carrier that counts PDUs, a tenth of a second's at once, refuses none of a link with its rate."""
    script = "throttle: {rate_s: 60, status: ESME_RTHROTTLED, burst_s: 0.2}"
    async with linked(files, script, rate_pdus_s=rate) as wire:
        wire.submit(60)
        await all_ended(wire, 60)
        assert (refused(wire) == 0) is keeps


async def test_row_14_one_bind_too_many(files: Files) -> None:
    """Row 14: beyond the carrier's cap a bind is refused, says why, and asks again; those that it took serve."""
    async with linked(files, "binds: {most: 2}", binds=3, wait=False) as wire:

        def bound() -> list[SmppLink]:
            return [link for link in wire.links if link.state is LinkState.BOUND]

        await wire.until(lambda: len(bound()) == 2 and any("fewer binds than `binds`" in why for why in wire.why()))
        wire.submit(2, link=bound()[0])
        wire.submit(2, link=bound()[1])
        await all_ended(wire, 4)
        assert refused(wire) == 0
        await bound()[0].stop(1)
        await wire.until(lambda: len(bound()) == 2)  # the one that was refused takes the place


@pytest.mark.parametrize(("rate", "keeps"), [(50.0, True), (1000.0, False)])
async def test_row_14_binds_share_one_rate(files: Files, rate: float, keeps: bool) -> None:
    """Row 14: a carrier that counts over all binds refuses none of two that keep its rate together."""
    script = "throttle: {rate_s: 60, status: ESME_RTHROTTLED, burst_s: 0.2}"
    async with linked(files, script, binds=2, rate_pdus_s=rate, window=100) as wire:
        wire.submit(30)
        wire.submit(30, link=wire.links[1])
        await all_ended(wire, 60)
        assert (refused(wire) == 0) is keeps


async def test_row_15_silence_is_doubt(files: Files) -> None:
    """Row 15: what is not answered in time is in doubt and is not sent again by the link, which stays bound."""
    script = "responses: {none_every: 2}\nreceipts: {send: false}"
    async with linked(files, script, response_timeout_s=2.0) as wire:
        wire.submit(4)
        await all_ended(wire, 4)
        assert sorted(wire.driver.outcomes().values()) == ["ANSWERED", "ANSWERED", "IN_DOUBT", "IN_DOUBT"]
        assert (len(wire.simulator.received), wire.link.state, wire.link.unanswered) == (4, LinkState.BOUND, 0)
        assert wire.link.stats().in_doubt == 2


async def test_row_15_an_answer_that_comes_too_late(files: Files) -> None:
    """Row 15: an answer after the doubt is told with the carrier's id, and one that is in time is not late."""
    script = "responses: {late_every: 2, late_s: 2.5}\nreceipts: {send: false}\nmessage_ids: hex"
    async with linked(files, script, response_timeout_s=1.5) as wire:
        wire.submit(2)
        await wire.until(lambda: bool(wire.driver.late_results))
        (late,) = wire.driver.late_results
        assert wire.driver.outcomes()[late.key] == "IN_DOUBT"
        assert (late.outcome, late.status) == (Outcome.ANSWERED, 0)
        assert late.message_id == wire.simulator.received[-1].message_id
    async with linked(files, script, response_timeout_s=20.0) as wire:
        wire.submit(2)
        await all_ended(wire, 2)
        assert (wire.driver.late_results, set(wire.driver.outcomes().values())) == ([], {"ANSWERED"})


async def test_row_16_a_carrier_that_does_not_answer_is_left(files: Files) -> None:
    """Row 16: after two enquire_link without an answer the link is given up and made anew."""
    script = f"answers: [{{to: {_ASKED}, with: nothing}}]"
    async with linked(files, script, enquire_link_s=0.1) as wire:
        await wire.until(lambda: any("2 enquire_link were not answered" in why for why in wire.why()))
        first = [seen for seen in wire.simulator.seen if seen.command == _ASKED and seen.connection == "#1"]
        assert len(first) == 2
        await wire.until(lambda: wire.simulator.stats()["binds"] >= 2)


async def test_row_16_a_carrier_that_answers_is_kept(files: Files) -> None:
    """Row 16: as long as each enquire_link is answered the connection stays, however idle."""
    async with linked(files, enquire_link_s=0.05) as wire:
        await wire.until(lambda: sum(seen.command == _ASKED for seen in wire.simulator.seen) >= 6)
        assert (wire.simulator.stats()["binds"], wire.link.state) == (1, LinkState.BOUND)


async def test_row_16_the_carriers_question_is_answered(files: Files) -> None:
    """Row 16: each enquire_link of the carrier gets its answer, bound or not in traffic."""
    async with linked(files, "enquire_link_s: 0.05") as wire:
        await wire.until(lambda: sum(seen.command == "enquire_link_resp" for seen in wire.simulator.seen) >= 3)


async def test_row_16_answers_come_before_deliveries(files: Files) -> None:
    """Row 16: of a response and the receipt that the carrier wrote before it, the response is told first."""
    async with linked(files, "receipts: {before_response: true}") as wire:
        order: list[str] = []
        driver = wire.driver

        def spied(name: str) -> None:
            told = getattr(driver, name)

            def spy(*said: Any) -> None:
                order.append(name)
                told(*said)

            setattr(driver, name, spy)

        spied("on_results")
        spied("on_deliveries")
        wire.submit(1)
        await wire.until(lambda: len(order) == 2)
        assert order == ["on_results", "on_deliveries"]


@pytest.mark.parametrize(("rate", "refuses"), [(5, True), (20_000, False)])
async def test_a_flood_of_deliveries_is_bounded(files: Files, rate: int, refuses: bool) -> None:
    """What a carrier delivers beyond max_inbound_rate is answered for now with a temporary error, and delivered again
    later; answers to submissions are not held up by it."""
    script = "receipts: {retry_s: 0.2}\ninbound: [{from: '4915112345678', to: '80800', text: hi, repeat: 12}]"
    async with linked(files, script, max_inbound_rate=rate, response_timeout_s=5.0) as wire:
        wire.submit(1)
        await all_ended(wire, 1)
        assert wire.driver.outcomes() == {0: "ANSWERED"}
        await wire.until(lambda: len(wire.driver.deliveries) >= 12)
        assert (wire.link.stats().refused_deliveries > 0) is refuses
        answers = [seen.status for seen in wire.simulator.seen if seen.command == "deliver_sm_resp"]
        assert (int(Status.ESME_RX_T_APPN) in answers) is refuses
