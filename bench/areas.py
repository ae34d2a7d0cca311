"""What the time of a profile went into: samples summed up by area, in microseconds a message.

Samples say how the work of a thread is shared out; how much work a thread did, the kernel says (`bench.usage`): so a
thread that only seems to be busy costs nothing here. A sample belongs to the innermost of its frames whose file is
named below; what native code does under none of them (gRPC, uvloop) belongs to the loop. Threads of gRPC's own have no
Python frames at all, and no samples.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

# The first that a file's path begins with, or contains behind a slash, counts.
_FILES = (
    ("gateway/api/authorizing", "policies"),
    ("gateway/policy/", "policies"),
    ("gateway/pipeline/permits", "policies"),
    ("gateway/api/limiting", "limits"),
    ("gateway/limits/", "limits"),
    ("gateway/api/auditing", "audit"),
    ("gateway/audit/", "audit"),
    ("gateway/sealing/", "sealing"),
    ("gateway/api/telemetry", "traces and metrics"),
    ("gateway/telemetry/", "traces and metrics"),
    ("opentelemetry/", "traces and metrics"),
    ("gateway/identity", "identity and revocation"),
    ("gateway/revocation", "identity and revocation"),
    ("certs/", "identity and revocation"),
    ("gateway/validation", "validation"),
    ("gateway/contents", "validation"),
    ("gateway/destinations", "validation"),
    ("gateway/countries", "validation"),
    ("gateway/senders", "validation"),
    ("carrier/text/", "validation and coding of texts"),
    ("gateway/api/", "API: calls, requests, answers"),
    ("gateway/store/sqlite/bulk", "store: SQL"),
    ("gateway/store/", "store: the rest"),
    ("gateway/pipeline/", "pipeline"),
    ("gateway/routing/", "pipeline"),
    ("carrier/", "carrier link: SMPP and TLS"),
    ("ssl.py", "carrier link: SMPP and TLS"),
)
_COMMIT = "_commit (gateway/store/sqlite/writer.py"  # its own time is COMMIT: the log, and its way to the disk
_POLLER = "_poll_wrapper"
_LOOP = "event loop, and gRPC in it"
_NATIVE = "threads without Python: gRPC's HTTP/2 and TLS"
_THREAD = re.compile(r"thread \((\d+)\): (.*)")
_FRAME = re.compile(r".* \((.*):\d+\)")


def area_of(frames: list[str]) -> str:
    """Return the area of one stack; the first frame is its thread, the last the innermost."""
    if _POLLER in frames[0]:
        return "gRPC's poller"
    if frames[-1].startswith(_COMMIT):
        return "store: COMMIT"
    for frame in reversed(frames[1:]):
        found = _FRAME.match(frame)
        if found is not None:
            path = found.group(1)
            for prefix, area in _FILES:
                if path.startswith(prefix) or f"/{prefix}" in path:
                    return area
    return _LOOP


def areas(folded: Path, threads_us: Mapping[int, float]) -> list[tuple[str, float]]:
    """Return microseconds by area, the largest first. `threads_us`: what each thread used, by its id."""
    samples: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for line in folded.read_text().splitlines():
        stack, _, times = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith("process ")]
        found = _THREAD.match(frames[0])
        if found is not None:
            samples[int(found.group(1))][area_of(frames)] += int(times)
    total: defaultdict[str, float] = defaultdict(float)
    for thread, used_us in threads_us.items():
        of_thread = samples.get(thread)
        if not of_thread:
            total[_NATIVE] += used_us
            continue
        for area, count in of_thread.items():
            total[area] += used_us * count / of_thread.total()
    return sorted(total.items(), key=lambda item: -item[1])


def table(found: list[tuple[str, float]]) -> str:
    """Return the areas as lines for people."""
    whole = sum(used_us for _, used_us in found)
    lines = [f"{used_us:7.1f} µs  {used_us / whole:5.1%}  {area}" for area, used_us in found]
    return "\n".join([*lines, f"{whole:7.1f} µs          all threads, each message"])
