"""What a node looks at, about once a second, to raise and resolve alerts: carriers, queues, its disk.

What goes wrong in the middle of work (a commit, a key, a reload) is raised where it happens; here is what nobody comes
across by working, or what is an alert only once it has lasted. It reads numbers that others keep, and changes nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from certs.bundle import Bundle
from gateway.telemetry.view import BreakerView, LinkView
from visibility.alerts import Alerts
from visibility.catalogue import (
    BIND_DOWN,
    BUNDLE_EXPIRING,
    CALLS_REFUSED,
    CARRIER_DOWN,
    CARRIER_FAILING,
    DISK_NEARLY_FULL,
    HANDSHAKES_REFUSED,
    MESSAGES_LATE,
    PAYLOAD_KEYS_ENDING,
    RECEIPTS_UNMATCHED,
)
from visibility.core_log import CoreLog
from visibility.surges import Surges

LATE_S = {"OTP": 60.0, "TRANSACTIONAL": 600.0}  # promotional messages may wait for pace and hours as long as they like
MOST_UNMATCHED = 100  # receipts kept without a message; a few wait for the answer that they have overtaken
MANY = 10  # refusals of one reason within a minute
PAYLOAD_KEYS_END_S = 14 * 86_400
LEAST_FREE_BYTES = 256 << 20
LEAST_FREE = 0.02  # of the disk

_LOOK_S = 1.0
_DISK_EVERY = 15  # looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where it is looked. Everything answers from memory."""

    links: Callable[[], Sequence[LinkView]]
    paused: Callable[[], Collection[str]]  # carriers that an operator has switched off
    breakers: BreakerView
    counts: Callable[[], Mapping[str, int]]  # the store's counts, some seconds old
    oldest: Callable[[], Mapping[str, int]]  # by lane, when the oldest message in memory was due; microseconds
    bundles: Callable[[], Sequence[Bundle]]
    payload_keys_end: Callable[[], int]  # when the last of them does; microseconds, 0 where there are none
    refused: Callable[[], Mapping[str, int]]  # calls of nobody, or of somebody who may not; by reason
    core_log: CoreLog | None
    data_dir: Path
    now: Callable[[], int]  # microseconds since the Unix epoch


class Conditions:
    """Looks, and tells the alerts."""

    def __init__(self, sources: Sources, alerts: Alerts) -> None:
        self._sources = sources
        self._alerts = alerts
        self._looks = 0
        self._handshakes, self._calls = Surges(MANY), Surges(MANY)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            if not self._looks % _DISK_EVERY:
                await self._look_at_disk()
            self._looks += 1
            self.look()
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Look at everything once, but the disk."""
        self._carriers()
        self._queues()
        self._refusals()
        self._bundles()
        self._payload_keys()
        self._alerts.look()

    def _carriers(self) -> None:
        down: dict[str, list[str]] = {}
        up: set[str] = set()
        for link in self._sources.links():
            carrier, _, bind = link.name.rpartition("/")
            if link.state == "bound":
                up.add(carrier)
            else:
                down.setdefault(carrier, []).append(bind)
        for carrier in self._sources.paused():
            down.pop(carrier, None)
        states = self._sources.breakers.states()
        self._alerts.observe(CARRIER_DOWN, {(name,): "" for name in down if name not in up})
        self._alerts.observe(
            BIND_DOWN, {(name, bind): "" for name, binds in down.items() if name in up for bind in binds}
        )
        self._alerts.observe(
            CARRIER_FAILING,
            {(name,): f"the breaker is {state}" for name, state in states.items() if state != "closed"},
        )

    def _queues(self) -> None:
        now, counts, oldest = self._sources.now(), self._sources.counts(), self._sources.oldest()
        late: dict[tuple[str, ...], str] = {}
        for category, limit_s in LATE_S.items():
            stored = counts.get(f"oldest_due_at.WAITING_{category}", now)
            waited_s = (now - min(stored, oldest.get(category, now))) / 1_000_000
            if waited_s > limit_s:
                late[(category,)] = f"the oldest has been due for {waited_s / 60:.0f} minutes"
        self._alerts.observe(MESSAGES_LATE, late)
        unmatched = counts.get("receipts.unmatched", 0)
        self._alerts.observe(RECEIPTS_UNMATCHED, {(): f"{unmatched} are kept"} if unmatched >= MOST_UNMATCHED else {})

    def _refusals(self) -> None:
        sources, now = self._sources, self._sources.now()
        if sources.core_log is not None:
            sources.core_log.look()
            for reason, more in self._handshakes.look(sources.core_log.failed, now).items():
                self._alerts.raise_alert(HANDSHAKES_REFUSED, reason, why=f"{more} within a minute")
        for reason, more in self._calls.look(sources.refused(), now).items():
            self._alerts.raise_alert(CALLS_REFUSED, reason, why=f"{more} within a minute")

    def _bundles(self) -> None:
        now = dt.datetime.fromtimestamp(self._sources.now() / 1_000_000, dt.UTC)
        ending: dict[tuple[str, ...], str] = {}
        for bundle in self._sources.bundles():
            last = max(bundle.authorities, key=lambda authority: authority.not_valid_after_utc, default=None)
            if last is not None and last.not_valid_after_utc - now < _warning(last):
                ending[(bundle.trust_domain.name,)] = f"it expires at {_moment(last.not_valid_after_utc)}"
        self._alerts.observe(BUNDLE_EXPIRING, ending)

    def _payload_keys(self) -> None:
        end = self._sources.payload_keys_end()
        ending = end and end - self._sources.now() < PAYLOAD_KEYS_END_S * 1_000_000
        why = f"it ends at {_moment(dt.datetime.fromtimestamp(end / 1_000_000, dt.UTC))}"
        self._alerts.observe(PAYLOAD_KEYS_ENDING, {(): why} if ending else {})

    async def _look_at_disk(self) -> None:
        try:
            usage = await asyncio.to_thread(shutil.disk_usage, self._sources.data_dir)
        except OSError as error:
            self._alerts.raise_alert(DISK_NEARLY_FULL, why=f"the disk cannot be asked: {error.strerror}")
            return
        if usage.free < max(LEAST_FREE_BYTES, usage.total * LEAST_FREE):
            self._alerts.raise_alert(DISK_NEARLY_FULL, why=f"{usage.free / (1 << 30):.2f} GiB are free")
        else:
            self._alerts.resolve(DISK_NEARLY_FULL)


def _warning(authority: x509.Certificate) -> dt.timedelta:
    """Return how long before its end an authority is worth a ticket: a month, or a third of a shorter life."""
    life = authority.not_valid_after_utc - authority.not_valid_before_utc
    return min(dt.timedelta(days=30), life / 3)


def _moment(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
