"""What a message costs against how many nodes share one PostgreSQL: a part of `make bench-scale`.

Each run brings a server, a sink, and one to four whole nodes in processes of their own, each with a generator that
sends it batches of a hundred. All of it shares this machine's cores, so more nodes are not faster here; CPU for each
message, of the nodes together and of the server, says what sharing costs.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench import results, sink, usage
from bench.driving import awaited, generate
from bench.load import Orders
from gateway.sealing.folder_keyring import WRAPPED_KEYS
from tests.appliance import SERVER_NAME, SMSGW, Appliance, Running
from tests.postgres.server import PostgresServer

COUNTS = (1, 2, 3, 4)
_MESSAGES = 30_000  # of each run, by all nodes
_WARM_UP = 2_000
_BATCH, _WORKERS, _BACKLOG = 100, 4, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What so many nodes took."""

    nodes: int
    messages: int
    cpu_us: float  # of the nodes together, for each message
    server_us: float  # of PostgreSQL's processes
    receipted_per_s: float
    peak_bytes: int  # of the largest node


def measure(counts: Sequence[int] = COUNTS, messages: int = _MESSAGES) -> list[Shared]:
    """Return what each number of nodes takes. Raises ProcessFailed."""
    return [_run(count, messages) for count in counts]


def table(runs: Sequence[Shared]) -> str:
    """Return it for people."""
    rows = [("nodes on one PostgreSQL", "CPU µs", "server µs", "to the receipt/s", "RSS MB")]
    for run in runs:
        costs = f"{run.cpu_us:.0f}", f"{run.server_us:.0f}"
        rows.append((str(run.nodes), *costs, f"{run.receipted_per_s:,.0f}", f"{run.peak_bytes / 1e6:.0f}"))
    return results.aligned(rows)


def _run(count: int, messages: int) -> Shared:
    server = PostgresServer("shared_buffers=256MB")
    try:
        with tempfile.TemporaryDirectory(prefix="smsgw-bench-") as folder:
            appliance = Appliance.create(Path(folder) / "appliance", callers=count)
            with sink.own(appliance) as carrier:
                appliance.configure(carrier.carrier(), store=server.section("postgres"))
                with _nodes(appliance, count) as (pids, ports):
                    return _measured(appliance, carrier, server, pids, ports, messages)
    finally:
        server.stop()


@contextlib.contextmanager
def _nodes(appliance: Appliance, count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Run so many nodes that share database and wrapped keys; their processes and ports."""
    document = yaml.safe_load((appliance.folder / "smsgw.yaml").read_text())
    keys = appliance.folder / "shared-keys"
    keys.mkdir(mode=0o700)
    with contextlib.ExitStack() as running:
        pids, ports = [], []
        for number in range(count):
            data = appliance.folder / f"data-{number}"
            data.mkdir(mode=0o700)
            (data / WRAPPED_KEYS).symlink_to(keys)
            document["node"] |= {"name": f"node-{number}", "data_dir": data.name}
            config = appliance.folder / f"node-{number}.yaml"
            config.write_text(yaml.safe_dump(document, sort_keys=False))
            command = [SMSGW, "serve", "--config", str(config)]
            process = running.enter_context(Running(command, log=appliance.folder / f"node-{number}.log"))
            pids.append(process.pid)
            ports.append(int(process.line_with(r"127\.0\.0\.1:(\d+)", 60).group(1)))
        yield pids, ports


def _measured(
    appliance: Appliance, carrier: sink.Sink, server: PostgresServer, pids: list[int], ports: list[int], messages: int
) -> Shared:
    """Warm up, send, wait for the last receipt."""
    _send(appliance, carrier, ports, 0, _WARM_UP)
    before, server_s = [usage.read(pid).cpu_s for pid in pids], usage.cpu_of_tree(server.pid)
    began = time.monotonic()
    ended = _send(appliance, carrier, ports, _WARM_UP, messages)
    after = [usage.read(pid) for pid in pids]
    spent_s = sum(used.cpu_s - start for used, start in zip(after, before, strict=True))
    return Shared(
        nodes=len(pids),
        messages=messages,
        cpu_us=spent_s / messages * 1e6,
        server_us=(usage.cpu_of_tree(server.pid) - server_s) / messages * 1e6,
        receipted_per_s=messages / (ended - began),
        peak_bytes=max(used.peak_bytes for used in after),
    )


def _send(appliance: Appliance, carrier: sink.Sink, ports: Sequence[int], first: int, messages: int) -> float:
    """Send so many from number `first` on, in equal parts to all nodes; when the last had its receipt."""
    share = messages // len(ports) // _BATCH * _BATCH
    orders = [
        Orders(
            mode="batch",
            target=f"127.0.0.1:{port}",
            server_name=SERVER_NAME,
            bundle=str(appliance.callers[number].bundle),
            callers=[(str(appliance.callers[number].certificate), str(appliance.callers[number].key))],
            first=first + number * share,
            messages=share if number < len(ports) - 1 else messages - number * share,
            workers=_WORKERS,
            batch=_BATCH,
            depth=1,
            tally=str(appliance.folder / f"tally-{number}.json"),
        )
        for number, port in enumerate(ports)
    ]
    from_now = carrier.from_now()
    generate(orders, appliance.folder, _BACKLOG, from_now.acknowledged)
    return awaited(from_now.acknowledged, messages, lambda: f"the sink: {from_now.told()}")
