"""The audit is read on a private socket, in bounded pages, as it is stored."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.audit.codec import frames
from gateway.audit.socket import AuditSocket, AuditUnreadable, Commit, Page, read_page
from gateway.errors import Overloaded
from gateway.local_socket import ask
from gateway.store.contract import AuditCommit
from tests.gateway.audit.samples import SAMPLES

COMMITS = [AuditCommit(seq, 1000 + seq, len(SAMPLES), frames(SAMPLES)) for seq in range(4, 9)]


class Log:
    """What a store has: commits 4 to 8."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    async def audit_read(self, after_seq: int, limit: int) -> Sequence[AuditCommit]:
        """Return a page."""
        if self.failure is not None:
            raise self.failure
        return [commit for commit in COMMITS if commit.seq > after_seq][:limit]

    async def audit_bounds(self) -> tuple[int, int]:
        """Return where it begins and ends."""
        return 3, 8


@pytest.fixture
def log() -> Log:
    """Give a log."""
    return Log()


@pytest.fixture
async def served(tmp_path: Path, log: Log) -> AsyncIterator[Path]:
    """Serve it."""
    path = tmp_path / "audit.sock"
    server = AuditSocket(path, log)
    await server.start()
    yield path
    await server.stop()
    assert not path.exists()


async def page(path: Path, after: int, limit: int) -> Page:
    """Ask as a command does."""
    return await asyncio.to_thread(read_page, path, after, limit)


async def test_pages(served: Path) -> None:
    """A page has the commits that were asked for, as they are stored, and where the log begins and ends."""
    assert await page(served, 5, 2) == Page(3, 8, tuple(Commit(c.seq, c.at, c.records) for c in COMMITS[2:4]))
    assert await page(served, 0, 0) == Page(3, 8, ())
    assert [commit.seq for commit in (await page(served, 0, 1000)).commits] == [4, 5, 6, 7, 8]


async def test_only_its_user_may_ask(served: Path) -> None:
    """The socket is private."""
    assert stat.S_IMODE((await asyncio.to_thread(served.stat)).st_mode) == 0o600


@pytest.mark.parametrize(
    "question",
    [
        b"\n",
        b"[]\n",
        b'{"after": 1}\n',
        b'{"after": -1, "limit": 1}\n',
        b'{"after": 1, "limit": 1001}\n',
        b'{"after": true, "limit": 1}\n',
        b'{"after": "1", "limit": 1}\n',
        b'{"after": 9223372036854775808, "limit": 1}\n',
        b'{"after": 1, "limit": 1, "drop": true}\n',
        b"x" * 100_000 + b"\n",
    ],
)
async def test_other_questions(served: Path, question: bytes) -> None:
    """A question that is none gets an error, and the socket lives on."""
    answer = json.loads(await asyncio.to_thread(ask, served, question, max_bytes=10_000))
    assert set(answer) == {"error"}
    assert (await page(served, 0, 0)).newest == 8


async def test_the_store_cannot_be_read(served: Path, log: Log) -> None:
    """What keeps the node from reading is told."""
    log.failure = Overloaded("too many look-ups wait for the database", retry_after_s=1)
    with pytest.raises(AuditUnreadable, match="too many look-ups"):
        await page(served, 0, 5)


def test_nobody_there(tmp_path: Path) -> None:
    """Without a node there is no audit to read."""
    with pytest.raises(AuditUnreadable, match="no node is running"):
        read_page(tmp_path / "audit.sock", 0, 1)


@pytest.mark.parametrize(
    "answer",
    [b"", b"{}\n", b"[1]\n", b'{"before_oldest": 0, "newest": 1, "commits": [{"seq": 1, "at": 1, "records": "?"}]}\n'],
)
def test_stranger(tmp_path: Path, answer: bytes) -> None:
    """What answers something else is no node."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        loop = asyncio.new_event_loop()
        try:
            asked = loop.run_in_executor(None, read_page, path, 0, 1)
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                client.sendall(answer)
            with pytest.raises(AuditUnreadable, match="gave no audit"):
                loop.run_until_complete(asked)
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
