"""From a message that is committed as SENDING to its submissions: the attempt is begun, the PDUs are written.

What cannot be opened or written is settled here, and keeps its slots until that is on disk. Knows nothing of lanes,
routes or commits: those are the dispatcher's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from carrier.contract import Submission
from carrier.errors import TextError
from carrier.statuses import Action
from gateway.errors import GatewayError, StoreCorrupt, Unavailable
from gateway.pipeline.attempts import begin
from gateway.pipeline.berths import Berth
from gateway.pipeline.breakers import Breakers
from gateway.pipeline.dispatching import Encoder, Settling
from gateway.pipeline.outcomes import Attempt, RetryRules, closed, settle, unwritable
from gateway.pipeline.permits import Permitted
from gateway.pipeline.pricing import Pricing
from gateway.store.contract import Settlement
from gateway.telemetry.journey import AttemptTrace
from gateway.telemetry.tracing import Tracing

log = logging.getLogger(__name__)
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)

_Begun = tuple[
    Attempt, tuple[bytes, ...], Sequence[int]
]  # an attempt, all its bodies, and the parts that are to be sent


class Submitter:
    """Begins the attempts of one dispatcher."""

    def __init__(
        self,
        *,
        breakers: Breakers,
        pricing: Pricing,
        tracing: Tracing,
        settling: Settling,
        rules: RetryRules,
        released: Callable[[Berth, int], None],
    ) -> None:
        """`released` is told of slots whose settlement is on disk."""
        self._breakers = breakers
        self._pricing = pricing
        self._tracing = tracing
        self._settling = settling
        self._rules = rules
        self._released = released

    def use_rules(self, rules: RetryRules) -> None:
        """Settle by these rules from now on."""
        self._rules = rules

    def submissions(
        self, berth: Berth, ours: Iterable[Permitted], now: int, rows: int, encode: Encoder
    ) -> list[Submission]:
        """Return what goes to the link for messages whose SENDING was committed together, that of `rows` messages
        (hot)."""
        actions = self._breakers.actions(berth.carrier)
        began = asyncio.get_running_loop().time() - now * 1e-6  # the link's clock when ours was 0
        submissions: list[Submission] = []
        for one in ours:
            if one[0].trace:
                attempt, bodies, parts = self._traced(berth, one, now, rows, encode, actions)
            else:
                attempt, bodies, parts = self._attempt(berth, one, now, encode, actions)
            message = one[0]
            lane, write_by = message.category, began + message.expires_at * 1e-6
            submissions += [_tuple(Submission, (attempt, part, bodies[part], lane, write_by)) for part in parts]
        return submissions

    def _traced(
        self, berth: Berth, one: Permitted, now: int, rows: int, encode: Encoder, actions: Mapping[int, Action]
    ) -> _Begun:
        message = one[0]
        trace = self._tracing.attempt(message, now, rows)
        if trace is None:
            return self._attempt(berth, one, now, encode, actions)
        with trace.current():
            begun = self._attempt(berth, one, now, encode, actions, trace)
        todo = len(begun[2])
        if todo:
            trace.encoded(berth.carrier, berth.link.name, max(message.segments, todo), todo)
        return begun

    def _attempt(
        self,
        berth: Berth,
        one: Permitted,
        now: int,
        encode: Encoder,
        actions: Mapping[int, Action],
        trace: AttemptTrace | None = None,
    ) -> _Begun:
        message, plan, _, told = one
        carrier, slots = berth.carrier, message.segments or 1
        try:
            as_told = message if told == message.sender else message._replace(sender=told)
            bodies = encode(as_told, now, carrier)
            price = self._pricing.price(message, carrier, now)
        except (TextError, StoreCorrupt, Unavailable) as error:
            log.error("message_unsendable", extra={"why": str(error)})
            attempt, _ = begin(berth, message, plan, slots, actions=actions)
            self._settle(berth, attempt, slots, self._unsent(attempt, error, now), trace)
            return attempt, (), ()
        attempt, parts = begin(berth, message, plan, len(bodies), actions=actions, trace=trace, price=price)
        if not parts:  # late answers and receipts came for all that was in doubt: no result of a link will settle it
            self._settle(berth, attempt, slots, settle(attempt, self._rules, now, 0.0))
        return attempt, bodies, parts

    def _settle(
        self, berth: Berth, attempt: Attempt, slots: int, settlement: Settlement, unsent: AttemptTrace | None = None
    ) -> None:
        """Settle an attempt of which nothing goes to the link; `unsent` is the trace of one that could not."""
        if unsent is not None:
            unsent.unsendable(settlement.reason_code)
        released = partial(self._released, berth, slots)
        self._settling.settle(attempt.message, settlement, released, attempt.trace or unsent)

    def _unsent(self, attempt: Attempt, error: TextError | GatewayError, now: int) -> Settlement:
        """Return what to record of a message that could not be put into PDUs."""
        if isinstance(error, TextError):
            return unwritable(attempt, str(error), self._rules, now)
        return closed(attempt.message, error, self._rules, now)
