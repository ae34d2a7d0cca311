"""What a process has used, from /proc (proc(5)): CPU of all its threads, and memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU since the process began, in seconds (the kernel counts in ticks of 10 ms), and memory in bytes."""

    user_s: float
    system_s: float
    main_thread_s: float
    resident_bytes: int
    peak_bytes: int
    threads_s: dict[int, float]  # user and system time by thread id, of those that live

    @property
    def cpu_s(self) -> float:
        """Return user and system time together, all threads."""
        return self.user_s + self.system_s


def _fields(stat: Path) -> list[str]:
    # The name in parentheses may hold anything; of what follows it the second is the parent, the 12th and 13th are
    # utime and stime.
    return stat.read_text().rpartition(")")[2].split()


def _times(stat: Path) -> tuple[float, float]:
    fields = _fields(stat)
    return int(fields[11]) * _TICK_S, int(fields[12]) * _TICK_S


def _tasks(root: Path) -> list[Path]:
    return [task for task in (root / "task").iterdir() if task.exists()]


def read(pid: int) -> Usage:
    """Return what process `pid` has used so far. Raises FileNotFoundError when it is gone."""
    root = Path("/proc") / str(pid)
    user_s, system_s = _times(root / "stat")
    memory = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines() if line.startswith("Vm"))
    threads = {int(task.name): sum(_times(task / "stat")) for task in _tasks(root)}
    return Usage(
        user_s=user_s,
        system_s=system_s,
        main_thread_s=sum(_times(root / "task" / str(pid) / "stat")),
        resident_bytes=int(memory["VmRSS"].split()[0]) * 1024,
        peak_bytes=int(memory["VmHWM"].split()[0]) * 1024,
        threads_s=threads,
    )


def cpu(pids: Mapping[str, int]) -> dict[str, float]:
    """Return what each process has used so far with its children, in seconds. Raises FileNotFoundError when one is
    gone."""
    return {name: cpu_of_tree(pid) for name, pid in pids.items()}


def cpu_of_tree(pid: int) -> float:
    """Return the CPU of a process and of its children, those that have ended included, in seconds. Raises
    FileNotFoundError when it is gone."""
    fields = _fields(Path("/proc") / str(pid) / "stat")
    ticks = sum(map(int, fields[11:15]))  # utime, stime, and those of children that were waited for
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _fields(stat)
        except OSError:  # it has ended since
            continue
        if int(fields[1]) == pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICK_S
