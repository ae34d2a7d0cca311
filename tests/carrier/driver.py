"""A driver for the link tests: remembers all that a link tells, and waits for it with a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from carrier.contract import Delivery, Link, LinkState, RequestResult, Submission, SubmitResult
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile, Secret
from carrier.smpp.pdu import encode_submit_sm

BODY = encode_submit_sm(
    source_addr_ton=5, source_addr_npi=0, source_addr=b"ACME", dest_addr_ton=1, dest_addr_npi=1,
    dest_addr=b"4915112345678", esm_class=0, protocol_id=0, priority_flag=0, validity_period=b"",
    registered_delivery=1, data_coding=0, short_message=b"hello",
)  # fmt: skip


class Driver:
    """The listener of the tests. `fails` names callbacks that raise."""

    def __init__(self) -> None:
        self.states: list[tuple[LinkState, str]] = []
        self.results: list[SubmitResult] = []
        self.deliveries: list[Delivery] = []
        self.late_results: list[SubmitResult] = []
        self.request_results: list[RequestResult] = []
        self.rooms = 0
        self.fails: set[str] = set()
        self.changed = asyncio.Event()

    def _told(self, callback: str) -> None:
        self.changed.set()
        if callback in self.fails:
            raise RuntimeError(f"the driver fails in {callback}")

    def on_state(self, link: Link, state: LinkState, why: str) -> None:
        """Remember the state."""
        self.states.append((state, why))
        self._told("on_state")

    def on_results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Remember the results."""
        self.results += results
        self._told("on_results")

    def on_late_results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Remember what came late."""
        self.late_results += results
        self._told("on_late_results")

    def on_request_results(self, link: Link, results: Sequence[RequestResult]) -> None:
        """Remember what became of requests."""
        self.request_results += results
        self._told("on_request_results")

    def on_deliveries(self, link: Link, deliveries: Sequence[Delivery]) -> None:
        """Remember the deliveries."""
        self.deliveries += deliveries
        self._told("on_deliveries")

    def on_room(self, link: Link) -> None:
        """Count."""
        self.rooms += 1
        self._told("on_room")

    def outcomes(self) -> dict[object, str]:
        """Return what each submission came to; one that came back twice fails the test."""
        keys = [result.key for result in self.results]
        assert len(keys) == len(set(keys)), "a submission was reported twice"
        return {result.key: result.outcome.name for result in self.results}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, at most 5 s, until something that was told made `condition` true."""
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_state(self, state: LinkState, times: int = 1) -> str:
        """Wait until the link has entered `state` that often, and return why."""
        await self.until(lambda: sum(1 for entered, _ in self.states if entered is state) >= times)
        return [why for entered, why in self.states if entered is state][times - 1]


def profile_of(port: int, **changes: Any) -> CarrierProfile:
    """Return a profile for the loopback carrier, without TLS unless `changes` say so."""
    settings: dict[str, Any] = {
        "name": "acme", "host": "127.0.0.1", "port": port, "system_id": "user", "password": Secret(b"secret"),
        "tls": None, "window": 10, "rate_pdus_s": 100_000.0, "reconnect_min_s": 0.01, "reconnect_max_s": 0.02,
    }  # fmt: skip
    return CarrierProfile(**(settings | changes))


def batch(count: int, lane: int = 2, first: int = 0) -> list[Submission]:
    """Return submissions numbered from `first`."""
    return [Submission(number, 0, BODY, lane) for number in range(first, first + count)]


@asynccontextmanager
async def running(
    profile: CarrierProfile, pacer: Pacer | None = None, may_write: Callable[[], bool] = lambda: True
) -> AsyncIterator[tuple[SmppLink, Driver]]:
    """Run a link until left; then it is stopped, and has to end."""
    driver = Driver()
    pacer = pacer or Pacer(profile.rate_pdus_s, now_ns=time.monotonic_ns())
    link = SmppLink(profile, 0, driver, pacer, may_write=may_write)
    task = asyncio.create_task(link.run())
    try:
        yield link, driver
    finally:
        async with asyncio.timeout(5):
            await link.stop(0)
            await task
