"""A node that follows the list of another one: pushed to it, and polled as a backstop.

Each signed list is judged by `taking`, put in force, and then written, so that a full disk keeps nobody in. What fails
is tried again after a wait that doubles up to a bound. When the list in force is stale every call is refused and cut,
health says so and an alert is raised; the next list, or a fresh signature, ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import grpc
import grpc.aio

from gateway.revocation.calls import RevokedCalls
from gateway.revocation.codec import SignedList
from gateway.revocation.entries import Denials, DenyList
from gateway.revocation.errors import DenyListError, DenyListFileError
from gateway.revocation.files import ListFiles
from gateway.revocation.publishing import Listener
from gateway.revocation.taking import Taking
from smsgw.client.errors import SmsgwError
from smsgw.v1 import revocation_service_pb2 as pb

if TYPE_CHECKING:
    from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceAsyncStub  # known to the stubs' types only

log = logging.getLogger(__name__)

CALL_S = 5.0
_WAIT_MIN_S = 0.2
_WAIT_MAX_S = 5.0
_LOOK_S = 0.25
_NEVER_TRIED = "the publisher has not been asked yet"
# What a connection, a call, a list or a file may fail by.
_FAILURES = (grpc.aio.AioRpcError, DenyListError, SmsgwError, TimeoutError, OSError)


class Connect(Protocol):
    """Opens a connection to the publisher, with the node's present SVID."""

    def __call__(self) -> contextlib.AbstractAsyncContextManager[RevocationServiceAsyncStub]:
        """Return what the publisher is called by. Raises SmsgwError or OSError when entered."""


class Freshness(Protocol):
    """Who is told whether the list is fresh."""

    def stale(self, why: str, cut: int) -> None:
        """It is not any more; so many calls were cut."""

    def fresh(self) -> None:
        """It is again."""


class Follower:
    """Belongs to one event loop. Times in seconds; `now` gives microseconds since the Unix epoch."""

    def __init__(
        self,
        *,
        taking: Taking,
        files: ListFiles,
        calls: RevokedCalls,
        connect: Connect,
        listener: Listener,
        freshness: Freshness,
        now: Callable[[], int],
        max_age_s: float,
        poll_s: float,
    ) -> None:
        self._taking = taking
        self._files = files
        self._calls = calls
        self._connect = connect
        self._listener = listener
        self._freshness = freshness
        self._now = now
        self._max_age_s, self._poll_s = max_age_s, poll_s
        self._lock = asyncio.Lock()
        self._keeping: set[asyncio.Task[None]] = set()
        self._trouble = _NEVER_TRIED
        self._was_stale = False
        self.deny = DenyList()

    def open(self) -> None:
        """Put in force what an earlier run had, as fresh as it was signed. One that was changed or put back is not
        taken         up, and the node refuses everybody until it has another. Raises DenyListFileError for a file that
        cannot be read."""
        self._calls.fresh_until(0.0, 0.0)
        signed = self._files.read()
        if signed is None:
            return
        try:
            self._put(self._taking.restore(*signed))
        except DenyListError as error:
            self._listener.not_read(error)
        else:
            self._note_time()

    async def prepare(self) -> None:
        """Ask for the newest list once, before anybody calls; without an answer the node starts, and refuses."""
        with contextlib.suppress(*_FAILURES):
            await self._poll()
        self._look()

    async def finished(self) -> None:
        """Return when what was taken up is on disk."""
        await asyncio.gather(*self._keeping)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._back_up())
            tasks.create_task(self._look_often())

    async def _watch(self) -> None:
        wait_s = _WAIT_MIN_S
        while True:
            try:
                async with self._connect() as stub, asyncio.timeout(self._max_age_s / 2) as idle:
                    request = pb.WatchDenyListRequest(known_version=self.deny.version)
                    async for response in stub.WatchDenyList(request):
                        await self._take(response.head, response.entries if response.HasField("entries") else None)
                        idle.reschedule(asyncio.get_running_loop().time() + self._max_age_s / 2)
                        wait_s = _WAIT_MIN_S
                self._told("the publisher ended the stream")
            except _FAILURES as error:
                self._failed(error)
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 -- so that nodes do not come at once
            wait_s = min(2 * wait_s, _WAIT_MAX_S)

    async def _back_up(self) -> None:
        """Poll whenever nothing has been pushed for a while."""
        while True:
            age_s = (self._now() - self._taking.refreshed_at()) / 1e6
            if 0 <= age_s < self._poll_s:
                await asyncio.sleep(min(self._poll_s, self._poll_s - age_s + 0.01))
                continue
            try:
                await self._poll()
            except _FAILURES as error:
                self._failed(error)
            await asyncio.sleep(min(self._poll_s, _WAIT_MAX_S) * random.uniform(0.8, 1.2))  # noqa: S311 -- as above

    async def _poll(self) -> None:
        async with self._connect() as stub, asyncio.timeout(CALL_S):
            request = pb.GetDenyListRequest(known_version=self.deny.version)
            response = await stub.GetDenyList(request, timeout=CALL_S)
        await self._take(response.head, response.entries if response.HasField("entries") else None)

    async def _take(self, head: bytes, body: bytes | None) -> None:
        """Take up what came. Raises DenyListError: then what was in force stays."""
        async with self._lock:
            deny = await asyncio.to_thread(self._taking.take, head, body, self._now())
            if deny is not None and body is not None:
                denials = await asyncio.to_thread(Denials, deny)
                self._put(deny, denials)
            self._note_time()
            self._trouble = ""
            self._listener.read()
            self._look()
            if deny is not None and body is not None:
                keeping = asyncio.get_running_loop().create_task(self._keep(SignedList(head, body)))
                self._keeping.add(keeping)
                keeping.add_done_callback(self._keeping.discard)
                await asyncio.shield(keeping)

    def _put(self, deny: DenyList, denials: Denials | None = None) -> None:
        cut = self._calls.apply(denials or Denials(deny))
        self.deny = deny
        self._listener.in_force(deny, self._taking.seen.digest.hex(), cut)

    async def _keep(self, signed: SignedList) -> None:
        try:
            await asyncio.to_thread(self._files.write, signed)
            await asyncio.to_thread(self._files.see, self._taking.seen)
        except DenyListFileError as error:  # it is in force all the same
            self._listener.not_read(error)

    def _note_time(self) -> None:
        self._calls.fresh_until(self._taking.fresh_until / 1e6, self._max_age_s)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, DenyListError):
            self._listener.not_read(error)
        self._told(_text(error))

    def _told(self, why: str) -> None:
        if why != self._trouble:
            self._trouble = why
            log.warning("deny_list_not_refreshed", extra={"why": why})

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._look()

    def _look(self) -> None:
        """Tell when the list becomes stale, and when it is fresh again."""
        stale = self._calls.stale
        if stale and not self._was_stale:
            self._freshness.stale(self._trouble or "the publisher is silent", self._calls.cut_stale())
        elif self._was_stale and not stale:
            self._freshness.fresh()
        self._was_stale = stale


def _text(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
