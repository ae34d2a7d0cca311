"""The calls under way, who of them is revoked, and whether that can be known at all.

On every call and every message of a stream: three lookups, and on a node that follows a list two looks at a clock. A
list is as fresh as its signature, by the wall clock; by the monotonic clock too, so that a clock that is set back makes
nothing fresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gateway.errors import GatewayError, Unauthenticated, Unavailable
from gateway.identity import Caller
from gateway.revocation.entries import Denials, DenyList

_HEALTH = "/grpc.health.v1.Health/"  # which then says NOT_SERVING


class UnderWay(Protocol):
    """A call under way."""

    name: str  # /package.Service/Method
    caller: Caller

    def cut(self, refusal: GatewayError) -> None:
        """End it where it stands, and tell the caller why."""


class RevokedCalls:
    """Belongs to one event loop. A list is fresh for ever until `fresh_until` says otherwise."""

    def __init__(
        self,
        deny: DenyList | Denials,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._denials = deny if isinstance(deny, Denials) else Denials(deny)
        self._under_way: set[UnderWay] = set()  # as many as the server lets in: bounded there
        self._wall, self._monotonic = wall, monotonic
        self._limited = False
        self._until = self._until_monotonic = 0.0

    def require(self, call: UnderWay) -> None:
        """Raise Unauthenticated (REVOKED) for a revoked caller, Unavailable (DENY_LIST_STALE) for a stale list."""
        if self._denials.deny(call.caller):
            raise _revoked()
        # As `stale`, without the cost of asking it: this is on every message's way.
        old = self._limited and (self._wall() > self._until or self._monotonic() > self._until_monotonic)
        if old and not call.name.startswith(_HEALTH):
            raise _stale()

    def denies(self, caller: Caller) -> bool:
        """Say whether a caller is revoked."""
        return self._denials.deny(caller)

    @property
    def stale(self) -> bool:
        """Whether the list has not been refreshed in time."""
        return self._limited and (self._wall() > self._until or self._monotonic() > self._until_monotonic)

    def fresh_until(self, until_s: float, at_most_s: float) -> None:
        """The list in force is fresh until `until_s` (Unix time), and for `at_most_s` from now."""
        left = min(max(0.0, until_s - self._wall()), at_most_s)
        self._limited, self._until, self._until_monotonic = True, until_s, self._monotonic() + left

    def begin(self, call: UnderWay) -> None:
        """Note a call under way."""
        self._under_way.add(call)

    def end(self, call: UnderWay) -> None:
        """The call is over."""
        self._under_way.discard(call)

    def apply(self, deny: DenyList | Denials) -> int:
        """Put a new list in force, and cut the calls under way of those it names; how many."""
        self._denials = deny if isinstance(deny, Denials) else Denials(deny)
        cut = [call for call in self._under_way if self._denials.deny(call.caller)]
        for call in cut:
            call.cut(_revoked())
        return len(cut)

    def cut_where(self, wanted: Callable[[Caller], bool], refusal: GatewayError) -> int:
        """Cut the calls under way of those callers of whom `wanted` is true, and tell them why; how many."""
        cut = [call for call in self._under_way if wanted(call.caller)]
        for call in cut:
            call.cut(refusal)
        return len(cut)

    def cut_stale(self) -> int:
        """Cut every call under way but those that ask for the health: the list is stale; how many."""
        cut = [call for call in self._under_way if not call.name.startswith(_HEALTH)]
        for call in cut:
            call.cut(_stale())
        return len(cut)


def _revoked() -> Unauthenticated:
    return Unauthenticated("this identity has been revoked: ask the security team", reason="REVOKED")


def _stale() -> Unavailable:
    return Unavailable(
        "this node cannot know who is revoked, since the deny list has not reached it in time: try another node, or "
        "again later",
        reason="DENY_LIST_STALE",
    )
