"""An event loop whose time is simulated: when nothing is left to do now, it jumps to the next timer.

    loop = SimulatedLoop()
    loop.run_until_complete(an_hour_of_traffic())   # in seconds

Threads work in real time, so time stands still while one is asked: calls into the executor are counted here, and a
store's threads by `watch_store`. Connections are socket pairs in memory, which take no time; `listen` says who serves
the other end.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

from gateway.store.sqlite import SqliteStore

_START = 1_000.0
_WAIT_S = 0.05  # for a thread, in real time, before it is looked at again


class SimulatedLoop(asyncio.SelectorEventLoop):
    """See the module. `jumps` counts how often time moved."""

    def __init__(self) -> None:
        self.jumps = 0
        self._simulated = _START
        self._in_threads = 0
        self._busy: list[Callable[[], bool]] = []
        self._acceptor: Callable[[], asyncio.Protocol | None] = lambda: None
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self._simulated

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.jumps += 1
        self._simulated += seconds

    def busy(self) -> bool:
        """Say whether a thread is at work for this loop."""
        return self._in_threads > 0 or any(busy() for busy in self._busy)

    def listen(self, acceptor: Callable[[], asyncio.Protocol | None]) -> None:
        """Serve connections, whatever their address, by a protocol of `acceptor`; None refuses one."""
        self._acceptor = acceptor

    def watch_store(self, store: SqliteStore) -> None:
        """Let time stand still while the store's threads work."""
        asked = 0
        ask = store._reader.ask

        async def counted(query: Callable[..., Any]) -> Any:
            nonlocal asked
            asked += 1
            try:
                return await ask(query)
            finally:
                asked -= 1

        store._reader.ask = counted  # type: ignore[method-assign]  # the look-ups have no count of their own
        self._busy.append(lambda: asked > 0 or store._writer.unfinished > 0)

    def run_in_executor(  # type: ignore[override]  # typeshed's is generic in the arguments, which nobody reads here
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As ever, counted."""
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._back)
        return future

    def _back(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        """Connect to what `listen` was given. Raises ConnectionRefusedError where that refuses."""
        served = self._acceptor()
        if served is None:
            raise ConnectionRefusedError(111, "refused by the test")
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        await self.connect_accepted_socket(lambda: served, sock=theirs)
        return await super().create_connection(protocol_factory, sock=ours)


class _JumpingSelector(selectors.BaseSelector):
    """Asks the real selector without waiting; when nothing is there and no thread is at work, time jumps instead."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready."""
        busy = self._loop.busy()  # before the look: a thread that ends between the two has been heard by then
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if busy or timeout is None:
            return self._real.select(_WAIT_S)
        self._loop.advance(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the real one."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As the real one."""
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the real one."""
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        """As the real one."""
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As the real one."""
        return self._real.get_map()
