"""Flow over loopback sockets: slowing down, late answers, the rate of deliveries, and the figures of a link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from carrier.contract import LinkState, Outcome, SubmitResult
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.smpp.constants import Status
from carrier.statuses import Action, with_overrides
from tests.carrier.driver import Driver, batch, profile_of, running
from tests.carrier.smsc import DELIVER, RESP, SUBMIT, Smsc, listening, pdu

BOUND = LinkState.BOUND
RECEIPT = bytes(7) + b"\x04" + bytes(9)  # a deliver_sm body with esm_class 4


@asynccontextmanager
async def two_links(smsc: Smsc, rate: float) -> AsyncIterator[tuple[list[SmppLink], list[Driver], Pacer]]:
    """Run two links of one account: they share its pace."""
    pacer = Pacer(rate, now_ns=time.monotonic_ns())
    profile = profile_of(smsc.port, rate_pdus_s=rate, window=500)
    drivers = [Driver(), Driver()]
    links = [SmppLink(profile, n, driver, pacer) for n, driver in enumerate(drivers)]
    async with asyncio.TaskGroup() as tasks:
        for link in links:
            tasks.create_task(link.run())
        try:
            for driver in drivers:
                await driver.until_state(BOUND)
            yield links, drivers, pacer
        finally:
            for link in links:
                await link.stop(0)


async def test_two_binds_share_one_smooth_rate() -> None:
    """Row 14: whatever both binds have to send, no span of time carries more than its rate and a tenth of a second."""
    rate, each = 400.0, 60
    async with listening() as smsc, two_links(smsc, rate) as (links, drivers, _):
        started = time.monotonic()
        for link in links:
            link.submit(batch(each))
        arrived: list[tuple[float, int]] = []
        for number, driver in enumerate(drivers):
            await driver.until(lambda driver=driver: len(driver.results) == each)  # type: ignore[misc]
            arrived.append((time.monotonic(), number))
        took = max(at for at, _ in arrived) - started
        assert smsc.count(SUBMIT) == 2 * each
        assert took >= (2 * each - rate / 10) / rate - 0.01


@pytest.mark.parametrize("status", [Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL])
async def test_throttling_slows_the_account_down(status: Status) -> None:
    """Row 12: a carrier that throttles one bind halves the pace of all, once for all that was on its way."""
    async with listening() as smsc, two_links(smsc, 1000.0) as (links, drivers, pacer):
        smsc.answering = False
        links[0].submit(batch(20))
        await smsc.until(lambda: smsc.count(SUBMIT) == 20)
        for peer in smsc.peers:
            peer.answer(status=status)
        await drivers[0].until(lambda: len(drivers[0].results) == 20)
        assert pacer.cuts == 1
        assert 0.5 <= pacer.slow_factor < 0.6
        for link in links:
            assert link.stats().slow_factor < 1.0
            assert link.stats().rate_pdus_s < 1000.0


async def test_a_profile_may_not_slow_down() -> None:
    """Row 19: where the profile says that a status is no sign of congestion, the pace stays."""
    quiet = with_overrides({int(Status.ESME_RTHROTTLED): Action.RETRY})
    async with listening() as smsc, running(profile_of(smsc.port, statuses=quiet)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(2))
        await smsc.until(lambda: smsc.count(SUBMIT) == 2)
        smsc.peers[0].answer(status=Status.ESME_RTHROTTLED)
        await driver.until(lambda: len(driver.results) == 2)
        assert link.stats().slow_factor == 1.0


@pytest.mark.parametrize(("state", "factor"), [(10, 1.0), (85, 1.0), (95, 0.875), (100, 0.5)])
async def test_congestion_state_slows_down(state: int, factor: float) -> None:
    """Row 24: a successful answer that tells of congestion cuts the pace a little, or in half."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await smsc.until(lambda: smsc.count(SUBMIT) == 1)
        body = b"id\0\x04\x28\0\x01" + bytes([state])
        smsc.peers[0].transport.write(pdu(SUBMIT | RESP, smsc.log[-1][2], body))
        await driver.until(lambda: bool(driver.results))
        await asyncio.sleep(0)
        assert link.stats().slow_factor == pytest.approx(factor, abs=0.05)
        assert driver.results[0].message_id == "id"


async def test_a_late_answer_is_told_after_the_doubt() -> None:
    """Row 15: a submission without an answer in time is in doubt; the answer that comes after all is told once."""
    async with listening() as smsc, running(profile_of(smsc.port, response_timeout_s=0.5)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await driver.until(lambda: driver.outcomes() == {0: "IN_DOUBT"})
        sequence = smsc.peers[0].unanswered[0]
        smsc.peers[0].transport.write(pdu(SUBMIT | RESP, sequence, b"late\0") * 2)
        await driver.until(lambda: bool(driver.late_results))
        smsc.peers[0].unanswered.clear()
        smsc.answering = True
        link.submit(batch(1, first=1))
        await driver.until(lambda: driver.outcomes() == {0: "IN_DOUBT", 1: "ANSWERED"})
        assert driver.late_results == [SubmitResult(0, 0, Outcome.ANSWERED, 0, "late")]
        stats = link.stats()
        assert (stats.late, stats.in_doubt, stats.unmatched_responses, stats.answered) == (1, 1, 2, {0: 1})


async def test_deliveries_beyond_the_rate_do_not_hold_up_answers() -> None:
    """A flood of deliveries is refused for now beyond the bound, and the answer behind it still counts."""
    async with listening() as smsc, running(profile_of(smsc.port, max_inbound_rate=5)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await smsc.until(lambda: smsc.count(SUBMIT) == 1)
        flood = b"".join(pdu(DELIVER, n, RECEIPT) for n in range(100, 140))
        smsc.peers[0].transport.write(flood + pdu(SUBMIT | RESP, smsc.peers[0].unanswered[0], b"id\0"))
        await driver.until(lambda: driver.outcomes() == {0: "ANSWERED"})
        await smsc.until(lambda: smsc.count(DELIVER | RESP) >= 30)
        refused = [entry for entry in smsc.log if entry[0] == DELIVER | RESP]
        assert {status for _, status, _, _ in refused} == {Status.ESME_RX_T_APPN}
        assert len(driver.deliveries) + len(refused) == 40
        assert 5 <= len(driver.deliveries) <= 10
        assert link.stats().refused_deliveries == len(refused)


async def test_the_figures_of_a_link() -> None:
    """What went, what came, how long it took, and how many connections it needed."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        before = link.stats()
        assert (before.round_trip_s, before.answered, before.binds[0].bound_for_s) == (0.0, {0: 0}, None)
        await driver.until_state(BOUND)
        smsc.answering = False
        link.submit(batch(6))
        await smsc.until(lambda: smsc.count(SUBMIT) == 6)
        smsc.peers[0].answer(2)
        smsc.peers[0].answer(3, status=Status.ESME_RINVDSTADR)
        smsc.peers[0].transport.write(pdu(DELIVER, 5, RECEIPT))
        await driver.until(lambda: len(driver.results) == 5 and len(driver.deliveries) == 1)
        stats = link.stats()
        assert stats.round_trip_s > 0
        assert (stats.submitted, stats.answered, stats.deliveries) == (6, {0: 2, 11: 3}, 1)
        assert (stats.window, stats.unanswered, stats.staged, stats.requests_waiting) == (10, 1, 0, 0)
        assert (stats.binds[0].bound_for_s or 0.0) > 0
        smsc.peers[0].transport.abort()
        await driver.until_state(BOUND, 2)
        assert (link.stats().in_doubt, link.stats().binds[0].connections) == (1, 2)
