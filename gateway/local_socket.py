"""Unix sockets between a node and commands of the same user: one answer a connection, then the end.

Who may connect is a matter of file modes: a socket is 0600 from its first moment, so the node's own user and root. What
is asked and answered is the business of those who use this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from visibility.listening import stop_accepting

log = logging.getLogger(__name__)

Answer = Callable[[asyncio.StreamReader], Awaitable[bytes]]

_MAX_CLIENTS = 8
DEADLINE_S = 5.0


class LocalUnreachable(Exception):
    """No node answers on this socket; the text says why."""


class LocalSocket:
    """The node's side: answers each connection with what `answer` returns for what it reads from it."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError; a socket left by a dead node is replaced, one of a living node is not."""
        _remove_dead(self._path)
        listener = _bind_private(self._path)
        try:
            self._server = await asyncio.start_unix_server(self._connected, sock=listener)
        except BaseException:
            listener.close()
            raise

    async def stop(self) -> None:
        """Stop listening, end what is being answered, remove the socket. Idempotent."""
        if self._server is None:
            return
        await stop_accepting(self._server)
        self._server.close()
        for task in tuple(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._server = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _MAX_CLIENTS:
            writer.close()
            return
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        try:
            async with asyncio.timeout(DEADLINE_S):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, TimeoutError):
            log.debug("local_client_lost")
        except Exception:  # the top of this connection's task
            log.exception("local_answer_failed", extra={"socket": self._path.name})
        finally:
            writer.close()


def _remove_dead(path: Path) -> None:
    """Remove a socket on which nobody answers. Raises OSError when somebody does, or when it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} is in the way: it is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(_address(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise FileExistsError(f"another node answers on {path}")


def _bind_private(path: Path) -> socket.socket:
    """Return a listening socket whose file is 0600 from its first moment: modes of a socket come from the umask."""
    listener = socket.socket(socket.AF_UNIX)
    old = os.umask(0o177)
    try:
        listener.bind(_address(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(old)
    return listener


def _address(path: Path) -> str:
    """Return the shortest name of the socket: a Unix socket's address holds 107 octets (unix(7))."""
    text = str(path)
    if len(os.fsencode(text)) > 107:
        text = os.path.relpath(path)
    if len(os.fsencode(text)) > 107:
        raise OSError(f"the path {path} is too long for a socket; choose a shorter node.data_dir")
    return text


def ask(path: Path, question: bytes = b"", *, max_bytes: int, timeout_s: float = DEADLINE_S) -> bytes:
    """Return what the node that listens on `path` answers, whole. Raises LocalUnreachable."""
    chunks: list[bytes] = []
    size = 0
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(_address(path))
            if question:  # a node that asks nothing may have answered and closed already
                client.sendall(question)
            while chunk := client.recv(65536):
                size += len(chunk)
                if size > max_bytes:
                    raise LocalUnreachable(f"what answers on {path} does not end: it is no node")
                chunks.append(chunk)
        except (FileNotFoundError, ConnectionRefusedError):
            raise LocalUnreachable(f"no node is running on {path}") from None
        except PermissionError:
            raise LocalUnreachable(f"{path} belongs to another user; run this as the user of the node") from None
        except OSError as error:
            raise LocalUnreachable(f"the node does not answer on {path}: {error}") from None
    return b"".join(chunks)
