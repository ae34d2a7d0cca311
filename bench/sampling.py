"""Where the node's time goes: py-spy samples its threads while it works, and the samples are summed up by function.

py-spy is fetched into .tools/ when first asked for; nothing else needs it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = "py-spy==0.4.1"
_RATE_HZ = 250
SAMPLE_US = 1e6 / _RATE_HZ


def _program() -> Path:
    target = _ROOT / ".tools" / "py-spy"
    program = target / "bin" / "py-spy"
    if not program.exists():
        print(f"bench: installing {_PACKAGE} into .tools/", flush=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            str(target),
        ]
        subprocess.run([*pip, _PACKAGE], check=True, timeout=300)
    return program


@contextmanager
def sampling(pid: int, into: Path) -> Iterator[None]:
    """Sample which thread of process `pid` holds Python's lock, and where, until the end of the block.

    Folded stacks go to `into`. Needs the right to trace the process: root, or kernel.yama.ptrace_scope=0.
    """
    options = [
        "--pid",
        str(pid),
        "--rate",
        str(_RATE_HZ),
        "--format",
        "raw",
        "--output",
        str(into),
        "--threads",
        "--function",
        "--gil",
    ]
    log = into.with_suffix(".log")
    with log.open("wb") as out:
        sampler = subprocess.Popen([_program(), "record", *options, "--duration", "600"], stdout=out, stderr=out)
    try:
        yield
    finally:
        if sampler.poll() is None:
            os.kill(sampler.pid, signal.SIGINT)  # py-spy writes what it has
        try:
            sampler.wait(60)
        except subprocess.TimeoutExpired:
            sampler.kill()
            sampler.wait()
    if not into.exists():
        raise RuntimeError(f"py-spy wrote nothing; it said:\n{log.read_text()}")


def summary(folded: Path, rows: int = 25) -> str:
    """Return the functions of most time: by themselves, and with what they call, as shares of all samples."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in folded.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith("process ")]
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    lines = [f"{total} samples", "", "   own   with callees  function"]
    for frame, samples in own.most_common(rows):
        lines.append(f"{samples / total:6.1%}  {whole[frame] / total:12.1%}  {frame}")
    lines += ["", "  with callees  function"]
    lines += [f"{samples / total:14.1%}  {frame}" for frame, samples in whole.most_common(2 * rows)]
    return "\n".join(lines)
