"""Moving the write-ahead log into the database, without a stall of the commits.

A checkpoint copies pages and syncs the database: tens of milliseconds for some thousand pages. So it runs in a thread
and on a connection of its own, PASSIVE, beside the commits. Because commits go on meanwhile it never reaches the end of
the log, and only a log that was copied to its end starts again at its beginning; so when it is done, the writer itself
copies the few pages that came since, between two commits.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import apsw

from gateway.store.sqlite import schema

log = logging.getLogger(__name__)

# Pages of the log: from here on it is worth a checkpoint; and from here on the writer no longer waits for the thread.
START_PAGES = 4_000
LIMIT_PAGES = 100_000


class Checkpointer:
    """The thread, and what the writer asks it."""

    def __init__(self, path: Path, vfs: str | None) -> None:
        self._path = path
        self._vfs = vfs
        self._asked = threading.Event()
        self._stopping = False
        self._running = False  # from the writer's question until its answer, `_done`
        self._done = False  # a pass is over: the writer may finish it
        self._pages = 0
        self._next_at = START_PAGES
        self._thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)

    def start(self, writer: apsw.Connection) -> None:
        """Watch the commits of `writer`, and start the thread."""
        self.watch(writer)
        self._thread.start()

    def watch(self, writer: apsw.Connection) -> None:
        """Be told of the length of the log after each commit of `writer`."""
        writer.set_wal_hook(self._on_commit)

    def _on_commit(self, db: apsw.Connection, name: str, pages: int) -> int:
        del db, name
        self._pages = pages
        return apsw.SQLITE_OK

    def after_commit(self, writer: apsw.Connection) -> None:
        """Called by the writer between commits: start a pass, or finish one."""
        if self._done:
            self._done = self._running = False
            self._finish(writer)
        elif self._pages >= LIMIT_PAGES and self._pages >= self._next_at:
            self._finish(writer)
        elif self._pages >= self._next_at and not self._running:
            self._running = True
            self._asked.set()

    def _finish(self, writer: apsw.Connection) -> None:
        try:
            pages, copied = writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            log.warning("checkpoint_failed", extra={"why": str(error)})
            pages, copied = self._pages, 0
        # A reader can hold the end of the log back: then try again when it has grown.
        self._next_at = START_PAGES if copied >= pages else pages + START_PAGES

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._stopping:  # set before `_asked`: seen by this turn or the next
                return
            try:
                db = schema.connect(self._path, self._vfs)
                try:
                    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                finally:
                    db.close()
            except Exception as error:  # the top of a thread
                log.warning("checkpoint_failed", extra={"why": str(error)})
            self._done = True

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping = True
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join()
