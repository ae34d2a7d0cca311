"""Children are ready by a line, end when they are told, and never outlive their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.children import Child, ChildFailed, smsgw_command

READY = 'print(\'noise\'); print(\'{"event": "ready", "api": "h:1"}\', flush=True); '


def child(tmp_path: Path, script: str) -> Child:
    """Return a child that runs a script."""
    return Child("the child", [sys.executable, "-c", script], tmp_path / "child.log")


async def test_ready_and_stopped(tmp_path: Path) -> None:
    """The ready line is returned, and SIGTERM ends it."""
    process = child(tmp_path, READY + "import time; time.sleep(60)")
    assert (await process.start(20))["api"] == "h:1"
    await process.stop()
    await process.stop()
    assert await process.wait() == -signal.SIGTERM


async def test_child_that_ends_at_once(tmp_path: Path) -> None:
    """Its exit code and the end of its log are told."""
    with pytest.raises(ChildFailed, match=r"(?s)exit code 3 before it was ready.*sorry"):
        await child(tmp_path, "import sys; print('sorry', file=sys.stderr); sys.exit(3)").start(20)


async def test_child_that_is_never_ready(tmp_path: Path) -> None:
    """The deadline ends the waiting, and the child."""
    process = child(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(ChildFailed, match="not ready within"):
        await process.start(0.2)
    assert await process.wait() == -signal.SIGTERM


async def test_child_that_ends_later(tmp_path: Path) -> None:
    """Whoever waits learns the exit code; all of its output is in the log, and never held it up."""
    process = child(tmp_path, READY + "import sys; print('x' * 300_000); sys.exit(7)")
    await process.start(20)
    assert await asyncio.wait_for(process.wait(), 20) == 7
    await process.stop()
    text = await asyncio.to_thread((tmp_path / "child.log").read_text)
    assert text.startswith("noise\n")
    assert len(text) > 300_000


def test_no_child_outlives_its_parent(tmp_path: Path) -> None:
    """Killing the parent, without any chance to clean up, ends its children."""
    parent = (
        "import asyncio, os, sys; from pathlib import Path; from gateway.cli.children import Child\n"
        "async def run():\n"
        '    script = \'import os, time; print(chr(123) + chr(34) + "event" + chr(34) + ": " + chr(34) + '
        '"ready" + chr(34) + ", " + chr(34) + "pid" + chr(34) + ": " + str(os.getpid()) + chr(125), '
        "flush=True); time.sleep(60)'\n"
        f"    child = Child('c', [sys.executable, '-c', script], Path({str(tmp_path / 'log')!r}))\n"
        "    print((await child.start(20))['pid'], flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        handle = os.pidfd_open(pid)
        process.kill()
    try:
        # A process handle becomes readable when its process ends.
        import select

        assert select.select([handle], [], [], 20)[0]
    finally:
        os.close(handle)


def test_commands_run_this_installation() -> None:
    """Subcommands are run by the interpreter that runs us."""
    done = subprocess.run(smsgw_command("--version"), capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("smsgw, version")
