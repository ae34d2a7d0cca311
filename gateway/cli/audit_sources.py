"""Where `smsgw audit verify` takes the commits of the audit from: a database file, or the running node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import apsw

from gateway.audit.socket import SOCKET_NAME, AuditUnreadable, Commit, read_page
from gateway.cli.manners import Failure, Unreachable
from gateway.config.schema import Settings
from gateway.proving.whole import StoredCommit
from gateway.sequencing.growth import HINTS
from gateway.store.engine.auditing import read_bounds, read_commits
from gateway.store.engine.database import View
from gateway.store.sqlite.schema import connect_reader
from gateway.store.sqlite.statements import STATEMENTS
from gateway.tlog.errors import MalformedLog
from gateway.tlog.tiles import WIDTH, Tile, split_bundle

_PAGE = 1_000
_PRUNED = "SELECT pruned FROM log_head"


class Bounds(NamedTuple):
    """The seq before the oldest commit that is kept, and that of the newest; and up to which some may be gone."""

    before_oldest: int
    newest: int
    pruned: int


class Audit(Protocol):
    """An audit that can be read from its beginning."""

    def bounds(self) -> Bounds:
        """Return where it begins and ends."""

    def commits(self) -> Iterator[StoredCommit]:
        """Yield every commit, in the order of their numbers."""

    def hints(self, index: int) -> bytes:
        """Return the first octets of the hashes of a commit's records, by its place from 0, as the log kept them; none
        where they are not at hand."""


class _Database:
    def __init__(self, db: apsw.Connection) -> None:
        self._look = View(db, STATEMENTS)

    def bounds(self) -> Bounds:
        ((pruned,),) = self._look.db.execute(_PRUNED)  # of a backup of an older schema too
        return Bounds(*read_bounds(self._look), pruned=int(pruned))

    def commits(self) -> Iterator[StoredCommit]:
        last = 0
        while page := read_commits(self._look, last, _PAGE):
            yield from page
            last = page[-1].seq

    def hints(self, index: int) -> bytes:
        number, at = divmod(index, WIDTH)
        rows = STATEMENTS.sequencing.tiles.find(self._look.db, [(HINTS, number)])
        for _, _, _, width, octets in rows:
            try:
                found = split_bundle(Tile(HINTS, number, width), octets)
            except MalformedLog:
                break
            return found[at] if at < len(found) else b""
        return b""


class _Node:
    def __init__(self, path: Path) -> None:
        self._path = path

    def bounds(self) -> Bounds:
        page = read_page(self._path, 0, 0)
        return Bounds(page.before_oldest, page.newest, page.before_oldest)

    def commits(self) -> Iterator[Commit]:
        last = 0
        while page := read_page(self._path, last, _PAGE).commits:
            yield from page
            last = page[-1].seq

    def hints(self, _index: int) -> bytes:
        return b""


@contextmanager
def opened(settings: Settings | None, database: Path | None) -> Iterator[Audit]:
    """Open the audit: of a database file where one is named or configured, else of the node on this machine. Raises
    Failure or Unreachable, also for what goes wrong while it is read."""
    file = database
    if file is None and settings is not None and settings.store.postgres is None:
        file = settings.store.file
    try:
        if file is not None:
            with _connected(file) as db:
                yield _Database(db)
        elif settings is not None:
            yield _Node(settings.node.data_dir / SOCKET_NAME)
    except AuditUnreadable as error:
        raise Unreachable(str(error), reason="NODE_UNREACHABLE") from error
    except apsw.Error as error:
        raise Failure(f"{file}: {error}: is it a database of smsgw?", reason="DATABASE_UNREADABLE") from error


@contextmanager
def _connected(file: Path) -> Iterator[apsw.Connection]:
    db = connect_reader(file, None)
    try:
        yield db
    finally:
        db.close()
