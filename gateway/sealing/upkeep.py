"""The task that makes data keys before they are needed, renews those in use, and drops those that are needed no more.

Making a key waits for the disk, or for a key service: that is done in a thread, for all tenants at once, when the node
starts and whenever a spare has been taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from gateway.errors import Unavailable
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.key_work import KeyWork, TooSlow
from gateway.sealing.openers import unavailable

log = logging.getLogger(__name__)

_LOOK_S = 60.0
_RETRY_S = 5.0
_SWEEP_S = 5.0
_REST_S = 900.0
_MAKE_S = 60.0  # for the keys of all tenants


class KeyUpkeep:
    """Keeps a spare data key for each tenant. `prepare` once, then `run` as a task."""

    def __init__(
        self,
        keys: DataKeys,
        tenants: Sequence[str],
        *,
        look_s: float = _LOOK_S,
        retry_s: float = _RETRY_S,
        sweep_s: float = _SWEEP_S,
        rest_s: float = _REST_S,
    ) -> None:
        self._keys = keys
        self._tenants = tuple(tenants)
        self._look_s = look_s
        self._retry_s = retry_s
        self._sweep_s = sweep_s
        self._rest_s = rest_s
        self._work = KeyWork(threads=2, deadline_s=_MAKE_S)
        self._taken = asyncio.Event()
        keys.on_taken = self._taken.set

    def use(self, tenants: Sequence[str]) -> None:
        """Keep spares for these tenants from now on."""
        self._tenants = tuple(tenants)

    async def prepare(self) -> None:
        """Make a spare for each tenant that has none. Raises Unavailable."""
        self._taken.clear()
        await self.prepare_for(self._tenants)

    async def prepare_for(self, tenants: Sequence[str]) -> None:
        """Make a spare for each of these that has none: before they may call. Raises Unavailable."""
        wanted = self._keys.wanted(tenants)
        if not wanted:
            return
        try:
            self._keys.keep(await self._work.do(lambda: self._keys.make(wanted)))
        except TooSlow as error:
            self._keys.not_made(len(wanted), error)
            raise unavailable() from error

    async def run(self) -> None:
        """Do so again and again, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._making())
            tasks.create_task(self._sweeping())
            tasks.create_task(self._renewing())

    async def _making(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):  # without a sign, too: a spare may have grown old
                async with asyncio.timeout(self._look_s):
                    await self._taken.wait()
            try:
                await self.prepare()
            except Unavailable:  # logged where it happened; the spares that there are go on serving
                await asyncio.sleep(self._retry_s)
                self._taken.set()

    async def _renewing(self) -> None:
        while True:  # beside the sweeping, which waits for no key service
            await asyncio.sleep(self._sweep_s)
            await self._keys.renew()

    async def _sweeping(self) -> None:
        rested = time.monotonic()
        while True:
            await asyncio.sleep(self._sweep_s)
            self._keys.sweep()
            if time.monotonic() - rested >= self._rest_s:
                self._keys.rest()
                rested = time.monotonic()
