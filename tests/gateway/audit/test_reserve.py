"""Room is kept for what is accepted, and what is done without it is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.audit.aggregation import SEVERAL
from gateway.audit.recorder import Recorder
from gateway.audit.records import Decision
from gateway.audit.reserve import Reserve, Room
from gateway.audit.reserve_watch import DiskGauge, ReserveWatch, free_on
from gateway.errors import Unavailable
from tests.gateway.audit.samples import decision
from tests.gateway.audit.stores import MemoryStore
from visibility.alerts import Alerts
from visibility.catalogue import NODE

BOUNDS = {"reserve_bytes": 1000, "least_bytes": 100}


def test_bounds() -> None:
    """It goes at the bound, and comes back a tenth above it."""
    reserve = Reserve(**BOUNDS)
    seen = [(free, reserve.look(free)) for free in (1000, 999, 1099, 1100, 99, 109, 110, 1099, 2000)]
    plenty, reserved, spent = Room
    assert [room for _, room in seen] == [
        plenty, reserved, reserved, plenty, spent, spent, reserved, reserved, plenty,
    ]  # fmt: skip
    assert Reserve().look(0) is Room.PLENTY


def test_what_may_be_accepted() -> None:
    """Only without room is anything refused, with the reason that callers know."""
    reserve = Reserve(**BOUNDS)
    for free in (5000, 500):
        reserve.look(free)
        reserve.require()
    reserve.look(50)
    with pytest.raises(Unavailable) as caught:
        reserve.require()
    assert caught.value.reason == "AUDIT_UNAVAILABLE"


def denial(number: int) -> Decision:
    """A denial of a caller of its own."""
    return decision(at=1_000_000 * number, since=1_000_000 * number, caller=f"spiffe://example.org/{number}", times=1)


async def test_denials_leave_the_reserve_alone() -> None:
    """Below the reserve, denials of however many callers become one record with their number; permissions are recorded
    as ever; with room again, each denial is."""
    reserve, store = Reserve(**BOUNDS), MemoryStore()
    recorder = Recorder(store, reserve=reserve)
    reserve.look(500)
    for number in range(200):
        await recorder.record([denial(number)])
    assert store.records == []
    allowed = decision(allowed=True, reason="PERMITTED", times=1)
    await recorder.record([allowed])
    await recorder.finish()
    await recorder.finish()
    several = [record for record in store.records if record != allowed]
    assert [(record.reason, record.times, record.allowed) for record in several if isinstance(record, Decision)] == [
        (SEVERAL, 200, False)
    ]
    assert allowed in store.records
    reserve.look(5000)
    await recorder.record([denial(1000), denial(1001)])
    assert store.records[-2:] == [denial(1000), denial(1001)]


async def test_without_room_nothing_is_written() -> None:
    """Denials are counted in memory and told as ever, permissions are refused; all of it is recorded when there is room
    again."""
    reserve, store = Reserve(**BOUNDS), MemoryStore()
    recorder = Recorder(store, reserve=reserve)
    reserve.look(50)
    await recorder.record([denial(1)])
    with pytest.raises(Unavailable) as caught:
        await recorder.record([decision(allowed=True, reason="PERMITTED", times=1)])
    assert caught.value.reason == "AUDIT_UNAVAILABLE"
    await recorder.finish()
    assert store.records == []
    reserve.look(5000)
    await recorder.finish()
    assert len(store.records) == 2


async def test_the_watch() -> None:
    """Alerts and readiness follow the room, both ways; a disk that cannot be asked has none."""
    free: list[int] = [5000]
    served: list[bool] = []
    alerts = Alerts(NODE)
    reserve = Reserve(**BOUNDS)

    def measure() -> int:
        if free[0] < 0:
            raise OSError(5, "Input/output error")
        return free[0]

    watch = ReserveWatch(reserve, DiskGauge(reserve, measure), served.append, alerts)
    active: list[list[str]] = []
    for now in (5000, 500, 50, -1, 500, 5000):
        free[0] = now
        await watch.look()
        active.append(sorted(alert.labels["what"] for alert in alerts.active()))
    both = ["accepting", "denials"]
    assert active == [[], ["denials"], both, both, ["denials"], []]
    assert served == [True, False, True, True]


async def test_the_watch_runs(tmp_path: Path) -> None:
    """It looks again and again, at the disk that it is told of."""
    looked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def measure() -> int:
        loop.call_soon_threadsafe(looked.set)
        return free_on(tmp_path)

    reserve = Reserve()
    watch = ReserveWatch(reserve, DiskGauge(reserve, measure), lambda _: None, look_s=0.001)
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(30):
        for _ in range(2):
            await looked.wait()
            looked.clear()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
