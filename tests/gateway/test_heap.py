"""The collector of a node: in a process of its own, since it is the process that is changed."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import gc, weakref
from gateway.heap import settle_heap
class Node: pass
settle_heap()
assert gc.get_freeze_count() > 1_000, gc.get_freeze_count()
assert gc.isenabled() and gc.get_threshold()[0] == 10_000
gone = 0
def note():
    global gone
    gone += 1
for _ in range(30_000):
    one = Node(); one.self = one; weakref.finalize(one, note)
assert gone > 0, "cycles are still found"
"""


def test_what_lives_is_left_out_and_cycles_are_still_found() -> None:
    """Modules and the like are frozen; cycles made afterwards are collected without being asked for."""
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True, timeout=60)
