"""An X.509 source for programs without an event loop: a thread follows the Workload API.

    with BlockingX509Source.of_environment() as source:     # SPIFFE_ENDPOINT_SOCKET
        source.ready(30.0)
        ... channel_credentials(source.svid, bundle) ...

It uses gRPC's blocking calls: a second event loop in one process is what gRPC's asynchronous ones do not bear.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import grpc

from certs.errors import NoIdentity
from certs.spiffe_id import TrustDomain
from certs.workload.endpoint import Endpoint
from certs.workload.following import Following, Standing, accept_any
from certs.workload.messages import HEADER, METHOD, REQUEST
from certs.workload.source import CHANNEL_OPTIONS, utc_now
from certs.workload.state import Pick, WorkloadState

_LOG = logging.getLogger(__name__)
_JOIN_S: Final = 10.0


class BlockingX509Source(Following):
    """Follows FetchX509SVID on a thread of its own; listeners are called there."""

    def __init__(
        self,
        endpoint: Endpoint,
        pick: Pick | None = None,
        federated: frozenset[TrustDomain] | None = None,
        accept: Callable[[WorkloadState], None] = accept_any,
        *,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        """Arguments as those of `certs.workload.source.X509Source`."""
        super().__init__(pick, federated, accept)
        self.endpoint = endpoint
        self._clock = clock
        self._news = threading.Condition()
        self._ending = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="workload-api", daemon=True)

    @classmethod
    def of_environment(cls, pick: Pick | None = None) -> Self:
        """Return a source of the Workload API that SPIFFE_ENDPOINT_SOCKET names. Raises BadEndpoint."""
        return cls(Endpoint.from_environment(os.environ), pick)

    def __enter__(self) -> Self:
        """Begin to follow."""
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End: what is held can still be read."""
        self.close()

    def close(self) -> None:
        """End the thread. Idempotent."""
        with self._news:
            self._ending.set()
            if self._call is not None:
                self._call.cancel()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def ready(self, timeout_s: float) -> None:
        """Return once there is an SVID. Raises NoIdentity as `X509Source.ready` does."""
        with self._news:
            self._news.wait_for(lambda: self.has_identity or self.standing is Standing.STOPPED, timeout_s)
        if not self.has_identity:
            raise NoIdentity(f"no SVID from the Workload API at {self.endpoint}: {self.why_not()}")

    def _run(self) -> None:
        while not self._ending.is_set() and self.standing is not Standing.STOPPED:
            self.opened()
            try:
                self._stream()
            except Exception:  # the top of the thread: a defect does not end the following, and what is held stays
                _LOG.exception("workload_api_failed")
                self.failed()
            self._tell_waiting()
            self._ending.wait(self.pause_s(random.random()))  # noqa: S311 -- spreads clients, and keeps no secret

    def _stream(self) -> None:
        """Follow one stream to its end."""
        with grpc.insecure_channel(self.endpoint.target, options=CHANNEL_OPTIONS) as channel:
            method: Any = channel.unary_stream(METHOD)
            call = method(REQUEST, metadata=HEADER)
            with self._news:
                self._call = call
                if self._ending.is_set():
                    call.cancel()
            try:
                while True:
                    with self._deadline(call) as late:
                        octets = next(call, None)
                    if octets is None:
                        self.ended("OK", "it ended the stream without an answer", time.monotonic())
                        return
                    self.received(octets, self._clock(), time.monotonic())
                    self._tell_waiting()
            except grpc.RpcError as refused:
                self._broken(refused, late=late.is_set())

    @contextlib.contextmanager
    def _deadline(self, call: Any) -> Iterator[threading.Event]:
        """End the call unless the next message comes in time; gives what tells of that."""
        late = threading.Event()

        def end() -> None:
            late.set()
            call.cancel()

        timer = threading.Timer(self.patience_s(self._clock()), end)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()

    def _broken(self, refused: Any, *, late: bool) -> None:
        if self._ending.is_set():
            return
        if late:
            self.overdue()
        else:  # what a stream raises is its call as well
            self.ended(refused.code().name, refused.details() or "", time.monotonic())

    def _tell_waiting(self) -> None:
        with self._news:
            self._news.notify_all()
