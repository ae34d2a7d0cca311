"""Limits around calls: what a call costs its caller, and what an unknown certificate costs the address it comes from.

The guard stands right behind the identity: what is beyond the limit is refused before anything costly is done for it.
Limits of messages are asked in `gateway.api.sending`, since a replay has to be told from a new message first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gateway.api.methods import METHODS
from gateway.config.limit_settings import LimitSettings
from gateway.identity import Caller
from gateway.limits.assembly import message_rates, rate
from gateway.limits.calls import CALLS, CERTIFICATES, Buckets, host_of
from gateway.limits.messages import MessageLimits
from gateway.limits.places import CallPlaces
from gateway.limits.rate import Rate
from gateway.policy.requests import client_address

if TYPE_CHECKING:  # the guard is one of those that it imports
    from gateway.api.interceptors import Call

_MESSAGE_COST = 1  # tokens of one request on a stream
PLACES = 10_000  # of calls that a node has open at a time


def monotonic_us() -> int:
    """Return microseconds of a clock that never goes back: what limits are measured by."""
    return time.monotonic_ns() // 1000


class CallLimits:
    """The buckets of calls and of unknown certificates, and the places of open calls. Belongs to one event loop."""

    def __init__(
        self,
        *,
        calls: Rate,
        certificates: Rate,
        open_calls: int,
        places: int = PLACES,
        clock: Callable[[], int] = monotonic_us,
    ) -> None:
        """Args:
        calls: of each identity.
        certificates: of each address.
        open_calls: how many calls of one identity may be open at a time.
        places: how many of all.
        clock: microseconds, never going back.
        """
        self.places = CallPlaces(total=places, per_identity=open_calls)
        self._calls = Buckets(CALLS, calls)
        self._certificates = Buckets(CERTIFICATES, certificates)
        self._clock = clock

    def call(self, caller: Caller, tokens: int) -> None:
        """Take `tokens` from a caller's bucket: also for what its calls cause (`gateway.policy.authorizer.Spend`).

        Raises RateLimited, and Overloaded (LIMIT_TABLE_FULL).
        """
        self._calls.take(caller.spiffe_id, tokens, self._clock())

    @classmethod
    def of(cls, settings: LimitSettings) -> CallLimits:
        """Return the limits as they are set."""
        return cls(
            calls=rate(settings.calls, settings.calls_burst),
            certificates=rate(settings.new_certificates, settings.new_certificates_burst),
            open_calls=settings.open_calls,
        )

    def use(self, settings: LimitSettings) -> None:
        """Limit so from now on. Every bucket is full again; calls that are open stay open."""
        self.places.use(settings.open_calls)
        self._calls = Buckets(CALLS, rate(settings.calls, settings.calls_burst))
        self._certificates = Buckets(CERTIFICATES, rate(settings.new_certificates, settings.new_certificates_burst))

    def certificate(self, peer: str) -> None:
        """Take one token of the address behind gRPC's name of a peer. Raises like `call`."""
        self._certificates.take(host_of(client_address(peer)), 1, self._clock())


class Limits(NamedTuple):
    """All limits of a node that can be changed while it runs."""

    calls: CallLimits
    operators: CallLimits  # of calls to the administrative address
    messages: MessageLimits

    def use(self, settings: LimitSettings) -> None:
        """Limit so from now on."""
        self.calls.use(settings)
        self.operators.use(settings)
        self.messages.use(*message_rates(settings))


class IdentityLimitGuard:
    """Lets a caller make as many calls as it may, and send as many requests on its streams."""

    def __init__(self, limits: CallLimits, recognised: Callable[[str], None]) -> None:
        """`recognised` is told over which connection a caller was recognised (`ConnectionKeeper`)."""
        self._limits = limits
        self._recognised = recognised

    def enter(self, call: Call) -> None:
        """Take the call's cost. Raises RateLimited or Overloaded."""
        self._recognised(call.peer)
        method = METHODS.get(call.name)  # the guard behind this one refuses a call without a row
        self._limits.call(call.caller, method.cost if method else 1)
        self._limits.places.take(call.caller.spiffe_id, call.caller.tenant)

    def message(self, call: Call) -> None:
        """Take the cost of a request on a stream; what the node sends costs nothing. Raises like `enter`."""
        if call.receiving:
            self._limits.call(call.caller, _MESSAGE_COST)

    def leave(self, call: Call, error: BaseException | None) -> None:
        """The call is not open any more. What it has taken is spent, however it ends."""
        del error
        self._limits.places.give_back(call.caller.spiffe_id, call.caller.tenant)
