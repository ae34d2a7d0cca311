"""The task that makes keys ahead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.errors import Unavailable
from gateway.sealing.data_keys import DataKeys, Use, uses_of
from gateway.sealing.keyring import KeyringUnavailable, WrappedKey
from gateway.sealing.openers import Openers
from gateway.sealing.upkeep import KeyUpkeep
from tests.gateway.sealing.boxes import MemoryKeyring, PlainProvider

WAIT_S = 10.0


class ThreadKeyring(MemoryKeyring):
    """Notes which thread appends."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def append(self, keys: Sequence[WrappedKey]) -> None:
        """Keep records."""
        self.threads.add(threading.get_ident())
        super().append(keys)


class Rig:
    """Keys and their upkeep."""

    def __init__(self, *, lifetime_s: float = 3600.0, rest_s: float = 0.01) -> None:
        self.keyring = ThreadKeyring()
        self.clock = 0.0  # of the openers
        self.provider = provider = PlainProvider()
        self.openers = Openers(provider=provider, keyring=self.keyring, lifetime_s=lifetime_s, clock=lambda: self.clock)
        self.keys = DataKeys(node="n", provider=provider, keyring=self.keyring, openers=self.openers)
        self.upkeep = KeyUpkeep(self.keys, ["a", "b"], look_s=0.01, retry_s=0.01, sweep_s=0.01, rest_s=rest_s)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the task."""
        task = asyncio.create_task(self.upkeep.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for something to become true."""
        async with asyncio.timeout(WAIT_S):
            while not done():
                await asyncio.sleep(0.001)


async def test_prepare() -> None:
    """Before the node takes a call, each tenant has spares; making them did not hold the event loop."""
    rig = Rig()
    await rig.upkeep.prepare()
    assert {(record.tenant, record.purpose) for record in rig.keyring.kept.values()} == set(uses_of(["a", "b"]))
    assert threading.get_ident() not in rig.keyring.threads
    await rig.upkeep.prepare()
    assert len(rig.keyring.kept) == 6


async def test_prepare_fails() -> None:
    """A keyring that cannot be written keeps the node from starting."""
    rig = Rig()
    rig.keyring.failure = KeyringUnavailable("no space left")
    with pytest.raises(Unavailable):
        await rig.upkeep.prepare()


async def test_a_taken_spare_is_replaced() -> None:
    """Each spare that is taken is made anew, in a thread."""
    rig = Rig()
    await rig.upkeep.prepare()
    async with rig.running():
        rig.keys.sealer("a", "content")
        await rig.until(lambda: not rig.keys.wanted(["a", "b"]))
    assert len(rig.keyring.kept) == 7
    assert threading.get_ident() not in rig.keyring.threads


async def test_it_goes_on_after_a_failure() -> None:
    """A failure is tried again until it passes; meanwhile nothing ends."""
    rig = Rig()
    await rig.upkeep.prepare()
    async with rig.running():
        rig.keyring.failure = KeyringUnavailable("no space left")
        rig.keys.sealer("a", "content")
        await asyncio.sleep(0.03)
        assert rig.keys.wanted(["a", "b"]) == [Use("a", "content")]
        rig.keyring.failure = None
        await rig.until(lambda: not rig.keys.wanted(["a", "b"]))


async def test_it_sweeps() -> None:
    """Unwrapped keys that nobody needs leave memory without being asked to."""
    rig = Rig()
    async with rig.running():
        rig.keys.sealer("a", "content")
        await rig.until(lambda: not len(rig.openers))


async def test_it_renews() -> None:
    """What is open is fetched anew by itself, before its time is over, beside the sweeping."""
    rig = Rig(lifetime_s=60.0, rest_s=900.0)
    rig.keys.sealer("a", "content")
    (key_id,) = rig.openers._openers
    async with rig.running():
        rig.clock += 25.0
        await rig.until(lambda: rig.provider.unwrapped == 1)
        rig.clock += 40.0  # beyond its first lifetime
        await rig.until(lambda: rig.provider.unwrapped == 2)
        assert rig.openers.missing([key_id]) == set()
