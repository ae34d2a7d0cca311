"""Federation for workloads: keeps the bundles of the trust domains that the registration names, on a thread of its own.

When the registration's section changes, what was kept on disk is taken up by a new federation of the new section.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

from certs.bundle import Bundle
from certs.ca.registration import RegistrationFile
from certs.errors import BundleError, CertsError
from certs.federation.federation import Event, Federation, Member, Standing
from certs.federation.fetching import BundleOf, Clock
from certs.spiffe_id import TrustDomain

FOLDER: Final = "federation"  # below the authority's directory
MAX_TOLD_BYTES: Final = 128 * 1024  # of a bundle: each node is told every few seconds
_STOP_S: Final = 10.0
_LOG = logging.getLogger(__name__)


class Federating:
    """The federation of now. `refresh` and `stop` belong to one thread; `bundle_of` may be called on any."""

    def __init__(
        self,
        registration: RegistrationFile,
        folder: Path,
        clock: Clock,
        *,
        others: BundleOf,
    ) -> None:
        """Args:
        registration: says which trust domains; its owner reads it again.
        folder: where bundles are kept.
        others: bundles of trust domains that are not fetched: our own.
        """
        self._registration, self._folder, self._clock = registration, folder, clock
        self._others = others
        self._events: SimpleQueue[Event] = SimpleQueue()  # few: a failure is told when it is another than the last
        self._members: tuple[Member, ...] = ()
        self._running: _Running | None = None
        self._trouble = ""

    def bundle_of(self, trust_domain: TrustDomain) -> Bundle | None:
        """Return the bundle of another trust domain that counts now, None for none."""
        running = self._running
        return None if running is None else running.federation.bundles.get(trust_domain)

    def standings(self) -> list[Standing]:
        """Return how it stands with each trust domain."""
        running = self._running
        return [] if running is None else running.federation.standings()

    def events(self) -> Iterator[Event]:
        """Give what has happened since this was asked last."""
        with contextlib.suppress(Empty):
            while True:
                yield self._events.get_nowait()

    def refresh(self) -> None:
        """Take up a changed registration. Raises CertsError, once for each trouble; then the one before goes on."""
        members = self._registration.registration.federation
        if members == self._members:
            return
        try:
            federation = Federation(
                members, self._folder, self._clock, others=self._others, tell=self._events.put, judge=_judge
            )
        except CertsError as refused:
            if str(refused) == self._trouble:
                return
            self._trouble = str(refused)
            raise
        self.stop()
        self._members, self._trouble = members, ""
        if members:
            self._running = _Running(federation)

    def stop(self) -> None:
        """End what runs. Idempotent."""
        running, self._running = self._running, None
        self._members = ()
        if running is not None:
            running.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Running:
    """A federation on a thread."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(federation.run())
        self._thread = threading.Thread(target=self._run, name="federation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
        except Exception:  # the top of the thread: bundles age from here on, and end
            _LOG.exception("the federation ended")
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


def _judge(bundle: Bundle) -> None:
    size = len(bundle.to_jwks())
    if size > MAX_TOLD_BYTES:
        raise BundleError(
            f"the bundle of {bundle.trust_domain} has {size} bytes; nodes are told {MAX_TOLD_BYTES} at most"
        )
