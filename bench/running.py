"""Runs of our own gateway: one mode against one node, with what it took."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench import areas, inside, latency, policies, reference, results, sampling, sink, traffic, usage
from bench.database import Database, database_for
from bench.driving import awaited, generate
from bench.load import Orders, Tally
from bench.results import Result
from tests.appliance import SERVER_NAME, Appliance, Running

WARM_UP = 1000  # messages before the measurement, of all callers to most countries each: caches, the first pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How one mode loads the node: so many processes, each with its identities and its share of the workers."""

    messages: int
    processes: int
    identities: int  # a process
    workers: int  # a process: calls at a time, or streams
    batch: int = 1
    depth: int = 1

    def warming_up(self) -> Mode:
        """Return what is sent before the measurement: the same, less of it, with a call at least from each caller."""
        batch = min(self.batch, WARM_UP // (self.processes * self.identities))
        return dataclasses.replace(self, messages=WARM_UP, batch=batch)

    def orders(self, name: str, target: str, appliance: Appliance, first: int) -> list[Orders]:
        """Return the orders of each generator; together they send all messages, from number `first` on."""
        share = self.messages // self.processes
        made = []
        for number in range(self.processes):
            callers = appliance.callers[number * self.identities : (number + 1) * self.identities]
            at = first + number * share
            count = share if number < self.processes - 1 else first + self.messages - at
            made.append(
                Orders(
                    mode=name,
                    target=target,
                    server_name=SERVER_NAME,
                    bundle=str(callers[0].bundle),
                    callers=[(str(caller.certificate), str(caller.key)) for caller in callers],
                    first=at,
                    messages=count,
                    workers=self.workers,
                    batch=self.batch,
                    depth=self.depth,
                    tally=str(appliance.folder / f"tally-{number}.json"),
                )
            )
        return made


MODES = {
    "unary": Mode(messages=10_000, processes=2, identities=25, workers=25),
    "stream": Mode(messages=30_000, processes=2, identities=25, workers=25, depth=8),
    "batch": Mode(messages=100_000, processes=2, identities=25, workers=4, batch=100),
}
_IDENTITIES = max(mode.processes * mode.identities for mode in MODES.values())


class Run:
    """One mode against one node."""

    def __init__(
        self,
        name: str,
        mode: Mode,
        backlog: int,
        appliance: Appliance,
        carrier: sink.Sink,
        *,
        page_port: int,
        bare: bool,
        beside: Mapping[str, int],
        database: Database,
    ) -> None:
        """`beside`: the processes that work with the node, by name."""
        self.name = name
        self.bare = bare
        self.beside = beside
        self.database = database
        self.page_port = page_port
        self.backlog = backlog
        self.mode = mode
        self.appliance = appliance
        self.carrier = carrier
        self.areas: list[tuple[str, float]] = []  # of a run that was profiled

    def measure(self, profile: Path | None) -> Result:
        """Warm up, send, wait for the last receipt; what it took."""
        command = [sys.executable, "-m", "bench.bare", *self.appliance.serve_command()[-2:]] if self.bare else None
        with self.appliance.node(command, wrapped=False) as (node, port):
            target = f"127.0.0.1:{port}"
            self._send(target, self.mode.warming_up(), 0)
            machine = [reference.machine_ms()]
            with sampling.sampling(node.pid, profile) if profile else contextlib.nullcontext():
                starts: list[tuple[int, usage.Usage, dict[str, float]]] = []
                tallies, ended = self._send(
                    target,
                    self.mode,
                    WARM_UP,
                    lambda: starts.append((self._evaluated(), usage.read(node.pid), usage.cpu(self.beside))),
                )
                after, beside = usage.read(node.pid), usage.cpu(self.beside)
            ((evaluated, before, beside_before),) = starts
            evaluated = self._evaluated() - evaluated
            machine.append(reference.machine_ms())
        if profile is not None:
            messages = self.mode.messages
            self.areas = areas.areas(profile, _threads_us(before, after, messages), sampling.SAMPLE_US / messages)
        others = {name: cpu_s - beside_before[name] for name, cpu_s in beside.items()}
        return self._result(tallies, ended, before, after, evaluated, others, sum(machine) / 2)

    def _evaluated(self) -> int:
        return inside.evaluations(inside.page(self.page_port))

    def _send(
        self, target: str, mode: Mode, first: int, starting: Callable[[], None] = lambda: None
    ) -> tuple[list[Tally], float]:
        """Send, and wait until every accepted message has its receipt; when that was. `starting` as of `generate`."""
        orders, sent = mode.orders(self.name, target, self.appliance, first), first + mode.messages
        settled = partial(self.carrier.settled, self.appliance, sent)
        tallies = generate(orders, self.appliance.folder, self.backlog, lambda: settled() - first, starting)
        return tallies, awaited(settled, sent)

    def _result(
        self,
        tallies: list[Tally],
        ended: float,
        before: usage.Usage,
        after: usage.Usage,
        evaluated: int,
        others_s: dict[str, float],
        machine_ms: float,
    ) -> Result:
        messages = sum(tally.accepted for tally in tallies)
        began = min(tally.began for tally in tallies)
        calls = [duration for tally in tallies for duration in tally.calls_us]
        spans = self._to_submit_us(tallies)
        return Result(
            mode=self.name,
            bare=self.bare,
            messages=messages,
            accepted_per_s=messages / (max(tally.ended for tally in tallies) - began),
            receipted_per_s=messages / (ended - began),
            cpu_us=(after.cpu_s - before.cpu_s) / messages * 1e6,
            main_thread_us=(after.main_thread_s - before.main_thread_s) / messages * 1e6,
            system_us=(after.system_s - before.system_s) / messages * 1e6,
            call_p50_ms=results.percentile(calls, 0.50) / 1000,
            call_p99_ms=results.percentile(calls, 0.99) / 1000,
            submit_p50_ms=results.percentile(spans, 0.50) / 1000,
            submit_p99_ms=results.percentile(spans, 0.99) / 1000,
            others_us=results.per_message(others_s, tallies),
            peak_bytes=after.peak_bytes,
            database_bytes=self.database.octets() // (messages + WARM_UP),
            audit_bytes=self.database.audit_octets() // (messages + WARM_UP),
            cache_hits=None if self.bare else inside.hit_rate(evaluated, len(calls), messages),
            refused=sum(tally.refused for tally in tallies),
            configuration=self._fingerprint(),
            machine_ms=machine_ms,
        )

    def _to_submit_us(self, tallies: list[Tally]) -> list[int]:
        """Return how long each message took to the carrier; nothing for a foreign sink, which does not say."""
        if self.carrier.arrivals is None:
            return []
        came = latency.arrivals(self.carrier.arrivals)
        starts = [start for tally in tallies for start in tally.starts]
        return latency.to_submit_us(starts, self.mode.batch, came, WARM_UP + self.mode.messages)

    def _fingerprint(self) -> str:
        """Return a hash of the configuration, without what differs by chance, and of the load."""
        text = (self.appliance.folder / "smsgw.yaml").read_text()
        text = text.replace(self.database.volatile, "") if self.database.volatile else text
        text = re.sub(r"(port: |127\.0\.0\.1:)\d+", r"\g<1>0", text.replace(str(self.appliance.folder), ""))
        load = json.dumps([asdict(self.mode), self.backlog, traffic.TEXT_LENGTH, traffic.PREFIXES])
        return hashlib.sha256((text + load).encode()).hexdigest()[:12]


def _threads_us(before: usage.Usage, after: usage.Usage, messages: int) -> dict[int, float]:
    """Return what each thread used for a message, in microseconds."""
    return {
        thread: (used - before.threads_s.get(thread, 0.0)) / messages * 1e6 for thread, used in after.threads_s.items()
    }


@contextlib.contextmanager
def carrier_for(appliance: Appliance) -> Iterator[sink.Sink]:
    """Give the foreign sink that SINK names, or ours, running."""
    named = os.environ.get("SINK", "")
    if named:
        yield sink.foreign(named)
    else:
        with sink.own(appliance) as ours:
            yield ours


@contextlib.contextmanager
def collector_for(appliance: Appliance) -> Iterator[tuple[int, dict[str, object]]]:
    """Run a collector; its process, and the node's settings of it."""
    pki = appliance.folder / "pki"
    certificate, key, bundle = (str(pki / name) for name in ("gateway.pem", "gateway.key", "bundle.pem"))
    command = [sys.executable, "-m", "bench.collector", certificate, key, bundle]
    with Running(command, log=appliance.folder / "collector.log") as process:
        endpoint = process.line_with(r"127\.0\.0\.1:\d+").group()
        files = {"ca_file": bundle, "certificate_file": certificate, "key_file": key}
        settings = {"endpoint": endpoint, "server_name": SERVER_NAME, "metrics_every": "15s", **files}
        yield process.pid, {"otlp": settings}


def run_mode(name: str, mode: Mode, backlog: int, *, profile: bool, bare: bool, postgres: bool = False) -> Result:
    """Measure one mode, in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="smsgw-bench-") as folder:
        appliance = Appliance.create(Path(folder) / "appliance", callers=_IDENTITIES)
        folded = results.FOLDER / f"profile-{name}{'-bare' if bare else ''}.txt" if profile else None
        with (
            database_for(appliance.folder, postgres=postgres) as database,
            carrier_for(appliance) as carrier,
            collector_for(appliance) as (collector, telemetry),
        ):
            page_port = inside.free_port()
            page = {"listen": f"127.0.0.1:{page_port}", "insecure": True}
            measured = {**telemetry, "metrics": page}
            appliance.configure(carrier.carrier(), telemetry=measured, store=database.settings)
            policies.write(appliance.folder / "policy")
            beside = {"collector": collector, **database.beside} | ({"sink": carrier.pid} if carrier.pid else {})
            run = Run(
                name,
                mode,
                backlog,
                appliance,
                carrier,
                page_port=page_port,
                bare=bare,
                beside=beside,
                database=database,
            )
            result = run.measure(folded)
    if folded is not None:
        print(f"\nWhat the time went into ({result.name}):\n{areas.table(run.areas)}", flush=True)
        print(f"\nWhere the time went ({result.name}):\n{sampling.summary(folded)}\n", flush=True)
    return result
