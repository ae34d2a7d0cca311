"""A line to the server that can be severed: a Unix socket of its own, in a thread, that passes on what it gets."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

_NAME = ".s.PGSQL.5432"
_CHUNK = 1 << 16


class Line:
    """The sockets of it. `sever` swallows everything in both directions; `mend` ends all connections, and takes new
    ones."""

    def __init__(self, folder: Path, server: Path) -> None:
        """`folder` is what a client takes for the server's; it has to be short, as paths of sockets are."""
        self.folder = folder
        self._server = server
        self._severed = threading.Event()
        self._stopped = threading.Event()
        self._cut = threading.Event()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _NAME))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="severed-line", daemon=True)
        self._thread.start()

    def sever(self) -> None:
        """Swallow everything from now on."""
        self._severed.set()

    def mend(self) -> None:
        """End what was severed, and work again."""
        self._cut.set()
        self._severed.clear()

    def stop(self) -> None:
        """End everything."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for key, _ in self._selector.select(0.05):
                source = key.fileobj
                if source is self._listener:
                    self._accept()
                elif isinstance(source, socket.socket) and source in self._pairs:
                    self._pass_on(source)
            if self._cut.is_set():
                self._cut.clear()
                self._end_all()
        self._end_all()
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        front, _ = self._listener.accept()
        back = socket.socket(socket.AF_UNIX)
        try:
            back.connect(str(self._server / _NAME))
        except OSError:  # the server is away
            front.close()
            back.close()
            return
        self._pairs[front], self._pairs[back] = back, front
        for one in (front, back):
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        try:
            octets = source.recv(_CHUNK)
            if octets and not self._severed.is_set():
                self._pairs[source].sendall(octets)
        except OSError:
            octets = b""
        if not octets and not self._severed.is_set():
            self._end(source)
        elif not octets:
            self._selector.unregister(source)  # its end is not told either

    def _end(self, one: socket.socket) -> None:
        other = self._pairs.pop(one)
        self._pairs.pop(other, None)
        for each in (one, other):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(each)
            each.close()

    def _end_all(self) -> None:
        while self._pairs:
            self._end(next(iter(self._pairs)))


@contextlib.contextmanager
def line(folder: Path, server: Path) -> Iterator[Line]:
    """Give a line to the server whose socket is in the folder `server`."""
    opened = Line(folder, server)
    try:
        yield opened
    finally:
        opened.stop()
