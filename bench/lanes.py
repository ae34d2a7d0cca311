"""`python -m bench.lanes` (`make bench-lanes`): one-time passwords while a million promotions wait.

A whole node, with all of it on, and one carrier: 500 messages a second, a window of 50, answers after 50 ms. Batches of
promotions fill the database first, and saturate the carrier from then on. Then one-time passwords come, 200 a second,
each in a call of its own, at their times whatever became of those before. What is told: from the beginning of a call
at the caller to its submit_sm at the carrier's socket, and the node's memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from bench import latency, policies, results, sink, usage
from bench.driving import generate
from bench.load import Orders, Tally
from bench.results import percentile
from bench.running import collector_for
from gateway.status_socket import read_status
from tests.appliance import SERVER_NAME, Appliance, ProcessFailed

CALLERS = 20
CARRIER_RATE, WINDOW, ANSWER_S = 500.0, 50, 0.05
OTP_RATE = 200.0
LINE_MS, AIM_MS = 50.0, 25.0  # the design's, for 99 of 100
LINE_MB, AIM_MB = 300.0, 200.0
_BATCH = 100
_SATURATED_S = 60.0
_UNBOUNDED = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run showed."""

    waiting: int  # promotions in the database when the first one-time password came
    filled_s: float
    filled_per_s: float
    otps: int
    otp_p50_ms: float
    otp_p99_ms: float
    otp_most_ms: float
    call_p50_ms: float
    call_p99_ms: float
    carrier_per_s: float  # submit_sm while one-time passwords came
    promotions_per_s: float  # of these
    resident_mb: float  # of the node, at the end
    peak_mb: float

    def table(self) -> str:
        """Return it for people."""
        rows = [
            ("", "measured", "line", "aim"),
            ("OTP, call to submit_sm, p99 ms", f"{self.otp_p99_ms:.1f}", f"{LINE_MS:.0f}", f"{AIM_MS:.0f}"),
            ("the same, p50 ms", f"{self.otp_p50_ms:.1f}", "", ""),
            ("the same, longest ms", f"{self.otp_most_ms:.1f}", "", ""),
            ("call, p50 / p99 ms", f"{self.call_p50_ms:.1f} / {self.call_p99_ms:.1f}", "", ""),
            ("memory, peak MB", f"{self.peak_mb:.0f}", f"{LINE_MB:.0f}", f"{AIM_MB:.0f}"),
            ("memory at the end, MB", f"{self.resident_mb:.0f}", "", ""),
            ("promotions waiting", f"{self.waiting:,}", "", ""),
            ("accepted before that, /s", f"{self.filled_per_s:,.0f}", "", ""),
            ("submit_sm/s, of them promotions", f"{self.carrier_per_s:.0f}, {self.promotions_per_s:.0f}", "", ""),
        ]
        return results.aligned(rows)


class Run:
    """One node with its carrier."""

    def __init__(self, appliance: Appliance, carrier: sink.Sink, port: int, pid: int) -> None:
        self._appliance = appliance
        self._carrier = carrier
        self._pid = pid
        self._orders = Orders(
            mode="batch",
            target=f"127.0.0.1:{port}",
            server_name=SERVER_NAME,
            bundle=str(appliance.callers[0].bundle),
            callers=[(str(caller.certificate), str(caller.key)) for caller in appliance.callers],
            first=0,
            messages=0,
            workers=8,
            batch=_BATCH,
            depth=1,
            tally=str(appliance.folder / "tally.json"),
            category="CATEGORY_PROMOTIONAL",
        )

    def measure(self, waiting: int, otps: int) -> Outcome:
        """Fill, saturate, and measure. Raises ProcessFailed."""
        (filled,) = self._generate(replace(self._orders, messages=waiting))
        self._saturated()
        waits, before, began = self._waiting(), self._carrier.submitted(), time.monotonic()
        orders = replace(
            self._orders, mode="paced", first=waiting, messages=otps, batch=1, category="CATEGORY_OTP", rate=OTP_RATE
        )
        (tally,) = self._generate(orders)
        took_s = time.monotonic() - began
        submitted = self._carrier.submitted() - before
        spans, used = self._spans(tally, waiting + otps), usage.read(self._pid)
        fill_s = filled.ended - filled.began
        return Outcome(
            waiting=waits,
            filled_s=fill_s,
            filled_per_s=waiting / fill_s,
            otps=otps,
            otp_p50_ms=percentile(spans, 0.5) / 1000,
            otp_p99_ms=percentile(spans, 0.99) / 1000,
            otp_most_ms=max(spans) / 1000,
            call_p50_ms=percentile(tally.calls_us, 0.5) / 1000,
            call_p99_ms=percentile(tally.calls_us, 0.99) / 1000,
            carrier_per_s=submitted / took_s,
            promotions_per_s=(submitted - otps) / took_s,
            resident_mb=used.resident_bytes / 1e6,
            peak_mb=used.peak_bytes / 1e6,
        )

    def _generate(self, orders: Orders) -> list[Tally]:
        return generate([orders], self._appliance.folder, _UNBOUNDED, lambda: 0)

    def _saturated(self) -> None:
        """Wait until the carrier gets nine tenths of what it may have. Raises ProcessFailed."""
        deadline = time.monotonic() + _SATURATED_S
        while time.monotonic() < deadline:
            before, began = self._carrier.submitted(), time.monotonic()
            time.sleep(1.0)
            if (self._carrier.submitted() - before) / (time.monotonic() - began) >= CARRIER_RATE * 0.9:
                return
        raise ProcessFailed("promotions do not saturate the carrier")

    def _waiting(self) -> int:
        counts = read_status(self._appliance.folder / "data" / "status.sock")["counts"]
        if not isinstance(counts, dict):
            raise ProcessFailed("the node's status has no counts")
        return int(counts["queue.WAITING_PROMOTIONAL"])

    def _spans(self, tally: Tally, end: int) -> list[int]:
        """Return how long each one-time password took to the carrier, in microseconds. Raises ProcessFailed."""
        deadline = time.monotonic() + 10.0
        while True:
            self._carrier.submitted()  # its log is whole now
            came = latency.arrivals(self._carrier.arrivals) if self._carrier.arrivals else {}
            try:
                return latency.to_submit_us(tally.starts, 1, came, end)
            except ValueError as error:
                if time.monotonic() > deadline:
                    raise ProcessFailed(str(error)) from error
                time.sleep(0.5)


def run(waiting: int, otps: int) -> Outcome:
    """Run it in a folder of its own that is gone afterwards. Raises ProcessFailed."""
    with tempfile.TemporaryDirectory(prefix="smsgw-bench-") as folder:
        appliance = Appliance.create(Path(folder) / "appliance", callers=CALLERS)
        own = partial(sink.own, appliance, "--sink-delay", str(ANSWER_S))
        with own() as carrier, collector_for(appliance) as (_, telemetry):
            appliance.configure(replace(carrier.carrier(), window=WINDOW, rate=CARRIER_RATE), telemetry=telemetry)
            policies.write(appliance.folder / "policy")
            with appliance.node(wrapped=False) as (node, port):
                return Run(appliance, carrier, port, node.pid).measure(waiting, otps)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="make bench-lanes ARGS=...", description=__doc__)
    parser.add_argument("--waiting", type=int, default=1_000_000, help="promotions (default 1,000,000)")
    parser.add_argument("--seconds", type=int, default=30, help="of one-time passwords (default 30)")
    options = parser.parse_args()
    if options.waiting % _BATCH or not 1_000 <= options.waiting <= 10_000_000 or not 1 <= options.seconds <= 3_600:
        parser.error(f"--waiting is 1,000 to 10,000,000, in steps of {_BATCH}; --seconds is 1 to 3,600")
    print(f"bench: {options.waiting:,} promotions, then OTP at {OTP_RATE:.0f}/s", file=sys.stderr, flush=True)
    try:
        outcome = run(options.waiting, int(options.seconds * OTP_RATE))
    except ProcessFailed as error:
        print(f"bench: failed: {error}", file=sys.stderr)
        return 1
    print(outcome.table())
    results.FOLDER.mkdir(exist_ok=True)
    path = results.FOLDER / time.strftime("lanes-%Y%m%dT%H%M%SZ.json", time.gmtime())
    machine = {"python": platform.python_version(), "kernel": platform.release()}
    path.write_text(json.dumps({"machine": machine, **asdict(outcome)}, indent=2) + "\n")
    print(f"kept in bench/results/{path.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
