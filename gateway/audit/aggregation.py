"""Which decisions become records of their own, and which are counted into one: pure, time comes with the decisions.

In each window of time the first few decisions of one source (a caller, or an address where nobody was recognised) pass;
further ones are counted by all that they have in common, and come out of `due` when the window ends, each kind as one
record that says how many there were, and from when to when. Sources and kinds are bounded: beyond that, decisions are
counted into one record of nobody.
"""

from __future__ import annotations

from collections.abc import Hashable

from gateway.audit.records import Decision

SEVERAL = "SEVERAL"  # the reason of a record that counts decisions of several kinds
_MOST = 0xFFFF_FFFF  # what a record can count


class Aggregator:
    """The decisions of one window. Times are microseconds, as everywhere in the audit."""

    def __init__(self, *, each: int, window: int, sources: int = 4096, kinds: int = 4096) -> None:
        """Args:
        each: how many decisions of a source pass in a window.
        window: microseconds.
        sources: how many sources may have a record of their own in a window.
        kinds: how many kinds of decision are counted apart.
        """
        self._each = each
        self._window = window
        self._sources = sources
        self._kinds = kinds
        self._ends = 0
        self._passed: dict[Hashable, int] = {}
        self._counted: dict[Decision, tuple[int, int, int]] = {}  # kind → (first at, last at, times)

    def __len__(self) -> int:
        return len(self._counted)

    def passes(self, source: Hashable, decision: Decision) -> bool:
        """Say whether `decision` is to become a record of its own; if not, it has been counted."""
        if decision.at >= self._ends:
            self._passed.clear()
            self._ends = decision.at + self._window
        passed = self._passed.get(source, 0)
        if passed < self._each and (passed or len(self._passed) < self._sources):
            self._passed[source] = passed + 1
            return True
        self.count(decision)
        return False

    def count(self, decision: Decision) -> None:
        """Count a decision (or so many, when it is a count itself) that gets no record of its own."""
        kind = decision._replace(at=0, since=0, times=1)
        if kind not in self._counted and len(self._counted) >= self._kinds:
            kind = _nobodys(decision.allowed)
        first, last, times = self._counted.get(kind, (decision.since, decision.at, 0))
        times = min(times + decision.times, _MOST)
        self._counted[kind] = (min(first, decision.since), max(last, decision.at), times)

    def due(self) -> list[Decision]:
        """Return what has been counted, and forget it."""
        counted, self._counted = self._counted, {}
        return [kind._replace(at=last, since=first, times=times) for kind, (first, last, times) in counted.items()]

    def due_as_one(self) -> list[Decision]:
        """Return what has been counted as one record of nobody, and forget it: where there is no room for more."""
        counted, self._counted = self._counted, {}
        if not counted:
            return []
        firsts, lasts, times = zip(*counted.values(), strict=True)
        allowed = next(iter(counted)).allowed
        together = min(sum(times), _MOST)
        return [_nobodys(allowed)._replace(at=max(lasts), since=min(firsts), times=together)]


def _nobodys(allowed: bool) -> Decision:
    return Decision(0, allowed, "", "", "", "", "", "", "", SEVERAL, "", 0, 1)
