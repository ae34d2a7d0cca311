"""Destroying data keys that nobody needs any more: when all that they sealed has been let go of, backups forget it too.

Contents, envelopes and what handsets wrote have keys of their own, which go as each of these goes. Retention goes
through a tenant's messages in the order of their ids, and so in that of their keys. A key for contents whose time was
over before the first message that may still have its content is needed only by what retention has passed over: those
messages are few, and looked at one by one. So it is with envelopes. A key from before keys had a purpose waits for all.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

from gateway.errors import GatewayError, Unavailable
from gateway.privacy.periods import Periods
from gateway.sealing.keyring import Keyring, KeyringUnavailable, Purpose, Selection, WrappedKey
from gateway.store.indexing import KeyFloor, KeyFloors
from gateway.store.retention import Rule, Stage

log = logging.getLogger(__name__)

MARGIN_S = 3600  # clocks differ
_ROUND_S = 3600.0
_FIRST_S = 60.0
_BATCH = 500  # keys that are destroyed at a time
_SECOND = 1_000_000
_WHY = "nothing is kept under it any more"


class Store(Protocol):
    """The part of the store that is needed here."""

    async def key_floors(self, tenant: str, rules: Sequence[Rule], now: int) -> KeyFloors:
        """Return which data keys of a tenant are needed."""


class Destroying(Protocol):
    """What is needed of `gateway.privacy.retiring.Retirement`."""

    async def destroy(self, records: Sequence[WrappedKey], why: str) -> None:
        """Destroy the wraps of keys, on record. Raises Unavailable."""


class KeySweep:
    """Belongs to one event loop; `run` is its task. `now`: microseconds since the Unix epoch."""

    def __init__(
        self,
        *,
        store: Store,
        keyring: Keyring,
        periods: Callable[[], Periods],
        retirement: Destroying,
        now: Callable[[], int],
        node: str = "",
        round_s: float = _ROUND_S,
    ) -> None:
        """`node`: only keys that this node has made, where the keyring has those of others whose messages are
        elsewhere; "" for all."""
        self._store = store
        self._keyring = keyring
        self._periods = periods
        self._retirement = retirement
        self._now = now
        self._node = node
        self._round_s = round_s

    async def run(self) -> None:
        """Sweep until cancelled."""
        await asyncio.sleep(min(_FIRST_S, self._round_s))
        while True:
            try:
                await self.round()
            except GatewayError as error:
                log.warning("keys_not_swept", extra={"why": str(error)})
            await asyncio.sleep(self._round_s)

    async def round(self) -> int:
        """Destroy all keys that nobody needs; how many. Raises Unavailable and what the store raises."""
        records = await self._old()
        destroyed = 0
        for tenant, group in groupby(sorted(records, key=lambda record: record.tenant), lambda record: record.tenant):
            rules = [rule for rule in self._periods().rules([tenant]) if rule.stage != Stage.MESSAGE]
            floors = await self._store.key_floors(tenant, rules, self._now())
            free = [record for record in group if _free(record, floors)]
            for at in range(0, len(free), _BATCH):
                await self._retirement.destroy(free[at : at + _BATCH], _WHY)
            destroyed += len(free)
        return destroyed

    async def _old(self) -> list[WrappedKey]:
        """Return the keys that can be free at all, by their day."""
        last = dt.datetime.fromtimestamp(self._now() / _SECOND, dt.UTC).date()
        which = Selection(last_day=last)

        def read() -> list[WrappedKey]:
            before = self._now() // _SECOND - MARGIN_S
            found = (record for record in self._keyring.records(which) if isinstance(record, WrappedKey))
            return [
                record
                for record in found
                if record.usable_until < before and (not self._node or record.node == self._node)
            ]

        try:
            return await asyncio.to_thread(read)
        except KeyringUnavailable as error:
            raise Unavailable(str(error), reason="KEYS_UNAVAILABLE") from error


def _free(record: WrappedKey, floors: KeyFloors) -> bool:
    """Say whether nothing is kept that a key has sealed."""
    by_purpose: dict[str, KeyFloor] = {
        Purpose.CONTENT: floors.content,
        Purpose.ENVELOPE: floors.envelope,
        Purpose.INBOUND: floors.inbound,
    }
    floor = by_purpose.get(record.purpose, floors.mixed)
    return (record.usable_until + MARGIN_S) * _SECOND < floor.at and record.key_id not in floor.needed
