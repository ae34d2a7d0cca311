"""What the time of a profile went into, by area, in microseconds a message.

py-spy samples who holds Python's lock: so long did a thread work in Python, or in native code below it. What a thread
used beyond that, as the kernel counts it (`bench.usage`), it did without the lock: SQLite and the disk in the store's
threads, TLS and system calls in the loop. Threads of gRPC's own never have it. A sample belongs to the innermost of its
frames whose file is named below; what native code does under none of them (gRPC, uvloop) belongs to the loop.
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
    ("gateway/store/", "store: statements, rows, records"),
    ("gateway/pipeline/", "pipeline"),
    ("gateway/routing/", "pipeline"),
    ("carrier/", "carrier link: SMPP and TLS"),
    ("ssl.py", "carrier link: SMPP and TLS"),
)
_POLLER = "_poll_wrapper"
_LOOP = "event loop, and gRPC in it"
_NATIVE = "threads without Python: gRPC's HTTP/2 and TLS"
_THREAD = re.compile(r"thread \((\d+)\): (.*)")
_FRAME = re.compile(r".* \((.*):\d+\)")


def area_of(frames: list[str]) -> str:
    """Return the area of one stack; the first frame is its thread, the last the innermost."""
    if _POLLER in frames[0]:
        return "gRPC's poller"
    for frame in reversed(frames[1:]):
        found = _FRAME.match(frame)
        if found is not None:
            path = found.group(1)
            for prefix, area in _FILES:
                if path.startswith(prefix) or f"/{prefix}" in path:
                    return area
    return _LOOP


def areas(folded: Path, threads_us: Mapping[int, float], sample_us: float) -> list[tuple[str, float]]:
    """Return microseconds by area, the largest first.

    `threads_us`: what each thread used, by its id. `sample_us`: what one sample stands for; when those of a thread
    stand for more than it used (it lost its core while it held the lock), they share out what it used.
    """
    samples, names = _by_thread(folded)
    total: defaultdict[str, float] = defaultdict(float)
    for thread, used_us in threads_us.items():
        of_thread = samples[thread]
        seen_us = of_thread.total() * sample_us
        if seen_us <= 0:
            total[_NATIVE] += used_us
            continue
        for area, count in of_thread.items():
            total[area] += count * sample_us * min(1.0, used_us / seen_us)
        total[_without_lock(names[thread])] += max(0.0, used_us - seen_us)
    return sorted(total.items(), key=lambda item: -item[1])


def _by_thread(folded: Path) -> tuple[defaultdict[int, Counter[str]], dict[int, str]]:
    """Return the samples of each thread by area, and the names of the threads."""
    samples: defaultdict[int, Counter[str]] = defaultdict(Counter)
    names: dict[int, str] = {}
    for line in folded.read_text().splitlines():
        stack, _, times = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith("process ")]
        found = _THREAD.match(frames[0])
        if found is not None:
            thread = int(found.group(1))
            names[thread] = found.group(2)
            samples[thread][area_of(frames)] += int(times)
    return samples, names


def _without_lock(thread: str) -> str:
    if thread.startswith("store-"):
        return "SQLite and the disk"
    return "loop: system calls, TLS" if thread == "MainThread" else "other threads, outside of Python"


def table(found: list[tuple[str, float]]) -> str:
    """Return the areas as lines for people."""
    whole = sum(used_us for _, used_us in found)
    lines = [f"{used_us:7.1f} µs  {used_us / whole:5.1%}  {area}" for area, used_us in found]
    return "\n".join([*lines, f"{whole:7.1f} µs          all threads, each message"])
