"""The status socket answers its own user, one object a connection."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import local_socket
from gateway.status_socket import StatusSocket, StatusUnreachable, read_status


async def snapshot() -> dict[str, object]:
    """Return a status."""
    return {"node": "node-1", "links": [{"name": "acme/0"}]}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Path]:
    """Serve a status."""
    path = tmp_path / "status.sock"
    server = StatusSocket(path, snapshot)
    await server.start()
    yield path
    await server.stop()
    assert not path.exists()


async def test_answers_one_object(served: Path) -> None:
    """Each connection gets the status of its moment, and the end."""
    for _ in range(3):
        assert await asyncio.to_thread(read_status, served) == await snapshot()


async def test_only_its_user_may_ask(served: Path) -> None:
    """The socket is private."""
    assert stat.S_IMODE((await asyncio.to_thread(served.stat)).st_mode) == 0o600


async def test_clients_at_a_time_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While as many are being answered as may be, the next ones are closed at once; then it answers again."""
    monkeypatch.setattr(local_socket, "_MAX_CLIENTS", 2)
    going, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def slow() -> dict[str, object]:
        asked.release()
        await going.wait()
        return await snapshot()

    path = tmp_path / "status.sock"
    server = StatusSocket(path, slow)
    await server.start()
    try:
        answers = [asyncio.create_task(asyncio.to_thread(read_status, path)) for _ in range(2)]
        async with asyncio.timeout(10):
            for _ in answers:
                await asked.acquire()
        for _ in range(3):
            with pytest.raises(StatusUnreachable):
                await asyncio.to_thread(read_status, path)
        going.set()
        assert await asyncio.gather(*answers) == [await snapshot()] * 2
        assert await asyncio.to_thread(read_status, path) == await snapshot()
    finally:
        await server.stop()


async def test_second_node_is_refused(served: Path) -> None:
    """A socket on which somebody answers is not taken over."""
    with pytest.raises(FileExistsError, match="another node"):
        await StatusSocket(served, snapshot).start()
    assert await asyncio.to_thread(read_status, served) == await snapshot()


async def test_dead_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed node left behind is no obstacle."""
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = StatusSocket(path, snapshot)
    await server.start()
    assert await asyncio.to_thread(read_status, path) == await snapshot()
    await server.stop()
    await server.stop()


async def test_other_file_is_left_alone(tmp_path: Path) -> None:
    """A file that is no socket is not removed."""
    path = tmp_path / "status.sock"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="in the way"):
        await StatusSocket(path, snapshot).start()
    assert path.read_text() == "mine"


async def test_snapshot_that_fails(tmp_path: Path) -> None:
    """A failing snapshot gives no status, and the socket lives on."""
    answers = iter([ValueError("broken"), None])

    async def sometimes() -> dict[str, object]:
        failure = next(answers)
        if failure is not None:
            raise failure
        return {}

    server = StatusSocket(tmp_path / "s", sometimes)
    await server.start()
    with pytest.raises(StatusUnreachable, match="gave no status"):
        await asyncio.to_thread(read_status, tmp_path / "s")
    assert await asyncio.to_thread(read_status, tmp_path / "s") == {}
    await server.stop()


def test_nobody_there(tmp_path: Path) -> None:
    """Without a node there is no status."""
    with pytest.raises(StatusUnreachable, match="no node is running"):
        read_status(tmp_path / "status.sock")


def test_stranger(tmp_path: Path) -> None:
    """What answers something else is no node, and silence ends."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(StatusUnreachable, match="does not answer"):
            read_status(path, timeout_s=0.05)


async def test_long_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path too long for a socket's address is reached from the working folder, or refused with a sentence."""
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    server = StatusSocket(folder / "status.sock", snapshot)
    with pytest.raises(OSError, match="too long"):
        await StatusSocket(Path(os.sep) / "tmp" / ("z" * 120) / "s", snapshot).start()
    monkeypatch.chdir(folder)
    await server.start()
    assert await asyncio.to_thread(read_status, folder / "status.sock") == await snapshot()
    await server.stop()
