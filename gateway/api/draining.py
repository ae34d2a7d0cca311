"""The end of a server's calls, in an order in which no call fails that its caller retries by RetryInfo.

    begin     health says NOT_SERVING; new calls are refused with SHUTTING_DOWN and RetryInfo
    hold      the same, and the refusals wait
    release   every connection has had its GOAWAY, and the refusals follow it

A call that reaches gRPC's server after it has begun to stop ends as CANCELLED, without a word to the caller. So GOAWAY
has to be first: whoever was refused while refusals were held reads of the end of the connection before the refusal, and
makes the next call over another one. And RetryInfo says when all of that is over, so that who was refused earlier does
not come back in the middle of it. What is left is a call that crosses GOAWAY on the wire, of a caller that was silent
all along: gRPC's server ends a connection in order only by its age, not when it is told to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.errors import ShuttingDown

if TYPE_CHECKING:  # it has this guard in its chain
    from gateway.api.interceptors import Call

HEALTH = "/grpc.health.v1.Health/"  # which says NOT_SERVING
_HOLD_S = 0.25  # as the way there and back takes; a quarter of a short linger
_SENT_S = 0.02  # until GOAWAY is written
_RETRY_S = 1.0  # at least
_MARGIN_S = 0.5  # a busy node is late
_SOON_S = 2.0  # what ends as soon as this is waited for


class Draining:
    """How far the end of one server is. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closes_at: float | None = None
        self._free = asyncio.Event()  # refusals go out
        self._free.set()

    def begin(self, linger_s: float) -> None:
        """Refuse new calls from now on. `linger_s`: seconds until the connections are closed."""
        self._closes_at = self._clock() + linger_s

    async def linger(self, linger_s: float) -> None:
        """Return when it is time to close: refusals wait from then on for `release`."""
        hold_s = min(_HOLD_S, linger_s / 4)
        await asyncio.sleep(linger_s - hold_s)
        self._free.clear()
        await asyncio.sleep(hold_s)

    async def release(self) -> None:
        """The connections are being closed: let the refusals follow."""
        if not self._free.is_set():
            await asyncio.sleep(_SENT_S)
            self._free.set()

    def require(self, name: str) -> None:
        """Raise ShuttingDown for a call of this method, unless it asks for the health or nothing ends."""
        if self._closes_at is not None and not name.startswith(HEALTH):
            raise self.refusal()

    def refusal(self) -> ShuttingDown:
        """Return what a call is refused with now."""
        return ShuttingDown(retry_after_s=retry_after_s((self._closes_at or 0.0) - self._clock()))

    async def turn(self, error: Exception) -> None:
        """Return when the caller may be told of `error`: at once, but for what waits for GOAWAY."""
        if isinstance(error, ShuttingDown):
            await self._free.wait()


def retry_after_s(rest_s: float) -> float:
    """Return after how many seconds a refused caller may come back, to a node that closes in `rest_s`: soon where it
    still lingers for long, for others may be there by then; otherwise when it is over."""
    return rest_s / 2 if rest_s > 2 * _SOON_S else max(_RETRY_S, rest_s + _MARGIN_S)


class DrainGuard:
    """Refuses new calls while the server ends."""

    def __init__(self, draining: Draining) -> None:
        self.draining = draining

    def enter(self, call: Call) -> None:
        """Raise ShuttingDown."""
        self.draining.require(call.name)

    def message(self, call: Call) -> None:
        """Nothing to do: streams are ended by their service, when what they have read is answered."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do."""
