"""Messages go by their routes: a pipeline with two carriers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from carrier.contract import LinkState
from gateway.audit.codec import decode, split
from gateway.audit.records import MessagesRouted, MessagesSending, Record
from gateway.pipeline.router import Router, Routing
from gateway.pipeline.switches import CarrierSwitches
from gateway.routing.hours import parse_hours
from gateway.routing.routes import Match, Route, Target
from gateway.states import Category, State
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.rig import SECOND, START, Rig, two_carriers
from tests.gateway.pipeline.test_permits import row_of, waiting

PROMOTIONS_BY_ACME = Route(
    name="promotions",
    match=Match(categories=frozenset({int(Category.PROMOTIONAL)})),
    targets=(Target(carrier="acme"),),
)
REST_BY_OTHER = Route(name="rest", targets=(Target(carrier="other"),))


def running(folder: Path, routes: Sequence[Route], **options: Any) -> AbstractAsyncContextManager[tuple[Rig, FakeLink]]:
    """Run a pipeline with these routes and two carriers."""
    return two_carriers(folder, routes=routes, **options)


async def audited(rig: Rig) -> list[Record]:
    """Return all records of the audit."""
    return [decode(octets) for commit in await rig.store.audit_read(0, 1000) for octets in split(commit.records)]


async def test_a_full_carrier_does_not_hold_up_another(tmp_path: Path) -> None:
    """Promotions for acme fill its link and wait; promotions for other, behind them in the same lane, go."""
    routes = [
        Route(name="a", match=Match(prefixes=frozenset({"+4915"})), targets=(Target(carrier="acme"),)),
        Route(name="b", match=Match(prefixes=frozenset({"+49152"})), targets=(Target(carrier="other"),)),
    ]
    async with running(tmp_path, routes) as (rig, other):
        await rig.send(300, Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 16)
        assert len(rig.pipeline.lanes) == 284
        quick = await rig.send(10, Category.PROMOTIONAL, recipient="+4915212345678")
        await rig.until(lambda: len(other.held) == 10)
        other.finish(10)
        for answer in quick:
            await rig.reach(answer.id, State.SUBMITTED)
        assert len(rig.link.held) == 16


async def test_a_carrier_that_is_away_does_not_hold_up_another(tmp_path: Path) -> None:
    """Messages of a route whose only carrier is away wait for it; the others of their lane go."""
    async with running(tmp_path, [PROMOTIONS_BY_ACME, REST_BY_OTHER]) as (rig, other):
        rig.link.state = LinkState.BACKOFF
        await rig.send(50, Category.PROMOTIONAL)
        await rig.send(5, Category.OTP)
        await rig.until(lambda: len(other.held) == 5)
        assert (rig.link.held, rig.pipeline.lanes.sizes()["PROMOTIONAL"]) == ([], 50)
        rig.link.come_back()
        await rig.until(lambda: len(rig.link.held) == 16)


async def test_the_sender_is_rewritten(tmp_path: Path) -> None:
    """The carrier is told the route's sender, the audit says which; the message keeps its own."""
    route = Route(
        name="de", match=Match(countries=frozenset({"DE"})), targets=(Target(carrier="acme", sender="ACMEDE"),)
    )
    async with running(tmp_path, [route]) as (rig, _):
        (accepted,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        assert b"\0ACMEDE\0" in rig.link.held[0].body
        rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)
        assert (await row_of(rig, accepted.id)).sender == "ACME"
        (routed,) = [record for record in await audited(rig) if isinstance(record, MessagesRouted)]
        assert (routed.route, routed.carrier, routed.sender) == ("de", "acme", "ACMEDE")
        assert routed.message_ids == (accepted.id,)


async def test_without_routes_the_audit_is_as_before(tmp_path: Path) -> None:
    """A message that no configured route led is recorded as one that is sent."""
    async with running(tmp_path, []) as (rig, _):
        await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        kinds = {type(record) for record in await audited(rig)}
        assert MessagesSending in kinds
        assert MessagesRouted not in kinds


async def test_a_message_that_no_route_is_for_is_rejected(tmp_path: Path) -> None:
    """It says why, it is counted, and it takes no slot."""
    async with running(tmp_path, [PROMOTIONS_BY_ACME]) as (rig, other):
        (accepted,) = await rig.send()
        await rig.reach(accepted.id, State.REJECTED)
        row = await row_of(rig, accepted.id)
        assert (row.reason_code, row.attempts, row.carrier) == ("NO_ROUTE", 0, "")
        assert (await rig.store.counts())["rejected.no_route"] == 1
        assert (rig.link.most_held, other.most_held, len(rig.pipeline.lanes)) == (0, 0, 0)


async def test_routes_change_under_messages_that_wait(tmp_path: Path) -> None:
    """Messages that wait in memory go by the new routes, all of them, once."""
    async with running(tmp_path, [PROMOTIONS_BY_ACME, REST_BY_OTHER], window=500, memory=5000) as (rig, other):
        rig.link.state = LinkState.BACKOFF
        await rig.send(700, Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.pipeline.lanes) == 700)
        rig.pipeline.use(rig.routing._replace(routes=[REST_BY_OTHER]))
        await rig.until(lambda: len(other.held) == 700)
        assert len({submission.key.message.id for submission in other.held}) == 700  # type: ignore[attr-defined]  # an Attempt


async def test_a_claimed_message_is_routed_by_its_prefix(tmp_path: Path) -> None:
    """What comes back from the store has its envelope opened to find its prefix."""
    long = Route(name="long", match=Match(prefixes=frozenset({"+4915112"})), targets=(Target(carrier="other"),))
    async with running(tmp_path, [long, REST_BY_OTHER], memory=20, window=100) as (rig, other):
        await rig.send(60)
        async with asyncio.timeout(20):
            while len(other.held) < 60:
                await asyncio.sleep(0.002)
        routes = [record.route for record in await audited(rig) if isinstance(record, MessagesRouted)]
        assert set(routes) == {"long"}


async def test_a_target_outside_its_hours_is_passed_over(tmp_path: Path) -> None:
    """By day acme, by night other: the clock of the route's time zone decides, and moves on with the minute."""
    hours = (parse_hours("09:00-17:00"),)
    route = Route(
        name="day",
        targets=(
            Target(carrier="acme", hours=hours, timezone="Asia/Tokyo"),
            Target(carrier="other", priority=2),
        ),
    )
    midnight = START - START % (86_400 * SECOND)
    async with running(tmp_path, [route], now=midnight) as (rig, other):  # 09:00 in Tokyo
        await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.now = midnight + 8 * 3600 * SECOND
        await rig.send()
        await rig.until(lambda: len(other.held) == 1)
        assert len(rig.link.held) == 1


def test_a_number_is_asked_for_only_where_prefixes_are() -> None:
    """Without prefixes in the configuration no envelope is opened to find a route."""
    opened: list[bytes] = []

    def number_of(message: Any) -> str:
        opened.append(message.id)
        return "+4915112345678"

    plain = Router(Routing([REST_BY_OTHER], number_of), CarrierSwitches())
    plan = plain.plan(waiting())
    assert plan is not None
    assert (plan.route, opened) == ("rest", [])
    by_prefix = Route(name="p", match=Match(prefixes=frozenset({"+49151"})), targets=(Target(carrier="acme"),))
    deep = Router(Routing([by_prefix, REST_BY_OTHER], number_of), CarrierSwitches())
    found, given = deep.plan(waiting()), deep.plan(waiting(), "+33123456789")
    assert found is not None
    assert given is not None
    assert (found.route, given.route, len(opened)) == ("p", "rest", 1)
