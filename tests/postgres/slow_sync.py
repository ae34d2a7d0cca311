"""A server whose disk syncs slowly, or not at all, and which can lose power: what was not synced is gone then.

The slowness is inside of the server: a library before libc's has its fsync and fdatasync wait before they do their work
(slow_sync.c, made by `cc`). A kill alone would lose nothing that was written, since the kernel lives on. So after it
the write-ahead log is cut where the server itself says that it had synced to.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres.server import PostgresServer

_SOURCE = Path(__file__).with_suffix(".c")
_SEGMENT = 16 << 20  # octets of a file of the log
_WITHIN_S = 30.0
_COMMITTING = (
    "SELECT 1 FROM pg_stat_activity WHERE application_name = 'smsgw writer' AND state = 'active' AND query = 'COMMIT'"
)
FOREVER_MS = 600_000


class SlowServer:
    """A server, and how long its syncs take."""

    def __init__(self, server: PostgresServer, control: Path) -> None:
        self.server = server
        self._control = control

    def syncs_take(self, milliseconds: int) -> None:
        """Have each sync take so much longer from now on; those under way too."""
        new = self._control.with_name("new")
        new.write_text(str(milliseconds))
        new.chmod(0o644)
        new.rename(self._control)

    def wait_for_commit(self) -> None:
        """Return when a node's writer waits for its COMMIT. Blocks: not for the event loop."""
        until = time.monotonic() + _WITHIN_S
        with self.server.connect("postgres") as db:
            while not db.execute(_COMMITTING).fetchone():
                assert time.monotonic() < until, "nothing was committed"
                time.sleep(0.005)

    def lose_power(self) -> int:
        """Kill it while nothing is synced, and take away what was not; returns how many octets of the log that were.
        Start it again with `server.start_again`."""
        with self.server.connect("postgres") as db:
            query = "SELECT pg_current_wal_flush_lsn() - '0/0', pg_current_wal_insert_lsn() - '0/0'"
            synced, written = (int(str(at)) for at in db.execute(query).fetchone() or ())
        self.server.kill()
        self.syncs_take(0)
        number, offset = divmod(synced, _SEGMENT)
        first = f"00000001{number >> 8:08X}{number & 0xFF:08X}"
        for file in (self.server.folder / "data" / "pg_wal").glob("[0-9A-F]" * 24):
            if file.name >= first:
                with file.open("r+b") as octets:
                    octets.seek(offset if file.name == first else 0)
                    octets.write(bytes(_SEGMENT - octets.tell()))
        return written - synced


@contextlib.contextmanager
def slow_server() -> Iterator[SlowServer]:
    """Start one, quick at first. Without a compiler the test is skipped."""
    if shutil.which("cc") is None:
        pytest.skip("no cc: the library that slows the server's syncs cannot be made")
    with tempfile.TemporaryDirectory(prefix="smsgw-slow-") as name:
        folder = Path(name)
        folder.chmod(0o777)  # the server may be `nobody`
        control, library = folder / "milliseconds", folder / "slow_sync.so"
        defined = f'-DCONTROL="{control}"'
        command = ["cc", "-shared", "-fPIC", "-O1", defined, "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=_WITHIN_S)
        library.chmod(0o755)
        server = PostgresServer(preload=library)
        slow = SlowServer(server, control)
        try:
            yield slow
        finally:
            slow.syncs_take(0)
            server.stop()
