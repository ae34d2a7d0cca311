"""Carriers that an operator has switched off, and links that come and go while the pipeline runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from carrier.contract import LinkListener, LinkState
from gateway.pipeline.berths import Berth
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.router import Router, Routing
from gateway.pipeline.switches import CarrierSwitches
from gateway.states import Category, State
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.rig import running
from tests.gateway.pipeline.test_permits import waiting


class _Nobody(LinkListener):
    """Listens to nothing."""


def berths() -> tuple[Berth, Berth]:
    """Return a link of each of two carriers."""
    listener = _Nobody()  # type: ignore[abstract]  # nothing is told here
    return Berth(FakeLink(listener, carrier="acme")), Berth(FakeLink(listener, carrier="other"))


def routed(first: Berth, second: Berth, switches: CarrierSwitches) -> Callable[[], tuple[list[str], str]]:
    """Return a router of these links, as a function that says which carriers are offered a message, and which of all
    is chosen for it when a policy denies the first."""
    router = Router(Routing((), lambda message: ""), switches)
    router.serve((first, second))
    lanes = Lanes(10)
    plan = router.plan(waiting())
    assert plan is not None
    lanes[Category.OTP].add(waiting(), plan)

    def look() -> tuple[list[str], str]:
        chosen = router.choose_among(plan, {"acme", "other"}, Category.OTP, 1, 0)
        return [carrier for carrier, _ in router.offers(lanes, 0)], chosen.carrier if chosen else ""

    return look


def test_a_closed_carrier_is_passed_over() -> None:
    """What is switched off is given nothing, and the next carrier takes it; switched on again, it comes first."""
    switches = CarrierSwitches()
    look = routed(*berths(), switches)
    assert look() == (["acme"], "acme")
    switches.close("acme")
    assert look() == (["other"], "other")
    switches.close("other")
    assert look() == ([], "")
    switches.open("acme")
    switches.open("acme")  # again: nothing changes
    assert look() == (["acme"], "acme")


def test_a_leaving_link_is_passed_over() -> None:
    """A link that is about to be stopped is given nothing, though it is still bound."""
    first, second = berths()
    look = routed(first, second, CarrierSwitches())
    first.leaving = True
    assert look() == (["other"], "other")


async def test_links_come_and_go(tmp_path: Path) -> None:
    """A withdrawn link is stopped and gets nothing more; what it held goes on by a link that is added, and the slots
    of the one that stays are kept."""
    async with running(tmp_path) as rig:
        await rig.until(lambda: len(rig.pipeline.status()) == 1)
        stays = FakeLink(rig.pipeline, carrier="other")
        rig.pipeline.serve([rig.link, stays])
        (first,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        await rig.pipeline.withdraw([rig.link], 5.0)
        assert rig.link.state is LinkState.BACKOFF
        assert [status.name for status in rig.pipeline.status()] == ["other/0"]
        await rig.until(lambda: len(stays.held) == 1)  # what was in doubt is sent again, as OTP are
        anew = FakeLink(rig.pipeline)
        rig.pipeline.serve([anew, stays])
        await rig.send()
        await rig.until(lambda: len(anew.held) == 1)
        assert [(status.name, status.slots) for status in rig.pipeline.status()] == [("acme/0", 1), ("other/0", 1)]
        stays.finish(1)
        await rig.reach(first.id, State.SUBMITTED)


async def test_a_pause_holds_messages_back(tmp_path: Path) -> None:
    """While the only carrier is switched off its link stays bound and gets nothing; opened, it gets what has waited."""
    async with running(tmp_path) as rig:
        rig.switches.close("acme")
        (waits,) = await rig.send()
        await rig.until(lambda: rig.pipeline.lanes.sizes()["OTP"] == 1)
        assert rig.link.state is LinkState.BOUND
        assert not rig.link.held
        assert await rig.state(waits.id) is State.ACCEPTED
        rig.switches.open("acme")
        rig.pipeline.offered()
        await rig.until(lambda: len(rig.link.held) == 1)
