"""Keeps the caps true: takes up from the store what has been used, and tells of caps that are nearly, or wholly, used.

Alone on its database a node knows all that happens to its caps, and looks only at the start, for new caps, and to be
sure. Beside others it looks every two seconds: what all nodes accept in that time can go beyond a cap, and no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.errors import GatewayError
from gateway.store.contract import Committed
from gateway.store.usage import DAY, By, Usage, UsageFilter
from gateway.usage.caps import CapRules, Caps, Meter, amount_text, period_of
from visibility.alerts import Alerts
from visibility.catalogue import USAGE_CAP_NEAR, USAGE_CAP_REACHED

log = logging.getLogger(__name__)

LOOK_S = 2.0
_ALONE_EVERY = 15  # looks
_BY = By(category=True, country=True)


class UsageReading(Protocol):
    """The part of the store that is needed here."""

    async def usage(self, where: UsageFilter, by: By) -> Sequence[Usage]:
        """Return sums."""


class CapKeeper:
    """`run` is its task. Belongs to one event loop."""

    def __init__(
        self,
        caps: Caps,
        store: UsageReading,
        alerts: Alerts,
        now: Callable[[], int],
        *,
        shared: bool,
    ) -> None:
        """`shared`: other nodes may write to the same database. `now`: microseconds since the Unix epoch."""
        self.caps = caps
        self._store = store
        self._alerts = alerts
        self._now = now
        self._shared = shared

    def committed(self, commit: Committed) -> None:
        """Take what a commit has corrected (`gateway.store.contract.CommitObserver`)."""
        if commit.corrections:
            self.caps.correct(commit.corrections)

    async def use(self, rules: CapRules) -> None:
        """Go by these rules from now on; new caps refuse until what was used is known."""
        self.caps.use(rules, self._now())
        await self.count()

    async def count(self) -> None:
        """Take up what has been used of all caps. What cannot be had now is asked for again by `run`."""
        for tenant in self.caps.tenants:
            try:
                await self._count(tenant)
            except GatewayError as error:
                log.warning("usage_not_counted", extra={"tenant": tenant, "why": str(error)})

    async def run(self) -> None:
        """Look until cancelled."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_S)
            looks += 1
            if self._shared or looks % _ALONE_EVERY == 0 or not all(meter.known for meter in self.caps.meters()):
                await self.count()
            self.look()

    def look(self) -> None:
        """Raise and resolve the alerts of all caps."""
        day, at = self._now() // DAY, self.caps.rules.alert_at
        near: dict[tuple[str, ...], str] = {}
        reached: dict[tuple[str, ...], str] = {}
        for meter in self.caps.meters():
            meter.turn(day)
            if meter.known and meter.used >= meter.limit:
                reached[meter.cap.tenant, meter.label] = _why(meter)
            elif meter.known and meter.used * 100 >= meter.limit * at:
                near[meter.cap.tenant, meter.label] = _why(meter)
        self._alerts.observe(USAGE_CAP_NEAR, near)
        self._alerts.observe(USAGE_CAP_REACHED, reached)

    async def _count(self, tenant: str) -> None:
        """Take up what a tenant has used in the periods of its caps."""
        day = self._now() // DAY
        meters = list(self.caps.meters(tenant))
        for meter in meters:
            meter.turn(day)
        for monthly in (False, True):
            mine = [meter for meter in meters if meter.monthly is monthly]
            if not mine:
                continue
            period = period_of(day, monthly=monthly)
            for meter in mine:
                meter.delta = 0
            rows = await self._store.usage(UsageFilter(*period, tenant), _BY)
            for meter in mine:
                if meter.period == period:
                    meter.counted(_used(meter, rows), shared=self._shared)


def _used(meter: Meter, rows: Sequence[Usage]) -> int:
    mine = [row for row in rows if meter.covers(row.category, row.country)]
    return sum(row.committed if meter.spends else row.accepted - row.released for row in mine)


def _why(meter: Meter) -> str:
    show = amount_text if meter.spends else str
    return f"{show(meter.used)} of {show(meter.limit)} are used"
