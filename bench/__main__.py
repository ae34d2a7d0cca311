"""`python -m bench` (`make bench`): for each mode a new node, a sink, a collector, load generators, one result.

Each mode is measured twice: with all of it on, and against a node without policies, limits, sealing, traces and audit
(`bench.bare`, a build of the benchmark's own). What those cost is the difference.

SINK=host:port[,ca_file] measures against a foreign sink. Everything runs on this machine, so CPU for each message is
the figure to compare; messages/s also says what the generators and the sink left over.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import areas, inside, policies, results, sampling, sink, traffic, usage
from bench.load import Orders, Tally
from bench.results import Result
from tests.appliance import SERVER_NAME, Appliance, ProcessFailed, Running

_WARM_UP = 1000  # messages before the measurement, of all callers to most countries each: caches, the first pages
_BACKLOG = 10_000
_END_S = 120.0  # without progress for so long, a run has failed
_POLL_S = 0.02


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
        batch = min(self.batch, _WARM_UP // (self.processes * self.identities))
        return dataclasses.replace(self, messages=_WARM_UP, batch=batch)

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
_BUILDS = {"both": (False, True), "all": (False,), "bare": (True,)}  # which of them are bare
_IDENTITIES = max(mode.processes * mode.identities for mode in MODES.values())


def generate(
    orders: Sequence[Orders],
    folder: Path,
    backlog: int,
    settled: Callable[[], int],
    starting: Callable[[], None] = lambda: None,
) -> list[Tally]:
    """Run the generators from one common start to their ends; `starting` is called when all of them are connected.

    `settled` says how many messages have been through it all since then; at most `backlog` more may be under way.
    """
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                Running(
                    [sys.executable, "-m", "bench.load", json.dumps(asdict(order))],
                    log=folder / f"load-{number}.log",
                    stdin=True,
                )
            )
            for number, order in enumerate(orders)
        ]
        for generator in running:
            generator.line_with("^ready$", 60)
        starting()
        stack.enter_context(_credit(running, orders, backlog, settled))
        for generator in running:
            generator.line_with("^done$", 600)
    return [Tally(**json.loads(Path(order.tally).read_text())) for order in orders]


@contextlib.contextmanager
def _credit(
    running: Sequence[Running], orders: Sequence[Orders], backlog: int, settled: Callable[[], int]
) -> Iterator[None]:
    """Tell the generators how many messages they may have sent, in proportion to their orders."""
    total = sum(order.messages for order in orders)
    done = threading.Event()

    def tell() -> None:
        while True:
            allowed = settled() + backlog
            for generator, order in zip(running, orders, strict=True):
                with contextlib.suppress(BrokenPipeError):  # it has ended
                    generator.write(f"{allowed * order.messages // total}\n")
            if done.wait(_POLL_S):
                return

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


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
    ) -> None:
        self.name = name
        self.bare = bare
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
            with sampling.sampling(node.pid, profile) if profile else contextlib.nullcontext():
                starts: list[tuple[int, usage.Usage]] = []
                tallies, ended = self._send(
                    target, self.mode, _WARM_UP, lambda: starts.append((self._evaluated(), usage.read(node.pid)))
                )
                after = usage.read(node.pid)
            ((evaluated, before),) = starts
            evaluated = self._evaluated() - evaluated
        if profile is not None:
            messages = self.mode.messages
            self.areas = areas.areas(profile, _threads_us(before, after, messages), sampling.SAMPLE_US / messages)
        return self._result(tallies, ended, before, after, evaluated)

    def _evaluated(self) -> int:
        return inside.evaluations(inside.page(self.page_port))

    def _send(
        self, target: str, mode: Mode, first: int, starting: Callable[[], None] = lambda: None
    ) -> tuple[list[Tally], float]:
        """Send, and wait until every accepted message has its receipt; when that was. `starting` as of `generate`."""
        orders, sent = mode.orders(self.name, target, self.appliance, first), first + mode.messages
        tallies = generate(
            orders,
            self.appliance.folder,
            self.backlog,
            lambda: self.carrier.settled(self.appliance, sent) - first,
            starting,
        )
        for tally in tallies:
            if tally.failed:
                raise ProcessFailed(f"{tally.failed} messages were not accepted: {tally.first_error}")
        return tallies, self._await(sent)

    def _await(self, sent: int) -> float:
        """Return the time at which all receipts were there. Raises ProcessFailed when they stop coming."""
        last, progress_at = -1, time.monotonic()
        while True:
            now, done = time.monotonic(), self.carrier.settled(self.appliance, sent)
            if done >= sent:
                return now
            if done != last:
                last, progress_at = done, now
            if now - progress_at > _END_S:
                raise ProcessFailed(f"{done} of {sent} receipts, and no further one within {_END_S:.0f} s")
            time.sleep(_POLL_S)

    def _result(
        self, tallies: list[Tally], ended: float, before: usage.Usage, after: usage.Usage, evaluated: int
    ) -> Result:
        messages = sum(tally.accepted for tally in tallies)
        began = min(tally.began for tally in tallies)
        calls = [duration for tally in tallies for duration in tally.calls_us]
        files = self.appliance.folder.glob("data/smsgw.db*")
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
            peak_bytes=after.peak_bytes,
            database_bytes=sum(file.stat().st_size for file in files) // (messages + _WARM_UP),
            audit_bytes=inside.audit_bytes(self.appliance.folder / "data" / "smsgw.db") // (messages + _WARM_UP),
            cache_hits=None if self.bare else inside.hit_rate(evaluated, len(calls), messages),
            refused=sum(tally.refused for tally in tallies),
            configuration=self._fingerprint(),
        )

    def _fingerprint(self) -> str:
        """Return a hash of the configuration, without what differs by chance, and of the load."""
        text = (self.appliance.folder / "smsgw.yaml").read_text()
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
def collector_for(appliance: Appliance) -> Iterator[dict[str, object]]:
    """Run a collector; the node's settings of it."""
    pki = appliance.folder / "pki"
    certificate, key, bundle = (str(pki / name) for name in ("gateway.pem", "gateway.key", "bundle.pem"))
    command = [sys.executable, "-m", "bench.collector", certificate, key, bundle]
    with Running(command, log=appliance.folder / "collector.log") as process:
        endpoint = process.line_with(r"127\.0\.0\.1:\d+").group()
        files = {"ca_file": bundle, "certificate_file": certificate, "key_file": key}
        yield {"otlp": {"endpoint": endpoint, "server_name": SERVER_NAME, "metrics_every": "15s", **files}}


def run_mode(name: str, mode: Mode, backlog: int, *, profile: bool, bare: bool) -> Result:
    """Measure one mode, in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="smsgw-bench-") as folder:
        appliance = Appliance.create(Path(folder) / "appliance", callers=_IDENTITIES)
        folded = results.FOLDER / f"profile-{name}{'-bare' if bare else ''}.txt" if profile else None
        with carrier_for(appliance) as carrier, collector_for(appliance) as telemetry:
            page_port = inside.free_port()
            page = {"listen": f"127.0.0.1:{page_port}", "insecure": True}
            appliance.configure(carrier.carrier(), telemetry={**telemetry, "metrics": page})
            policies.write(appliance.folder / "policy")
            run = Run(name, mode, backlog, appliance, carrier, page_port=page_port, bare=bare)
            result = run.measure(folded)
    if folded is not None:
        print(f"\nWhat the time went into ({result.name}):\n{areas.table(run.areas)}", flush=True)
        print(f"\nWhere the time went ({result.name}):\n{sampling.summary(folded)}\n", flush=True)
    return result


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--mode", choices=MODES, action="append", help="only this one; may be repeated")
    parser.add_argument("--messages", type=int, help="messages a mode (default: " + _defaults() + ")")
    parser.add_argument(
        "--backlog",
        type=int,
        default=_BACKLOG,
        help=f"messages under way between call and receipt at most (default {_BACKLOG:,}); what is above the node's "
        "pipeline.memory_messages waits in its database",
    )
    parser.add_argument(
        "--build",
        choices=_BUILDS,
        default="both",
        help="the node with all of it, that without policies, limits, sealing, traces and audit, or both (default)",
    )
    parser.add_argument("--profile", action="store_true", help="sample the node with py-spy: where the time goes")
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of a table")
    options = parser.parse_args()
    if options.messages is not None and not 100 <= options.messages <= traffic.MOST_MESSAGES // 2:
        parser.error(f"--messages: 100 to {traffic.MOST_MESSAGES // 2}")
    results.FOLDER.mkdir(exist_ok=True)
    done: list[Result] = []
    for name in options.mode or MODES:
        mode = MODES[name]
        if options.messages is not None:
            mode = Mode(**{**asdict(mode), "messages": options.messages})
        for bare in _BUILDS[options.build]:
            print(f"bench: {results.label(name, bare)}, {mode.messages:,} messages", file=sys.stderr, flush=True)
            try:
                done.append(run_mode(name, mode, options.backlog, profile=options.profile, bare=bare))
            except (ProcessFailed, ValueError) as error:
                print(f"bench: {results.label(name, bare)} failed: {error}", file=sys.stderr)
                return 1
    path = results.write(done, {"sink": os.environ.get("SINK", "own"), "profiled": options.profile})
    print(json.dumps([asdict(result) for result in done]) if options.json else "\n" + results.table(done))
    print(
        f"configuration {', '.join(dict.fromkeys(r.configuration for r in done))}; kept in bench/results/{path.name}",
        file=sys.stderr,
    )
    return 0


def _defaults() -> str:
    return ", ".join(f"{name} {mode.messages:,}" for name, mode in MODES.items())


if __name__ == "__main__":
    sys.exit(main())
