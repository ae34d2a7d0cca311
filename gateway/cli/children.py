"""Child processes of `smsgw dev`: started one after the other, ready by a line of JSON, stopped in the opposite order.

A child is in a process group of its own, so that Ctrl-C at the terminal reaches the parent only and the order is ours;
and the kernel ends it when the parent dies, however it dies (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Arguments: the parent's process id, then the command line.
_TIE = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
_STOP_S = 20.0
_KILLED_S = 5.0
_LINE_BYTES = 1 << 20
_TAIL_LINES = 12


class ChildFailed(Exception):
    """A child ended, or was not ready in time; the text ends with the last lines of its log."""


def smsgw_command(*arguments: str) -> list[str]:
    """Return the command line of a subcommand, run by this very interpreter and installation."""
    return [sys.executable, "-m", "gateway.cli.main", *arguments]


def _tied(command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` and dies with this process, also if that is dead already.

    The child ties itself before it becomes its program. To tie it between fork and exec (preexec_fn) would run Python
    and gRPC's fork handlers in a copy of one thread of many: now and then that one aborts, or hangs and outlives us.
    """
    return [sys.executable, "-I", "-S", "-c", _TIE, str(os.getpid()), *command]


class Child:
    """One process that prints {"event": "ready", ...} on a line of its own when it is ready."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None

    async def start(self, deadline_s: float) -> dict[str, object]:
        """Start, and return the ready line's object. Raises ChildFailed; the child is then stopped."""
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *_tied(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=descriptor,
                limit=_LINE_BYTES,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        try:
            async with asyncio.timeout(deadline_s):
                ready = await self._ready(self._stdout())
        except TimeoutError:
            await self.stop()
            raise self._failure(f"was not ready within {deadline_s:g} s") from None
        except BaseException:
            await self.stop()
            raise
        self._drain = asyncio.create_task(self._keep_draining(self._stdout()))
        return ready

    def _stdout(self) -> asyncio.StreamReader:
        if self._process is None or self._process.stdout is None:
            raise ChildFailed(f"{self.name} is not running")
        return self._process.stdout

    async def _ready(self, stdout: asyncio.StreamReader) -> dict[str, object]:
        while line := await stdout.readline():
            self._note(line)
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict) and found.get("event") == "ready":
                    return found
        raise self._failure(f"ended with exit code {await self.wait()} before it was ready")

    async def _keep_draining(self, stdout: asyncio.StreamReader) -> None:
        """Move standard output to the log, so that the child never waits for a reader."""
        while chunk := await stdout.read(65_536):
            self._note(chunk)

    def _note(self, octets: bytes) -> None:
        with self._log.open("ab") as log:
            log.write(octets)

    def _failure(self, what: str) -> ChildFailed:
        return ChildFailed(f"{self.name} {what}; the end of {self._log}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of the log."""
        try:
            text = self._log.read_bytes()[-8192:].decode(errors="replace")
        except OSError as error:
            return f"  ({error.strerror})"
        return "\n".join(f"  {line}" for line in text.splitlines()[-_TAIL_LINES:])

    async def wait(self) -> int:
        """Return the exit code, once it has ended; negative for a signal."""
        if self._process is None:
            raise ChildFailed(f"{self.name} is not running")
        return await self._process.wait()

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when it does not follow. Idempotent."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            async with asyncio.timeout(_KILLED_S):
                await self._process.wait()
        if self._drain is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILLED_S):
                    await self._drain
