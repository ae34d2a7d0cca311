"""The control port: counts, commands, and lines that are neither."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from carrier.simulator import control
from carrier.simulator.control import ControlServer, simulator_handler
from carrier.simulator.errors import ScriptError
from tests.carrier.simulator.conftest import Starter
from tests.carrier.simulator.esme import Connection, submit

Ask = Callable[[str], Awaitable[dict[str, object]]]


@pytest.fixture
async def served(start: Starter) -> AsyncIterator[ControlServer]:
    """A simulator's control port, with one connection bound."""
    simulator = await start()
    server = ControlServer(simulator_handler(simulator))
    await server.start()
    connection = await Connection.bound(simulator.port)
    await connection.submitted(submit())
    yield server
    await server.stop()
    await server.stop()
    await connection.close()


@pytest.fixture
async def ask(served: ControlServer) -> AsyncIterator[Ask]:
    """Send a line, return what answers; an empty line only reads."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

    async def asker(line: str) -> dict[str, object]:
        if line:
            writer.write(line.encode() + b"\n")
        async with asyncio.timeout(5):
            answer = json.loads(await reader.readline())
        assert isinstance(answer, dict)
        return answer

    yield asker
    writer.close()
    await writer.wait_closed()


async def test_counts_come_at_once_and_when_asked(ask: Ask) -> None:
    """One line of JSON for each connection, and one for each question."""
    assert (await ask(""))["accepted"] == 1
    assert (await ask('{"stats": true}'))["bound"] == 1


async def test_commands(ask: Ask) -> None:
    """A message from a handset, and a cut."""
    await ask("")
    assert await ask('{"inbound": {"from": "+4915112345678", "to": "12345", "text": "hi"}}') == {"parts": 1}
    assert await ask('{"disconnect": true}') == {"disconnected": 1}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("nonsense", "not JSON"),
        ("[]", "known:"),
        (" ", "not JSON"),
        ('{"inbound": {"from": "1"}}', "known:"),
        ('{"inbound": {"from": "x`y", "to": "1", "text": "hi"}}', "GSM"),
        ('{"inbound": {"from": "12", "to": "1", "text": "\\ud800"}}', "surrogate"),
        ('{"disconnect": false}', "known:"),
    ],
)
async def test_lines_that_cannot_be_understood_are_answered(ask: Ask, line: str, what: str) -> None:
    """The connection stays, and says what is wrong."""
    await ask("")
    assert what in str((await ask(line))["error"])
    assert "accepted" in await ask('{"stats": true}')


async def test_a_line_without_end_is_cut_off(served: ControlServer) -> None:
    """What is kept of a line is bounded."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    await reader.readline()
    writer.write(b"x" * (3 * control.MAX_LINE_BYTES))
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):  # cut off, as it should be
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_others_cannot_reach_it() -> None:
    """It obeys anybody: loopback only."""
    with pytest.raises(ScriptError, match="loopback"):
        ControlServer(str, host="0.0.0.0")  # noqa: S104  # refused
