"""Unwrapped keys: for how long they are kept, and what an outage of the key service means for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.errors import KeyDestroyed, StoreCorrupt, Unavailable
from gateway.sealing.data_keys import DataKeys, Use
from gateway.sealing.key_work import KeyWork
from gateway.sealing.keyring import KeyringUnavailable, Tombstone, WrappedKey
from gateway.sealing.openers import RENEWED_AT_ONCE, Openers
from gateway.sealing.providers import ProviderUnavailable, Wrapped
from tests.gateway.sealing.boxes import MemoryKeyring, PlainProvider
from visibility.alerts import Alerts
from visibility.catalogue import NODE

WAIT_S = 20.0


class SlowProvider(PlainProvider):
    """Answers when it is let, and notes which threads ask."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.threads: list[int] = []

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Wait, and return the key."""
        self.threads.append(threading.get_ident())
        self.go.wait(WAIT_S)
        return super().unwrap(wrapped, context)


class Rig:
    """Openers of a node whose key service is elsewhere."""

    def __init__(self, *, deadline_s: float = WAIT_S, lifetime_s: float = 600.0) -> None:
        self.now = 0.0
        self.ring, self.provider = MemoryKeyring(), SlowProvider()
        self.alerts = Alerts(NODE)
        work = KeyWork(deadline_s=deadline_s)
        self.openers = Openers(
            provider=self.provider, keyring=self.ring, lifetime_s=lifetime_s, at_once=False, work=work,
            clock=lambda: self.now, alerts=self.alerts,
        )  # fmt: skip
        self.keys = DataKeys(node="n", provider=self.provider, keyring=self.ring)

    def made(self, count: int) -> list[bytes]:
        """Return the ids of new keys, wrapped and not in memory."""
        return [spare.key_id for spare in self.keys.make([Use(f"t{n}", "content") for n in range(count)]).values()]

    async def look(self) -> None:
        """Do what the upkeep does every 5 seconds."""
        self.now += 5.0
        self.openers.expire()
        await self.openers.renew()

    @property
    def failing(self) -> list[str]:
        """The alerts that are active."""
        return [alert.kind.name for alert in self.alerts.active()]

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Have the provider answer nobody for the length of the block."""
        self.provider.go.clear()
        try:
            yield
        finally:
            self.provider.go.set()


async def test_loaded_beside_the_event_loop() -> None:
    """Keys are fetched in threads, each once for all that wait for it; nothing is fetched that is there."""
    rig = Rig()
    ids = rig.made(3)
    assert rig.openers.missing(ids) == set(ids)
    with rig.stuck():
        waiting = [asyncio.create_task(rig.openers.load(ids)) for _ in range(3)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    await rig.openers.load(ids)
    assert rig.openers.missing(ids) == set()
    assert rig.provider.unwrapped == 3
    assert threading.get_ident() not in rig.provider.threads
    assert {rig.openers.get(key_id).tenant for key_id in ids} == {"t0", "t1", "t2"}


async def test_asked_for_without_waiting() -> None:
    """Who cannot wait is told to come again, and finds the key then."""
    rig = Rig()
    (key_id,) = rig.made(1)
    with pytest.raises(Unavailable):
        rig.openers.get(key_id)
    async with asyncio.timeout(WAIT_S):
        while rig.openers.missing([key_id]):
            await asyncio.sleep(0.001)
    assert rig.openers.get(key_id).tenant == "t0"


async def test_an_outage() -> None:
    """What is in memory goes on for its lifetime and then refuses, with an alert; when the service is back, so is
    all."""
    rig = Rig(lifetime_s=600.0)
    cached, other = rig.made(2)
    await rig.openers.load([cached])
    rig.provider.failure = ProviderUnavailable("the service is away")
    with pytest.raises(Unavailable) as refusal:
        await rig.openers.load([other])
    assert (refusal.value.reason, rig.failing) == ("KEYS_UNAVAILABLE", ["keys_failing"])
    assert "service" not in str(refusal.value)
    rig.now = 599.0
    rig.openers.expire()
    assert rig.openers.get(cached).tenant == "t0"
    rig.now = 600.0
    rig.openers.expire()
    with pytest.raises(Unavailable):
        await rig.openers.load([cached])
    rig.provider.failure = None
    rig.now += 1.0
    await rig.openers.load([cached, other])
    assert (rig.openers.missing([cached, other]), rig.failing) == (set(), [])


async def test_an_outage_at_any_moment() -> None:
    """Whenever the service goes away, what is in use goes on for half of its lifetime at least: it is fetched anew
    while the service is there, a third into its time, without anybody waiting. Looks are 5 s apart, as at work."""
    for begins in (0, 150, 195, 205, 299, 399, 401, 550, 599, 601, 1000, 3601):
        rig = Rig(lifetime_s=600.0)
        ids = rig.made(RENEWED_AT_ONCE + 6)
        await rig.openers.load(ids)
        while rig.now < begins:
            await rig.look()
        rig.provider.failure = ProviderUnavailable("the service is away")
        while rig.now < begins + 300:
            await rig.look()
            assert rig.openers.missing(ids) == set()
        assert {rig.openers.get(key_id).tenant for key_id in ids} == {f"t{n}" for n in range(len(ids))}
        while rig.now < begins + 605:
            await rig.look()
        assert rig.openers.missing(ids) == set(ids), "and no longer than all of it"


async def test_how_often_keys_are_renewed() -> None:
    """Each key in use costs the key service three calls in a lifetime; a service that fails is asked for one key at a
    time, and has seconds of rest; one that nobody uses is not renewed once it has gone."""
    rig = Rig(lifetime_s=600.0)
    ids = rig.made(10)
    await rig.openers.load(ids)
    while rig.now < 3600:
        await rig.look()
    assert 2 * 6 * len(ids) <= rig.provider.unwrapped - len(ids) <= 3 * 6 * len(ids)
    rig.provider.failure, asked = ProviderUnavailable("the service is away"), len(rig.provider.threads)
    begins = rig.now
    while rig.now < begins + 400:
        await rig.look()
    assert len(rig.provider.threads) - asked <= len(ids) + 400 / 5
    assert rig.failing == ["keys_failing"]
    rig.provider.failure = None
    await rig.look()
    await rig.look()
    assert rig.failing == []
    for _ in range(2):
        rig.openers.rest()
    asked = len(rig.provider.threads)
    rig.now += 300
    await rig.look()
    assert (len(rig.openers), len(rig.provider.threads)) == (0, asked)


async def test_renewed_while_it_changes() -> None:
    """A key that was dropped while it was fetched anew does not come back; one that another node has destroyed goes;
    one whose record was altered stays for its time, and is asked for once."""
    rig = Rig(lifetime_s=600.0)
    dropped, destroyed, altered = rig.made(3)
    await rig.openers.load([dropped, destroyed, altered])
    rig.ring.destroy([destroyed], Tombstone(1, "ada", "why"))
    record = rig.ring.find(altered)
    assert isinstance(record, WrappedKey)
    rig.ring.kept[altered] = record._replace(tenant="other")
    rig.now = 300.0
    with rig.stuck():
        renewing = asyncio.create_task(rig.openers.renew())
        while not rig.provider.threads[3:]:
            await asyncio.sleep(0.001)
        rig.openers.drop(dropped)
    await renewing
    assert rig.openers.missing([dropped, destroyed, altered]) == {dropped}
    with pytest.raises(KeyDestroyed):
        rig.openers.get(destroyed)
    assert rig.openers.get(altered).tenant == "t2"
    asked = len(rig.provider.threads)
    await rig.look()
    assert len(rig.provider.threads) == asked


async def test_nobody_is_asked_again_at_once() -> None:
    """After a failure the service has a second of rest, however many ask."""
    rig = Rig()
    ids = rig.made(4)
    rig.ring.failure = KeyringUnavailable("away")
    for key_id in ids:
        with pytest.raises(Unavailable):
            await rig.openers.load([key_id])
    rig.ring.failure = None
    with pytest.raises(Unavailable):
        await rig.openers.load(ids)
    assert rig.provider.threads == []
    rig.now += 1.0
    await rig.openers.load(ids)


async def test_a_service_that_hangs() -> None:
    """A service that answers nobody is waited for until the deadline, with an alert, and threads are bounded."""
    rig = Rig(deadline_s=0.05)
    ids = rig.made(30)
    with rig.stuck():
        for _ in range(3):
            with pytest.raises(Unavailable):
                await rig.openers.load(ids)
            rig.now += 1.0
        assert rig.failing == ["keys_failing"]
        assert len(rig.provider.threads) <= 8
    rig.openers._work = KeyWork(deadline_s=WAIT_S)
    await rig.openers.load(ids)
    assert rig.openers.missing(ids) == set()


async def test_what_cannot_be_had_at_all() -> None:
    """A destroyed and a lost key are no outage: they are told when a field is opened, and remembered for a minute."""
    rig = Rig()
    destroyed, lost = rig.made(2)
    rig.ring.destroy([destroyed], Tombstone(0, "ada", "erasure"))
    del rig.ring.kept[lost]
    await rig.openers.load([destroyed, lost])
    for _ in range(2):
        with pytest.raises(KeyDestroyed) as refused:
            rig.openers.get(destroyed)
        assert len(refused.traceback) == 3  # here, get, _missing: frames of earlier refusals are not kept with it
        with pytest.raises(StoreCorrupt, match="restore"):
            rig.openers.get(lost)
    assert rig.openers.missing([destroyed, lost]) == set()
    rig.now += 60.0
    rig.openers.expire()
    assert rig.openers.missing([destroyed, lost]) == {destroyed, lost}


async def test_one_that_was_dropped() -> None:
    """A key that is dropped is not in memory any more, and dropping it again is no error."""
    rig = Rig()
    (key_id,) = rig.made(1)
    await rig.openers.load([key_id])
    assert len(rig.openers) == 1
    rig.openers.drop(key_id)
    rig.openers.drop(key_id)
    assert (len(rig.openers), rig.openers.missing([key_id])) == (0, {key_id})


def test_bounds() -> None:
    """No room for an opener is refused."""
    with pytest.raises(ValueError, match="opener"):
        Openers(provider=PlainProvider(), keyring=MemoryKeyring(), kept=0)
