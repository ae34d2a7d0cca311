"""Captures of loopback by dumpcap, and what tshark reads in them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def captured(port: int, into: Path, *, connections: int = 1) -> Iterator[None]:
    """Capture what goes over loopback on this port during the block, all of it; the block ends its connections."""
    command = ["dumpcap", "-i", "lo", "-q", "-B", "16", "-f", f"tcp port {port}", "-w", str(into)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:  # ends when dumpcap does
            said.append(line)
            if line.startswith("File: "):  # it captures from here on
                break
        else:
            pytest.fail(f"dumpcap cannot capture on loopback (root, or its group, may): {''.join(said)}")
        yield
        ends_of_connections(into, port, connections)
    finally:
        process.terminate()
        with process.stderr:
            rest = process.stderr.read()
        process.wait(10)
    assert "0 dropped" in rest or "/0 (" in rest, f"packets were dropped: {rest}"


def ends_of_connections(capture: Path, port: int, connections: int) -> None:
    """Return when all ends have closed in what has been written of the capture: dumpcap lags behind."""
    deadline = time.monotonic() + 15
    while len(dissected(capture, port, "frame.number", only="tcp.flags.fin == 1")) < 2 * connections:
        assert time.monotonic() < deadline, "the capture does not show the end of the connections"
        time.sleep(0.1)


def dissected(capture: Path, port: int, *fields: str, only: str = "smpp") -> list[list[str]]:
    """Return the values of `fields` in each frame that the display filter `only` takes."""
    command = ["tshark", "-r", str(capture), "-d", f"tcp.port=={port},smpp", "-Y", only, "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    # Not check=True: a file that is still being written ends within a packet, which tshark reports.
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [line.split("\t") for line in done.stdout.splitlines()]


def faults(capture: Path, port: int) -> list[list[str]]:
    """Return the frames in which tshark finds something malformed, or an error of any protocol."""
    only = "_ws.malformed || _ws.expert.severity == 0x00800000"
    return dissected(capture, port, "frame.number", "_ws.expert.message", only=only)


def occurrences(frames: list[list[str]], column: int) -> list[str]:
    """Return all values of one field; a frame with several PDUs has several."""
    return [value for frame in frames for value in frame[column].split(",") if value]
