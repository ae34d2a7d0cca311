"""The tests' own server ends with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_WAIT_S = 30.0
_START = """
import time
from tests.postgres.server import PostgresServer
server = PostgresServer()
print(server.pid, server.folder, flush=True)
time.sleep(600)
"""


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_session_leaves_nothing() -> None:
    """When the tests are killed, the server and its files go too."""
    starter = subprocess.Popen([sys.executable, "-c", _START], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        pid, folder = starter.stdout.readline().split()
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait(_WAIT_S)
    until = time.monotonic() + _WAIT_S
    while not (_gone(int(pid)) and not Path(folder).parent.exists()):
        assert time.monotonic() < until
        time.sleep(0.05)
