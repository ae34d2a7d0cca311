"""The circuit breakers of all carriers, fed with what their links report (`gateway.routing.breaker`).

What counts as a failure: an answer for which the carrier's table says RETRY or REBIND, and no answer in time. Not what
the table says FAIL of: that is about one message, and a caller's wrong number must not take a carrier from everybody.
Not a slow-down either, which the pace answers, nor what is lost with a link: that is down, and tried again by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from carrier.contract import LinkState, Outcome, SubmitResult
from carrier.statuses import DEFAULTS, OTHERWISE, Action
from gateway.routing.breaker import Breaker, BreakerRules, BreakerState

log = logging.getLogger(__name__)

_ILL = Action.RETRY | Action.REBIND
_USUAL = BreakerRules()


class Breakers:
    """One breaker a carrier. Belongs to one event loop."""

    def __init__(self, rules: Mapping[str, BreakerRules], actions: Mapping[str, Mapping[int, Action]]) -> None:
        """`rules` and `actions` (what statuses mean) by carrier; those of a carrier that is not there are the usual."""
        self._rules = rules
        self._actions = actions
        self._breakers: dict[str, Breaker] = {}

    def use(self, rules: Mapping[str, BreakerRules], actions: Mapping[str, Mapping[int, Action]]) -> None:
        """Work by these from now on; the breakers of carriers whose rules are others than before begin anew."""
        for carrier in list(self._breakers):
            if rules.get(carrier) != self._rules.get(carrier):
                del self._breakers[carrier]
        self._rules, self._actions = rules, actions

    def actions(self, carrier: str) -> Mapping[int, Action]:
        """Return what the statuses of a carrier mean."""
        return self._actions.get(carrier, DEFAULTS)

    def state(self, carrier: str) -> BreakerState:
        """Return where a carrier's breaker stands."""
        found = self._breakers.get(carrier)
        return BreakerState.CLOSED if found is None else found.state

    def of(self, carrier: str) -> Breaker:
        """Return the breaker of a carrier."""
        found = self._breakers.get(carrier)
        if found is None:
            found = self._breakers[carrier] = Breaker(self._rules.get(carrier, _USUAL))
        return found

    def states(self) -> dict[str, str]:
        """Return where the breakers stand, in words, of carriers that have answered anything."""
        return {carrier: breaker.state.value for carrier, breaker in self._breakers.items()}

    def openings(self) -> dict[str, int]:
        """Return how often each has opened."""
        return {carrier: breaker.opened for carrier, breaker in self._breakers.items()}

    def look(self, now: int) -> None:
        """Let time pass."""
        for carrier, breaker in self._breakers.items():
            if breaker.state is BreakerState.OPEN and breaker.look(now):
                _tell(carrier, breaker)

    def note(self, carrier: str, link: LinkState, results: Sequence[SubmitResult], now: int) -> bool:
        """Take what a link has reported; True when the breaker changed (hot: one look at each result)."""
        breaker = self.of(carrier)
        before = breaker.state
        odd = [result for result in results if result[3] or result[2] is not Outcome.ANSWERED]
        if not odd:
            breaker.succeeded(len(results), now)
        else:
            good = len(results) - len(odd)
            if good:
                breaker.succeeded(good, now)
            self._note_odd(carrier, breaker, link, odd, now)
        if breaker.state is before:
            return False
        _tell(carrier, breaker)
        return True

    def _note_odd(self, carrier: str, breaker: Breaker, link: LinkState, odd: Sequence[SubmitResult], now: int) -> None:
        actions = self.actions(carrier)
        for _, _, outcome, status, _ in odd:
            action = actions.get(status, OTHERWISE)
            if outcome is Outcome.IN_DOUBT:
                if link is LinkState.BOUND:  # no answer in time; otherwise it went down with its link
                    breaker.failed(now)
            elif outcome is Outcome.ANSWERED and Action.SLOW_DOWN not in action:
                if action & _ILL:
                    breaker.failed(now)
                else:
                    breaker.succeeded(1, now)


def _tell(carrier: str, breaker: Breaker) -> None:
    level = logging.WARNING if breaker.state is BreakerState.OPEN else logging.INFO
    log.log(level, "breaker_changed", extra={"carrier": carrier, "state": breaker.state.value})
