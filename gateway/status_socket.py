"""Tells processes of this machine how the node is: one JSON object on a Unix socket, then the end.

Who may connect is a matter of file modes: the socket is 0600, so the node's own user and root. A client sends nothing;
`smsgw status` is one. It must not know what the snapshot holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

log = logging.getLogger(__name__)

Snapshot = Callable[[], Awaitable[dict[str, object]]]

_MAX_BYTES = 1 << 20
_MAX_CLIENTS = 8
_DEADLINE_S = 5.0


class StatusUnreachable(Exception):
    """No node answers on this socket; the text says why."""


class StatusSocket:
    """The node's side: answers each connection with what `snapshot` returns at that moment."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self._path = path
        self._snapshot = snapshot
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
        self._server.close()
        for task in tuple(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._server = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _connected(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _MAX_CLIENTS:
            writer.close()
            return
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        try:
            async with asyncio.timeout(_DEADLINE_S):
                writer.write(json.dumps(await self._snapshot()).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError):
            log.debug("status.client_lost")
        except Exception:
            log.exception("status.snapshot_failed")
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


def read_status(path: Path, *, timeout_s: float = _DEADLINE_S) -> dict[str, object]:
    """Return the status of the node that listens on `path`. Raises StatusUnreachable."""
    chunks: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(_address(path))
            while sum(map(len, chunks)) <= _MAX_BYTES and (chunk := client.recv(65536)):
                chunks.append(chunk)
        except (FileNotFoundError, ConnectionRefusedError):
            raise StatusUnreachable(f"no node is running on {path}") from None
        except PermissionError:
            raise StatusUnreachable(f"{path} belongs to another user; run this as the user of the node") from None
        except OSError as error:
            raise StatusUnreachable(f"the node does not answer on {path}: {error}") from None
    try:
        status = json.loads(b"".join(chunks))
    except ValueError:
        raise StatusUnreachable(f"the node on {path} gave no status; see its log") from None
    if not isinstance(status, dict):
        raise StatusUnreachable(f"what answers on {path} is no node")
    return status
