"""The control port of a simulator: JSON lines on loopback.

A connection gets one line of counts at once. After that each line it sends is a command, answered by one line:

    {"stats": true}                                             the counts
    {"inbound": {"from": "+4915...", "to": "12345", "text": "hi"}}   {"parts": 1}
    {"disconnect": true}                                        {"disconnected": 2}

A line that cannot be understood is answered with {"error": "..."}.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import cast

from carrier.errors import CarrierError
from carrier.simulator.errors import ScriptError
from carrier.simulator.simulator import Simulator, is_loopback
from visibility.listening import stop_accepting

MAX_LINE_BYTES = 64 * 1024
MAX_CONNECTIONS = 16
_IDLE_S = 3600.0

Handler = Callable[[str], object]


def simulator_handler(simulator: Simulator) -> Handler:
    """Return what answers the commands of `simulator`; an empty line stands for the greeting."""

    def handle(line: str) -> object:
        if not line:
            return simulator.stats()
        try:
            command = json.loads(line)
        except ValueError:
            return {"error": "this is not JSON; send one object on one line"}
        match command:
            case {"stats": True}:
                return simulator.stats()
            case {"disconnect": True}:
                return {"disconnected": simulator.disconnect_all()}
            case {"inbound": {"from": str(source), "to": str(destination), "text": str(text)}}:
                try:
                    return {"parts": simulator.inject_inbound(source, destination, text)}
                except CarrierError as error:
                    return {"error": str(error)}
        return {"error": 'known: {"stats": true}, {"disconnect": true}, {"inbound": {"from", "to", "text"}}'}

    return handle


class ControlServer:
    """Serves a handler. Raises ScriptError for an address that others could reach."""

    def __init__(self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0) -> None:
        if not is_loopback(host):
            raise ScriptError(f"--control {host}: the control port obeys anybody; it listens on loopback only")
        self._handler = handler
        self._host = host
        self._wanted_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the control port has not been opened")
        return cast(int, self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises OSError when the port cannot be had."""
        self._server = await asyncio.start_server(self._accepted, self._host, self._wanted_port, limit=MAX_LINE_BYTES)

    async def stop(self) -> None:
        """Close everything. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        await stop_accepting(server)
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = ""
            while True:
                writer.write(json.dumps(self._handler(line)).encode() + b"\n")
                async with asyncio.timeout(_IDLE_S):
                    await writer.drain()
                async with asyncio.timeout(_IDLE_S):
                    octets = await reader.readline()
                if not octets:
                    return
                line = octets.decode("utf-8", "replace").strip() or " "
        except (OSError, TimeoutError, ValueError):  # gone, idle, or a line without end
            return
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()
