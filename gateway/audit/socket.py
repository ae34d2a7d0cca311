"""The audit, as processes of this machine may read it: pages of commits, on a Unix socket (`gateway.local_socket`).

    question    {"after": 12, "limit": 100} and the end of the line
    answer      {"oldest": 1, "newest": 40, "commits": [{"seq": 13, "at": ..., "records": "<base64>"}, ...]}

Records travel as they are stored: the node decodes nothing, and who reads them can hash them. Nothing can be changed
this way.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.errors import GatewayError
from gateway.local_socket import LocalSocket, LocalUnreachable, ask

SOCKET_NAME = "audit.sock"
MAX_LIMIT = 1_000
_MAX_ANSWER = 64 << 20  # a page is a quarter of a MiB, or one commit: of 4,000 rows at most


class StoredCommit(Protocol):
    """A commit as the store has it (`gateway.store.contract.AuditCommit`)."""

    @property
    def seq(self) -> int:
        """Its place, from 1."""

    @property
    def at(self) -> int:
        """When it was committed, microseconds since the Unix epoch."""

    @property
    def records(self) -> bytes:
        """The frames of its records."""


class AuditReader(Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def audit_read(self, after_seq: int, limit: int) -> Sequence[StoredCommit]:
        """Return commits above `after_seq`, in order."""

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit, the seq of the newest)."""


class Commit(NamedTuple):
    """One commit: its place, when it was committed, the frames of its records."""

    seq: int
    at: int
    records: bytes


class Page(NamedTuple):
    """Commits in order, and where the log begins (`before_oldest` + 1) and ends."""

    before_oldest: int
    newest: int
    commits: tuple[Commit, ...]


class AuditUnreadable(LocalUnreachable):
    """The node does not show its audit; the text says why."""


class AuditSocket(LocalSocket):
    """The node's side."""

    def __init__(self, path: Path, store: AuditReader) -> None:
        async def answer(reader: asyncio.StreamReader) -> bytes:
            try:
                after, limit = _question(await reader.readline())
                page = await _page(store, after, limit)
            except (ValueError, GatewayError) as error:
                page = {"error": str(error)}
            return json.dumps(page).encode() + b"\n"

        super().__init__(path, answer)


def _question(line: bytes) -> tuple[int, int]:
    document = json.loads(line)
    if not isinstance(document, dict) or set(document) != {"after", "limit"}:
        raise ValueError("the question is not {after, limit}")
    after, limit = document["after"], document["limit"]
    if type(after) is not int or type(limit) is not int or not 0 <= after < 1 << 63 or not 0 <= limit <= MAX_LIMIT:
        raise ValueError(f"after is a place in the log, limit 0 to {MAX_LIMIT}")
    return after, limit


async def _page(store: AuditReader, after: int, limit: int) -> dict[str, object]:
    before_oldest, newest = await store.audit_bounds()
    commits = await store.audit_read(after, limit) if limit else ()
    return {
        "before_oldest": before_oldest,
        "newest": max([newest, *[commit.seq for commit in commits]]),
        "commits": [
            {"seq": commit.seq, "at": commit.at, "records": base64.b64encode(commit.records).decode()}
            for commit in commits
        ],
    }


def read_page(path: Path, after: int, limit: int) -> Page:
    """Ask the node that listens on `path` for up to `limit` commits above `after`. Raises AuditUnreadable."""
    question = json.dumps({"after": after, "limit": limit}).encode() + b"\n"
    try:
        answer = ask(path, question, max_bytes=_MAX_ANSWER)
    except LocalUnreachable as error:
        raise AuditUnreadable(str(error)) from None
    try:
        document = json.loads(answer)
        if "error" in document:
            raise AuditUnreadable(f"the node cannot read its audit: {document['error']}")
        commits = tuple(
            Commit(int(one["seq"]), int(one["at"]), base64.b64decode(one["records"], validate=True))
            for one in document["commits"]
        )
        return Page(int(document["before_oldest"]), int(document["newest"]), commits)
    except (ValueError, KeyError, TypeError):
        raise AuditUnreadable(f"the node on {path} gave no audit; see its log") from None
