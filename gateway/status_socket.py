"""Tells processes of this machine how the node is: one JSON object on a Unix socket, then the end.

A client sends nothing; `smsgw status` is one. It must not know what the snapshot holds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.local_socket import DEADLINE_S, LocalSocket, LocalUnreachable, ask

Snapshot = Callable[[], Awaitable[dict[str, object]]]

_MAX_BYTES = 1 << 20


class StatusUnreachable(LocalUnreachable):
    """No node tells its status on this socket; the text says why."""


class StatusSocket(LocalSocket):
    """The node's side: answers each connection with what `snapshot` returns at that moment."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        async def answer(_: asyncio.StreamReader) -> bytes:
            return json.dumps(await snapshot()).encode() + b"\n"

        super().__init__(path, answer)


def read_status(path: Path, *, timeout_s: float = DEADLINE_S) -> dict[str, object]:
    """Return the status of the node that listens on `path`. Raises StatusUnreachable."""
    try:
        status = json.loads(ask(path, max_bytes=_MAX_BYTES, timeout_s=timeout_s))
    except LocalUnreachable as error:
        raise StatusUnreachable(str(error)) from None
    except ValueError:
        raise StatusUnreachable(f"the node on {path} gave no status; see its log") from None
    if not isinstance(status, dict):
        raise StatusUnreachable(f"what answers on {path} is no node")
    return status
