"""Waking watchers."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api.hub import EventHub
from gateway.errors import Overloaded, Unavailable

LONG_S = 10.0


async def test_wakes_its_tenant() -> None:
    """A commit wakes the watches of its tenants and no others."""
    hub = EventHub()
    with hub.watch("a") as first, hub.watch("a") as second, hub.watch("b") as other:
        for watch in (first, second, other):
            watch.arm()
        hub.committed(frozenset({"a", "c"}))
        assert [await first.wait(LONG_S), await second.wait(LONG_S), await other.wait(0)] == [True, True, False]


async def test_commit_between() -> None:
    """A commit after arming is not missed, however late one waits; arming again forgets it."""
    hub = EventHub()
    with hub.watch("a") as watch:
        watch.arm()
        hub.committed(frozenset({"a"}))
        hub.committed(frozenset({"a"}))
        assert await watch.wait(LONG_S)
        watch.arm()
        assert not await watch.wait(0)


async def test_wakes_a_sleeper() -> None:
    """A watch that sleeps already is woken."""
    hub = EventHub()
    with hub.watch("a") as watch:
        watch.arm()
        sleeper = asyncio.ensure_future(watch.wait(LONG_S))
        await asyncio.sleep(0)
        hub.committed(frozenset({"a"}))
        assert await sleeper


async def test_close() -> None:
    """At the end every watch wakes, and learns it when it arms; so does one that comes later."""
    hub = EventHub()
    with hub.watch("a") as watch:
        watch.arm()
        hub.close()
        assert await watch.wait(LONG_S)
        with pytest.raises(Unavailable) as refused:
            watch.arm()
        assert refused.value.reason == "SHUTTING_DOWN"
    with hub.watch("b") as late, pytest.raises(Unavailable):
        late.arm()


def test_bounds() -> None:
    """There are at most so many watches, of a tenant and in all, and a closed one makes room."""
    hub = EventHub(max_watches=3, max_watches_a_tenant=2)
    with hub.watch("a"):
        with hub.watch("a"):
            with pytest.raises(Overloaded), hub.watch("a"):
                pass
            with hub.watch("b"), pytest.raises(Overloaded), hub.watch("c"):
                pass
        with hub.watch("a"):
            pass
    assert hub._watches == {}
