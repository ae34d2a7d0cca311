"""`python -m bench.scale` (`make bench-scale`): what the store's work costs, by how many messages are stored.

One database grows from a thousand messages to ten million, a tenth of which wait (`bench.fill`). At each size the same
is measured on an open store: messages that go their whole way, claims, look-ups, what ends, what is forgotten. CPU is
that of this process, all threads. What does not grow with the size is flat in the picture.

Then whole nodes are measured, one to four of them on one PostgreSQL (`bench.nodes`).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from bench import chart, nodes, results
from bench.fill import TEMPLATE, VALIDITY_ENDS, Filled
from bench.store import batches, play
from gateway.api.reading import MAX_ROWS
from gateway.errors import StoreUnavailable
from gateway.states import Category, State
from gateway.store.contract import ListFilter
from gateway.store.sqlite import SqliteStore
from tests.appliance import ProcessFailed
from tests.gateway.store.samples import HOUR, NOW, TENANT, digest

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_MOST_WAITING = 1_000_000
_WHOLE_WAY = 100  # batches of a hundred, at each size
_CALLS = 50  # look-ups of each kind
_STEPS, _ROWS = 5, 100  # calls that change rows, and rows of each
_LONGEST_MS = 5_000  # of one kind of look-up: no more calls then
_ALL_OVER = 1 << 30  # microseconds after the first: the last one's time is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one kind of work takes at one size."""

    work: str
    cpu_us: float  # for each message, or each call where it says so
    call_ms: float  # the median of how long a call took


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """All that was measured at one size."""

    stored: int
    waiting: int
    database_bytes: int
    filled_s: float
    costs: list[Cost]


class Bench:
    """The measurements on one open store."""

    def __init__(self, store: SqliteStore, filled: int, new: int) -> None:
        """`filled`: which database of this run it is, from 0; `new`: messages since the one before."""
        self._store = store
        self._new = new
        self._first_batch = filled * _WHOLE_WAY
        self._turn = 0

    async def all(self) -> list[Cost]:
        """Measure everything."""
        store = self._store
        anything, rare = ListFilter((), ()), ListFilter((State.REJECTED,), ())
        one = (await store.list_messages(TENANT, anything, None, 1))[0].id
        merging = await self._merge()
        return [
            merging,
            await self._whole_way(),
            await self._many("claim, a message", self._claim),
            await self._many("put back at a start, a message", self._recover, steps=1),
            await self._many("end of validity, a message", self._close_due),
            await self._many("forget a key", self._purge),
            await self._each("nothing is over, a call", lambda: store.close_due(NOW, _ROWS)),
            await self._each("GetMessage", lambda: store.get_message(TENANT, one)),
            await self._each("ListMessages, 100", lambda: store.list_messages(TENANT, anything, None, 100)),
            await self._each(
                "ListMessages of a recipient", lambda: store.list_messages(TENANT, self._one(), None, 100)
            ),
            await self._each("ListMessages, a state none has", lambda: self._page(rare)),
            await self._each("500 events from the oldest", lambda: store.events(TENANT, 0, 500)),
            await self._each("counts for people", store.counts),
        ]

    async def _merge(self) -> Cost:
        """Merge what was filled in since the last size; the time is that of the longest step."""
        cpu, longest_ms, steps = time.process_time(), 0.0, 0
        done = True
        while done:
            began = time.perf_counter()
            done = await self._store.merge()
            steps, longest_ms = steps + 1, max(longest_ms, (time.perf_counter() - began) * 1e3)
        cpu_us = (time.process_time() - cpu) / self._new * 1e6
        print(f"bench: {steps:,} steps of merging", file=sys.stderr, flush=True)
        return Cost(work="merging recipients, a message (the longest step)", cpu_us=cpu_us, call_ms=longest_ms)

    async def _claim(self) -> int:
        return len(await self._store.claim(Category.PROMOTIONAL, _ROWS, NOW + 1))

    async def _recover(self) -> int:
        return (await self._store.recover(NOW, frozenset())).reclaimed

    async def _close_due(self) -> int:
        return await self._store.close_due(VALIDITY_ENDS + _ALL_OVER, _ROWS)

    async def _purge(self) -> int:
        return await self._store.purge(NOW + 100 * HOUR, _ROWS)

    async def _page(self, where: ListFilter) -> object:
        """Look for states, as far as the API looks for one page."""
        reach = await self._store.list_reach(TENANT, None, MAX_ROWS)
        return await self._store.list_messages(TENANT, where._replace(down_to=reach or b""), None, 100)

    def _one(self) -> ListFilter:
        self._turn += 1
        return ListFilter((), (digest(f"{self._first_batch}-{self._turn % 100}"),))

    async def _whole_way(self) -> Cost:
        work = batches(_WHOLE_WAY, self._first_batch)
        warm, rest = work[:10], work[10:]
        await play(self._store, warm, 8)
        cpu, began = time.process_time(), time.perf_counter()
        await play(self._store, rest, 8)
        cpu_s, took_s = time.process_time() - cpu, time.perf_counter() - began
        work_name = "accepted to delivered, a message"
        return Cost(work=work_name, cpu_us=cpu_s / len(rest) / 100 * 1e6, call_ms=took_s / len(rest) * 1e3)

    async def _many(self, work: str, call: Callable[[], Awaitable[int]], steps: int = _STEPS) -> Cost:
        """Measure calls of many rows, by row. Raises ValueError when there were none."""
        rows, took_ms = 0, []
        cpu = time.process_time()
        for _ in range(steps):
            began = time.perf_counter()
            rows += await call()
            took_ms.append((time.perf_counter() - began) * 1e3)
        if not rows:
            raise ValueError(f"{work}: there was nothing to do")
        cpu_us = (time.process_time() - cpu) / rows * 1e6
        return Cost(work=work, cpu_us=cpu_us, call_ms=statistics.median(took_ms))

    async def _each(self, work: str, call: Callable[[], Awaitable[object]]) -> Cost:
        """Measure calls, each for itself; what takes the store too long counts with what it took until it said so."""
        took_ms: list[float] = []
        cpu = time.process_time()
        while len(took_ms) < _CALLS and sum(took_ms) < _LONGEST_MS:
            began = time.perf_counter()
            try:
                await call()
            except StoreUnavailable as error:
                print(f"bench: {work}: {error}", file=sys.stderr)
            took_ms.append((time.perf_counter() - began) * 1e3)
        cpu_us = (time.process_time() - cpu) / len(took_ms) * 1e6
        return Cost(work=work, cpu_us=cpu_us, call_ms=statistics.median(took_ms))


async def _measure(path: Path, number: int, new: int) -> list[Cost]:
    store = SqliteStore(path)
    await store.open()
    try:
        return await Bench(store, number, new).all()
    finally:
        await store.close()


def grow_and_measure(folder: Path, sizes: Sequence[int]) -> list[Size]:
    """Return what everything costs at each of the sizes, which grow."""
    filled, done = Filled(folder / "store" / "smsgw.db"), []
    for number, size in enumerate(sizes):
        waiting = max(TEMPLATE, min(size // 10, _MOST_WAITING))
        print(f"bench: {size:,} messages stored, {waiting:,} of them waiting", file=sys.stderr, flush=True)
        began, before = time.perf_counter(), filled.stored
        filled.grow(delivered=max(TEMPLATE, size - waiting), waiting=waiting)
        filled_s = time.perf_counter() - began
        costs = uvloop.run(_measure(filled.path, number, filled.stored - before))
        octets = filled.path.stat().st_size
        done.append(Size(stored=size, waiting=waiting, database_bytes=octets, filled_s=filled_s, costs=costs))
    return done


def table(sizes: Sequence[Size]) -> str:
    """Return CPU and time of each kind of work, a column a size."""
    rows = [("CPU µs (ms a call)", *[f"{size.stored:,}" for size in sizes])]
    for number, cost in enumerate(sizes[0].costs):
        found = [size.costs[number] for size in sizes]
        rows.append((cost.work, *[f"{one.cpu_us:,.1f} ({one.call_ms:,.2f})" for one in found]))
    rows.append(("octets a message in the file", *[f"{size.database_bytes / size.stored:,.0f}" for size in sizes]))
    return results.aligned(rows)


def _panels(sizes: Sequence[Size]) -> dict[str, list[chart.Point]]:
    return {
        f"{cost.work}: CPU µs": [(size.stored, size.costs[number].cpu_us) for size in sizes]
        for number, cost in enumerate(sizes[0].costs)
    }


def _keep(sizes: Sequence[Size], shared: Sequence[nodes.Shared]) -> Path:
    results.FOLDER.mkdir(exist_ok=True)
    path = results.FOLDER / time.strftime("scale-%Y%m%dT%H%M%SZ.json", time.gmtime())
    document = {
        "machine": {"python": platform.python_version(), "kernel": platform.release()},
        "sizes": [asdict(size) for size in sizes],
        "nodes": [asdict(run) for run in shared],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    if sizes:
        title = "SQLite: CPU of the store by messages stored, a tenth of them waiting"
        path.with_suffix(".svg").write_text(chart.svg(_panels(sizes), title, "messages stored"))
    if shared:
        title = "CPU for each message by nodes on one PostgreSQL"
        picture = path.with_name(path.name.replace("scale-", "nodes-")).with_suffix(".svg")
        picture.write_text(chart.svg(_node_panels(shared), title, "nodes", logarithmic=False))
    return path


def _node_panels(shared: Sequence[nodes.Shared]) -> dict[str, list[chart.Point]]:
    return {
        "the nodes together: CPU µs a message": [(run.nodes, run.cpu_us) for run in shared],
        "PostgreSQL: CPU µs a message": [(run.nodes, run.server_us) for run in shared],
    }


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="make bench-scale ARGS=...", description=__doc__)
    parser.add_argument("--most", type=int, choices=SIZES, default=SIZES[-1], help="stop at so many (default 10^7)")
    parser.add_argument("--folder", type=Path, help="where the database is made, and removed (10^7 take 11 GB)")
    parser.add_argument("--only", choices=["stored", "nodes"], help="measure against one of the two alone")
    options = parser.parse_args()
    sizes = [] if options.only == "nodes" else _stored(options)
    try:
        shared = [] if options.only == "stored" else nodes.measure()
    except ProcessFailed as error:
        print(f"bench: failed: {error}", file=sys.stderr)
        return 1
    if sizes:
        print("\n" + table(sizes))
    if shared:
        print("\n" + nodes.table(shared))
    print(f"kept in bench/results/{_keep(sizes, shared).name}, with its pictures", file=sys.stderr)
    return 0


def _stored(options: argparse.Namespace) -> list[Size]:
    with tempfile.TemporaryDirectory(prefix="smsgw-bench-", dir=options.folder) as folder:
        return grow_and_measure(Path(folder), [size for size in SIZES if size <= options.most])


if __name__ == "__main__":
    sys.exit(main())
