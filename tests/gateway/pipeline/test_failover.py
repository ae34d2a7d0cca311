"""When a message goes by another carrier than its first: a pipeline with two carriers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from carrier.contract import LinkState, Outcome
from carrier.smpp.constants import Status
from gateway.routing.breaker import BreakerRules
from gateway.states import Category, State
from tests.gateway.pipeline.rig import SECOND, Rig
from tests.gateway.pipeline.test_permits import row_of
from tests.gateway.pipeline.test_routes import running

PATIENCE = {int(Category.OTP): 3 * SECOND}
THROTTLED, SYSTEM_ERROR = int(Status.ESME_RTHROTTLED), int(Status.ESME_RSYSERR)


async def counted(rig: Rig, cause: str, times: int = 1) -> None:
    """Let the pipeline work until a cause has been counted; at most 10 s."""
    async with asyncio.timeout(10):
        while (await rig.store.counts()).get(cause, 0) != times:
            await asyncio.sleep(0.002)


async def test_a_link_that_is_lost(tmp_path: Path) -> None:
    """What was written is in doubt, and resent by the second carrier; what comes after it goes there at once."""
    async with running(tmp_path, []) as (rig, other):
        (otp,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.lose()
        await rig.until(lambda: len(other.held) == 1)
        other.finish(1)
        await rig.reach(otp.id, State.SUBMITTED)
        assert (await row_of(rig, otp.id)).carrier == "other"
        await counted(rig, "resend.no_answer")
        await rig.send()
        await rig.until(lambda: len(other.held) == 1)
        assert rig.pipeline.router.passed_over == {("acme", "away"): 1}


async def test_a_carrier_that_throttles_is_followed_by_the_next_at_once(tmp_path: Path) -> None:
    """No wait while another carrier can take it; when that one is busy as well, the message waits and comes around."""
    async with running(tmp_path, []) as (rig, other):
        (otp,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1, status=THROTTLED)
        await rig.until(lambda: len(other.held) == 1)
        await counted(rig, "failover.throttled")
        other.finish(1, status=THROTTLED)
        await counted(rig, "failover.throttled", 2)
        assert not rig.link.held
        rig.now += 61 * SECOND
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(otp.id, State.SUBMITTED)
        row = await row_of(rig, otp.id)
        assert (row.carrier, row.attempts) == ("acme", 3)


async def test_a_message_the_first_carrier_may_not_send_goes_by_the_second(tmp_path: Path) -> None:
    """A sender that is not registered there is refused there, and taken here; a bad number is refused for good."""
    async with running(tmp_path, []) as (rig, other):
        (otp,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1, status=int(Status.ESME_RINVSRCADR))
        await rig.until(lambda: len(other.held) == 1)
        other.finish(1, status=int(Status.ESME_RINVDSTADR))
        await rig.reach(otp.id, State.REJECTED)
        assert (await row_of(rig, otp.id)).attempts == 2


async def test_an_otp_does_not_wait_for_a_full_carrier(tmp_path: Path) -> None:
    """The first carrier is there and has no room: after its patience the OTP goes by the second, promotions stay."""
    async with running(tmp_path, [], patience=PATIENCE) as (rig, other):
        await rig.send(20)
        await rig.send(20, Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 20)
        waits = await rig.send(3)
        await rig.until(lambda: rig.pipeline.lanes.sizes()["OTP"] == 3)
        assert not other.held
        rig.now += 3 * SECOND + 1
        await rig.until(lambda: len(other.held) == 3)
        assert {submission.key.message.id for submission in other.held} == {answer.id for answer in waits}  # type: ignore[attr-defined]  # an Attempt
        assert rig.pipeline.lanes.sizes() == {"OTP": 0, "TRANSACTIONAL": 0, "PROMOTIONAL": 20}
        assert rig.pipeline.router.passed_over == {("acme", "waited"): 3}


async def test_only_those_that_have_waited_go(tmp_path: Path) -> None:
    """Of a queue, the old ones fail over and the new ones wait on."""
    async with running(tmp_path, [], patience=PATIENCE) as (rig, other):
        await rig.send(20)
        await rig.until(lambda: len(rig.link.held) == 20)
        await rig.send(4)
        rig.now += 2 * SECOND
        await rig.send(5)
        await rig.until(lambda: rig.pipeline.lanes.sizes()["OTP"] == 9)
        rig.now += 2 * SECOND
        await rig.until(lambda: len(other.held) == 4)
        assert rig.pipeline.lanes.sizes()["OTP"] == 5


async def test_a_failing_carrier_is_left_alone_and_probed(tmp_path: Path) -> None:
    """Errors open its breaker: everything goes by the second; after a while probes go, and good answers close it."""
    rules = {"acme": BreakerRules(failures=5, open_for=10 * SECOND, probes=2)}
    async with running(tmp_path, [], breakers=rules) as (rig, other):
        await rig.send(5)
        await rig.until(lambda: len(rig.link.held) == 5)
        rig.link.finish(5, status=SYSTEM_ERROR)
        await rig.until(lambda: len(other.held) == 5)
        await rig.send(3)
        await rig.until(lambda: len(other.held) == 8)
        assert rig.pipeline.router.breakers.states()["acme"] == "open"
        other.finish(8)
        rig.now += 11 * SECOND
        await rig.send(4)
        await rig.until(lambda: len(rig.link.held) == 2)
        assert rig.pipeline.router.breakers.states()["acme"] == "half-open"
        await rig.until(lambda: len(other.held) == 2)
        rig.link.finish(2)
        await rig.until(lambda: rig.pipeline.router.breakers.states()["acme"] == "closed")
        await rig.send(5)
        await rig.until(lambda: len(rig.link.held) == 5)


async def test_a_failed_probe_is_sent_elsewhere(tmp_path: Path) -> None:
    """A probe that fails goes by the second carrier, and the breaker opens again."""
    rules = {"acme": BreakerRules(failures=5, open_for=10 * SECOND, probes=2)}
    async with running(tmp_path, [], breakers=rules) as (rig, other):
        await rig.send(5)
        await rig.until(lambda: len(rig.link.held) == 5)
        rig.link.finish(5, status=SYSTEM_ERROR)
        await rig.until(lambda: len(other.held) == 5)
        other.finish(5)
        rig.now += 11 * SECOND
        await rig.send(4)
        await rig.until(lambda: len(rig.link.held) == 2)
        rig.link.finish(1, status=SYSTEM_ERROR)
        await rig.until(lambda: len(other.held) == 3)
        assert rig.pipeline.router.breakers.states()["acme"] == "open"


async def test_what_a_failing_carrier_holds_back_is_taken_from_it(tmp_path: Path) -> None:
    """When its breaker opens, its link gives back what is staged."""
    rules = {"acme": BreakerRules(failures=5)}
    async with running(tmp_path, [], breakers=rules) as (rig, _):
        await rig.send(5)
        await rig.until(lambda: len(rig.link.held) == 5)
        rig.link.finish(4, status=SYSTEM_ERROR)
        assert rig.link.withdrawn == 0
        rig.link.finish(1, status=SYSTEM_ERROR)
        assert rig.link.withdrawn == 1


async def test_a_slow_carrier_is_not_given_more_than_it_can_send(tmp_path: Path) -> None:
    """Five PDUs a second: five are with the link, whatever its window; an OTP that waits goes by the second carrier."""
    async with running(tmp_path, [], patience=PATIENCE, window=100) as (rig, other):
        rig.link.rate, rig.link.writes = 5.0, 0
        await rig.send(50, Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 4)
        await rig.send(3)
        await rig.until(lambda: len(rig.link.held) == 5)
        rig.now += 4 * SECOND
        await rig.until(lambda: len(other.held) == 2)
        assert (rig.link.most_held, rig.pipeline.lanes.sizes()["PROMOTIONAL"]) == (5, 46)


async def test_an_otp_behind_a_silent_window_is_taken_back(tmp_path: Path) -> None:
    """The window is full and nothing is answered for as long as an OTP waits: what is staged goes elsewhere, and the
    link gets nothing more until it answers."""
    async with running(tmp_path, [], patience=PATIENCE, window=4) as (rig, other):
        rig.link.writes = 4
        await rig.send(8)
        await rig.until(lambda: len(rig.link.held) == 8)
        rig.now += 4 * SECOND
        await rig.until(lambda: rig.link.withdrawn == 1)
        await rig.until(lambda: rig.pipeline.lanes.sizes()["OTP"] == 4)
        rig.now += 4 * SECOND
        await rig.until(lambda: len(other.held) == 4)
        rig.link.finish(1)
        await rig.send(1)
        await rig.until(lambda: len(rig.link.held) == 4)


async def test_parts_are_never_divided_among_carriers(tmp_path: Path) -> None:
    """One of three parts taken, two throttled: the rest goes by the same carrier, though the other one is free."""
    async with running(tmp_path, []) as (rig, other):
        (long,) = await rig.send(text="x" * 400)
        await rig.until(lambda: len(rig.link.held) == 3)
        first = rig.link.finish(1)
        rig.link.finish(2, status=THROTTLED)
        await counted(rig, "retry.throttled")
        rig.now += 61 * SECOND
        await rig.until(lambda: len(rig.link.held) == 2)
        rest = rig.link.finish(2)
        await rig.reach(long.id, State.SUBMITTED)
        row = await row_of(rig, long.id)
        assert (row.carrier_ids.split("\n"), row.carrier, other.most_held) == (first + rest, "acme", 0)


async def test_a_half_sent_message_waits_for_its_carrier_and_then_goes_whole(tmp_path: Path) -> None:
    """The carrier that has a part of it is away: within the patience nothing moves; then all parts go by the other, and
    that it may arrive twice is counted."""
    async with running(tmp_path, [], patience=PATIENCE) as (rig, other):
        (long,) = await rig.send(text="x" * 400)
        await rig.until(lambda: len(rig.link.held) == 3)
        rig.link.finish(1)
        rig.link.state = LinkState.BACKOFF
        rig.link.finish(2, outcome=Outcome.NOT_WRITTEN)
        await rig.until(lambda: rig.pipeline.lanes.sizes()["OTP"] == 1)
        assert not other.held
        rig.now += 4 * SECOND
        await rig.until(lambda: len(other.held) == 3)
        assert [submission.part for submission in other.held] == [0, 1, 2]
        other.finish(3)
        await rig.reach(long.id, State.SUBMITTED)
        assert (await row_of(rig, long.id)).carrier == "other"
        await counted(rig, "resend.other_carrier")


async def test_failing_over_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Which carrier is next is in the store: a node that starts anew goes on with it."""
    async with running(tmp_path, []) as (rig, other):
        other.state = LinkState.BACKOFF
        (otp,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.state = LinkState.BACKOFF
        rig.link.finish(1, status=THROTTLED)
        await counted(rig, "failover.throttled")
        now = rig.now
    async with running(tmp_path, [], now=now + SECOND) as (rig, other):
        await rig.until(lambda: len(other.held) == 1)
        assert rig.link.most_held == 0
        other.finish(1)
        await rig.reach(otp.id, State.SUBMITTED)
