"""Where a watch of events stands, and when a lost one is opened again. Sans-IO."""

from __future__ import annotations

from smsgw.client.errors import CallFailed, RateLimited, SmsgwError, TimedOut, Unavailable
from smsgw.v1 import message_service_pb2 as api

ATTACH_S = 15.0  # the first response of a watch comes at once
_PAUSE_MIN_S = 0.2
_PAUSE_MAX_S = 10.0


class Position:
    """The place in the tenant's event log after which the next stream goes on."""

    def __init__(self, cursor: str, start: str, *, patience_s: float, first_patience_s: float | None = None) -> None:
        """Args:
        cursor: go on after it; empty: `start` says where.
        start: the name of a WatchStart.
        patience_s: how long it is tried to reach a node before that is an error.
        first_patience_s: the same before the first response of all.
        """
        self._cursor = cursor
        self._start = start
        self._patience_s = patience_s
        self._patience_now_s = patience_s if first_patience_s is None else first_patience_s
        self._pauses = 0
        self._since: float | None = None  # when the outage began
        self.attached = False  # whether this stream has had its first response
        self.may_renew = True  # whether a refused identity may be exchanged for a newer one: once for each stream

    def request(self) -> api.WatchEventsRequest:
        """Return the request for the next stream."""
        return api.WatchEventsRequest(cursor=self._cursor, start=api.WatchStart.Value(self._start))

    def opened(self, now: float) -> None:
        """A stream is opened; `now`: monotonic seconds."""
        self.attached = False
        self._since = now if self._since is None else self._since

    def at(self, cursor: str) -> None:
        """A response came."""
        self._cursor = cursor or self._cursor
        self.attached, self.may_renew = True, True
        self._pauses, self._since, self._patience_now_s = 0, None, self._patience_s

    def pause_s(self, failed: SmsgwError, now: float, chance: float) -> float:
        """Return the seconds until the next stream; raises `failed` when that is of no use. `chance` is in [0, 1)."""
        self._since = now if self._since is None else self._since
        passing = isinstance(failed, Unavailable | TimedOut) or (
            isinstance(failed, RateLimited) and failed.retry_after_s is not None
        )
        if not passing or now - self._since >= self._patience_now_s:
            raise failed
        pause_s = min(_PAUSE_MAX_S, _PAUSE_MIN_S * 2.0 ** min(self._pauses, 16)) * (0.5 + 0.5 * chance)
        self._pauses += 1
        if isinstance(failed, CallFailed) and failed.retry_after_s is not None:
            pause_s = max(pause_s, min(failed.retry_after_s, _PAUSE_MAX_S))
        return pause_s
