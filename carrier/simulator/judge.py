"""Decides what a simulated SMSC does with each submit_sm, as its script says. Pure: `now` is monotonic seconds."""

from __future__ import annotations

from carrier.simulator.script import ErrorRule, Match, Script, StateRule, Throttle


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
    """Tokens that refill at the throttle's rate, up to one second's worth."""

    def __init__(self, throttle: Throttle, now: float) -> None:
        self._rate_s = throttle.rate_s
        self._most = max(1.0, throttle.rate_s)
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


class Judge:
    """The counters behind a script's rules."""

    def __init__(self, script: Script, now: float) -> None:
        self._script = script
        self._errors = [(_Matcher(rule.match), rule) for rule in script.errors]
        self._states = [(_Matcher(rule.match), rule) for rule in script.receipts.rules]
        self._bucket = _Bucket(script.throttle, now) if script.throttle else None
        self._accepted = 0
        self._turn = 0

    def status(self, destination: str, text: str, now: float) -> int:
        """Return the command_status for one submit_sm; 0: accept it."""
        if self._script.throttle and self._bucket and not self._bucket.take(now):
            return self._script.throttle.status
        rule: ErrorRule | None = next((rule for match, rule in self._errors if match.takes(destination, text)), None)
        return rule.status if rule else 0

    def answers(self) -> bool:
        """Say whether the submit_sm just accepted is answered at all."""
        self._accepted += 1
        every = self._script.responses.none_every
        return not every or self._accepted % every != 0

    def outcome(self, destination: str, text: str) -> tuple[str, str]:
        """Return state and error code of an accepted one's receipt."""
        rule: StateRule | None = next((rule for match, rule in self._states if match.takes(destination, text)), None)
        if rule:
            return rule.state, rule.error
        states = self._script.receipts.states
        state = states[self._turn % len(states)]
        self._turn += 1
        return state, "000"
