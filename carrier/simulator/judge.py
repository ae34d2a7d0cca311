"""Decides what a simulated SMSC does with each submit_sm, as its script says. Pure: `now` is monotonic seconds."""

from __future__ import annotations

from collections.abc import Iterable

from carrier.simulator.script import (
    ErrorRule,
    Match,
    OddAnswer,
    Receipts,
    ReceiptVariant,
    Script,
    StateRule,
    Throttle,
)


class _Matcher:
    """One rule's conditions and how often they have fitted."""

    def __init__(self, match: Match) -> None:
        self._match = match
        self._fitted = 0
        self._used = 0

    def takes(self, destination: str, text: str) -> bool:
        """Say whether the rule is for this one."""
        match = self._match
        if match.times and self._used >= match.times:
            return False
        if not (destination.startswith(match.destination_prefix) and destination.endswith(match.destination_suffix)):
            return False
        if match.text not in text:
            return False
        self._fitted += 1
        if self._fitted % match.every:
            return False
        self._used += 1
        return True


class _Bucket:
    """Tokens that refill at the throttle's rate, up to its burst."""

    def __init__(self, throttle: Throttle, now: float) -> None:
        self._rate_s = throttle.rate_s
        self._most = max(1.0, throttle.rate_s * throttle.burst_s)
        self._tokens = self._most
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate_s)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Odd:
    """The odd answers of a script, and how often each was given."""

    def __init__(self, rules: Iterable[OddAnswer]) -> None:
        self._rules = [(rule, _Matcher(Match(every=rule.every, times=rule.times))) for rule in rules]

    def take(self, request: str) -> OddAnswer | None:
        """Return how `request`, a name of SMPP, is answered oddly; None: properly."""
        for rule, matcher in self._rules:
            fits = rule.to == request or (rule.to == "any" and not request.startswith("bind_"))
            if fits and matcher.takes("", ""):
                return rule
        return None


class Judge:
    """The counters behind a script's rules."""

    def __init__(self, script: Script, now: float) -> None:
        self._script = script
        self._errors = [(_Matcher(rule.match), rule) for rule in script.errors]
        self._states = [(_Matcher(rule.match), rule) for rule in script.receipts.rules]
        self._variants = [(_Matcher(rule.match), rule) for rule in script.receipts.variants]
        self._bucket = _Bucket(script.throttle, now) if script.throttle else None
        self._accepted = 0
        self._turn = 0

    def throttled(self, now: float) -> int:
        """Return the status that refuses one more submit_sm for its rate; 0: it is not too fast."""
        too_fast = self._bucket is not None and not self._bucket.take(now)
        return self._script.throttle.status if self._script.throttle and too_fast else 0

    def error(self, destination: str, text: str) -> ErrorRule | None:
        """Return the rule that one submit_sm meets, None when it is accepted."""
        rule: ErrorRule | None = next((rule for match, rule in self._errors if match.takes(destination, text)), None)
        return rule

    def answer_after(self) -> float | None:
        """Return how much later than usual the submit_sm just accepted is answered; None: never."""
        self._accepted += 1
        how, number = self._script.responses, self._accepted
        if how.none_every and number % how.none_every == 0:
            return None
        late = how.late_s if how.late_every and number % how.late_every == 0 else 0.0
        return late + (how.swap_s if number % 2 else 0.0)

    def receipts(self, destination: str, text: str) -> Receipts:
        """Return how the receipts of an accepted one are written."""
        variant: ReceiptVariant | None = next(
            (rule for match, rule in self._variants if match.takes(destination, text)), None
        )
        return variant.how if variant else self._script.receipts

    def outcome(self, destination: str, text: str, how: Receipts) -> tuple[str, str]:
        """Return state and error code of an accepted one's receipt."""
        rule: StateRule | None = next((rule for match, rule in self._states if match.takes(destination, text)), None)
        if rule:
            return rule.state, rule.error
        state = how.states[self._turn % len(how.states)]
        self._turn += 1
        return state, "000"
