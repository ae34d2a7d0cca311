"""How fast the machine is at the moment: fixed work of the interpreter, beside which a run's figures can be read.

A shared machine differs from minute to minute by more than most changes of the code; this says by how much.
"""

from __future__ import annotations

import time

_ROUNDS = 20  # half a second
_STEPS = 300_000


def machine_ms() -> float:
    """Return the CPU that the work takes, in ms: the median of its rounds."""
    taken = sorted(_round() for _ in range(_ROUNDS))
    return taken[_ROUNDS // 2] * 1000


def _round() -> float:
    began = time.thread_time()
    kept: dict[int, tuple[int, str]] = {}
    for step in range(_STEPS):
        kept[step & 4095] = step, str(step)
    return time.thread_time() - began
