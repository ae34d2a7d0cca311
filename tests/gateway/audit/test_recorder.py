"""A decision is recorded, or counted, or the call that waits for it fails."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from gateway.audit import recorder as module
from gateway.audit.fields import Malformed
from gateway.audit.recorder import Recorder
from gateway.audit.records import Decision
from gateway.errors import Overloaded, StoreUnavailable, Unavailable
from tests.gateway.audit.samples import AT, decision
from tests.gateway.audit.stores import MemoryStore

SECOND = 1_000_000


def at(seconds: float, **fields: object) -> Decision:
    """Return a denial at a time."""
    now = AT + round(seconds * SECOND)
    return decision(at=now, since=now, **fields)


async def test_first_ones_are_recorded_the_rest_counted() -> None:
    """So many denials of a caller have their own record; then they are counted, and the count is recorded."""
    store = MemoryStore()
    recorder = Recorder(store, denials_each=3)
    for n in range(10):
        await recorder.record([at(n / 100)])
    await recorder.record([at(0.5, caller="spiffe://example.org/other")])
    assert len(store.records) == 4
    await recorder.finish()
    (counted,) = store.records[4:]
    assert isinstance(counted, Decision)
    assert (counted.times, counted.since, counted.at) == (7, at(0.03).at, at(0.09).at)
    await recorder.finish()
    assert len(store.records) == 5


async def test_callers_that_nobody_knows() -> None:
    """Where nobody was recognised, the address has the share."""
    store = MemoryStore()
    recorder = Recorder(store, denials_each=1)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        await recorder.record([decision(caller="", address=address)])
    assert [record.address for record in store.records if isinstance(record, Decision)] == ["192.0.2.1", "192.0.2.2"]


async def test_permissions_by_kind() -> None:
    """The first permission of each kind in a window is recorded, the others counted; denials count apart."""
    store = MemoryStore()
    recorder = Recorder(store, denials_each=1)
    for n in range(3):
        for method in ("a", "b"):
            await recorder.record([at(n, allowed=True, method=method)])
    await recorder.record([at(3)])
    assert len(store.records) == 3
    await recorder.finish()
    counted = [record for record in store.records[3:] if isinstance(record, Decision)]
    assert sorted((record.method, record.times) for record in counted) == [("a", 2), ("b", 2)]


async def test_window_ends() -> None:
    """In the next window, the share is there again."""
    store = MemoryStore()
    recorder = Recorder(store, denials_each=1, window_s=10)
    for seconds in (0, 5, 10, 15):
        await recorder.record([at(seconds)])
    assert len(store.records) == 2


@pytest.mark.parametrize("failure", [StoreUnavailable("the disk is full"), Overloaded("busy", retry_after_s=1)])
async def test_nothing_recorded_nothing_told(failure: Exception) -> None:
    """When the record cannot be written, the call is to be refused; the decision is not lost."""
    store = MemoryStore()
    recorder = Recorder(store)
    store.failure = failure
    with pytest.raises(Unavailable) as error:
        await recorder.record([at(0)])
    assert error.value.reason == "AUDIT_UNAVAILABLE"
    assert "disk" not in str(error.value)
    store.failure = None
    await recorder.finish()
    assert [record.times for record in store.records if isinstance(record, Decision)] == [1]


async def test_counted_ones_fail_too() -> None:
    """While the audit cannot be written, not even what would only be counted goes on; afterwards it does."""
    store = MemoryStore()
    recorder = Recorder(store, denials_each=1)
    await recorder.record([at(0)])
    await recorder.record([at(1)])  # counted
    store.failure = StoreUnavailable("the disk is full")
    with pytest.raises(Unavailable):
        await recorder.record([at(2, caller="spiffe://example.org/other")])
    with pytest.raises(Unavailable):
        await recorder.record([at(3)])
    await recorder.finish()
    with pytest.raises(Unavailable):
        await recorder.record([at(4)])
    store.failure = None
    await recorder.finish()
    await recorder.record([at(5)])
    await recorder.finish()
    found = [record for record in store.records if isinstance(record, Decision)]
    assert sum(record.times for record in found) == 6


async def test_overload_passes() -> None:
    """A store that is busy for a moment refuses one decision, not those that are counted."""
    store = MemoryStore()
    recorder = Recorder(store, denials_each=1)
    await recorder.record([at(0)])
    store.failure = Overloaded("busy", retry_after_s=1)
    with pytest.raises(Unavailable):
        await recorder.record([at(1, caller="spiffe://example.org/other")])
    await recorder.record([at(2)])


async def test_a_mistake_of_ours_is_no_refusal() -> None:
    """A record that cannot be encoded is an error of the program, and not dressed up."""
    store = MemoryStore()
    store.failure = Malformed("DECISION.caller: too long")
    with pytest.raises(Malformed):
        await Recorder(store).record([at(0)])


async def test_run_commits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task commits counts at the end of each window, and tries again soon when that failed."""
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    store = MemoryStore()
    recorder = Recorder(store, window_s=0.01)
    recorder.note([at(0), at(1), at(2, allowed=True)])
    store.failure = StoreUnavailable("the disk is full")
    task = asyncio.create_task(recorder.run())
    await asyncio.wait_for(store.asked.wait(), 10)
    store.failure = None
    store.asked.clear()
    await asyncio.wait_for(store.asked.wait(), 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert sorted((r.allowed, r.times) for r in store.records if isinstance(r, Decision)) == [(False, 2), (True, 1)]
