"""The carrier of a benchmark: ours (`smsgw simulator --sink`), or one named by SINK=host:port[,ca_file].

A sink answers every submit_sm, sends a receipt for each, and counts the receipts that were acknowledged. Its count is
read from a control port as one line of JSON: the next port, for a foreign one. Without that, the node's own status
says when it is over.
"""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.status_socket import read_status
from tests.appliance import SMSGW, Appliance, CarrierSpec, ProcessFailed, Running

_RATE = 100_000.0
_WINDOW = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Where a sink listens."""

    host: str
    port: int
    control: int
    ca_file: Path | None
    pid: int | None = None  # of ours
    arrivals: Path | None = None  # where ours logs when each submit_sm came
    before: int = 0  # receipts that had been acknowledged before

    def carrier(self) -> CarrierSpec:
        """Return what the node is told of it."""
        return CarrierSpec(
            port=self.port, host=self.host, ca_file=self.ca_file, server_name="localhost", window=_WINDOW, rate=_RATE
        )

    def acknowledged(self) -> int:
        """Return how many receipts have been acknowledged to it. Raises ProcessFailed when it does not say so."""
        count = self._acknowledged()
        if count is None:
            raise ProcessFailed(f"the sink at {self.host}:{self.port} does not answer at its control port")
        return count - self.before

    def submitted(self) -> int:
        """Return how many submit_sm have come to it; 0 when it does not say so."""
        return int(self.told().get("submits", 0))

    def told(self) -> dict[str, int]:
        """Return all that it counts; nothing when it does not say so."""
        with suppress(OSError, ValueError):
            with socket.create_connection((self.host, self.control), timeout=2) as control, control.makefile() as lines:
                told: dict[str, int] = json.loads(lines.readline())
            return told
        return {}

    def settled(self, appliance: Appliance, sent: int) -> int:
        """Return how many of the `sent` messages of this node have their receipt, acknowledged to the carrier."""
        count = self._acknowledged()
        if count is not None:
            return count - self.before
        status = read_status(appliance.folder / "data" / "status.sock")
        counts = status["counts"]
        if not isinstance(counts, dict):
            raise ProcessFailed("the node's status has no counts")
        open_messages: int = sum(size for name, size in counts.items() if name.startswith("queue."))
        return sent - open_messages

    def _acknowledged(self) -> int | None:
        told = self.told()
        return told.get("receipts_acknowledged", told.get("dlr_ack"))

    def from_now(self) -> Sink:
        """Return the same sink, counting from now on."""
        return dataclasses.replace(self, before=self._acknowledged() or 0)


def foreign(text: str) -> Sink:
    """Return the sink that SINK names: host:port[,ca_file]; without a file it is plain. Raises ValueError."""
    address, _, ca_file = text.partition(",")
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"SINK={text}: host:port or host:port,ca_file is needed")
    ca_path = Path(ca_file).resolve() if ca_file else None
    return Sink(host=host, port=int(port), control=int(port) + 1, ca_file=ca_path).from_now()


@contextmanager
def own(appliance: Appliance, *more: str) -> Iterator[Sink]:
    """Run our sink over TLS; `more`: of its command line."""
    files = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    listen = ("--listen", "127.0.0.1:0", "--control", "127.0.0.1:0")
    arrivals = appliance.folder / "arrivals.tsv"
    command = [SMSGW, "simulator", "--sink", "--json", "--sink-arrivals", str(arrivals), *files, *listen, *more]
    with Running(command, log=appliance.folder / "sink.log") as process:
        ready = json.loads(process.line())
        yield Sink(
            host="127.0.0.1",
            port=ready["port"],
            control=ready["control_port"],
            ca_file=appliance.carrier_ca,
            pid=process.pid,
            arrivals=arrivals,
        )
