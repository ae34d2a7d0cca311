"""Cuts the line of a session whose server has stopped to answer: no thread waits for ever.

The server's own timeouts end what it is slow at. A server that hangs, or a network that swallows packets, answers to
none of them.
"""

from __future__ import annotations

import threading
import time

from gateway.store.postgres.session import Session

_LOOK_S = 0.5


class Watch:
    """A thread, and the sessions that have something under way with the moment, on the monotonic clock, of its end."""

    def __init__(self) -> None:
        self._until: dict[Session, float] = {}
        self._changed = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def over(self, session: Session, deadline: float) -> None:
        """Watch over what `session` does now."""
        with self._changed:
            self._until[session] = deadline

    def done(self, session: Session) -> None:
        """Watch over it no longer."""
        with self._changed:
            self._until.pop(session, None)

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            now = time.monotonic()
            with self._changed:  # held while a line is cut: who calls `done` may close the session next
                for session in [session for session, until in self._until.items() if now > until]:
                    del self._until[session]
                    session.interrupt()
