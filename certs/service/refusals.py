"""Refused calls on record: each of the first of a source, and how many more there were. Bounded; time is an argument.

Whoever is refused costs the record a write, and anybody may ask to join: so in ten seconds only the first few refusals
of one source (an identity, or an address) have an event of their own. The rest is counted, and noted when the time is
over.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol

EACH: Final = 10  # of one source in a window
WINDOW: Final = dt.timedelta(seconds=10)
_SOURCES: Final = 1024
_KINDS: Final = 1024
_SEVERAL: Final = "several"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One call that was refused: who called, which method for whom, and why."""

    asked_by: str
    method: str
    subject: str
    reason: str
    text: str


class Noting(Protocol):
    """Puts a refusal on record."""

    def __call__(self, refusal: Refusal, now: dt.datetime, times: int) -> None:
        """Return when it is on disk. Raises AuthorityError."""


class Refusals:
    """Of one server; called on any thread."""

    def __init__(self, note: Noting) -> None:
        self._note = note
        self._lock = threading.Lock()
        self._ends: dt.datetime | None = None
        self._passed: Counter[str] = Counter()
        self._counted: Counter[tuple[str, str, str]] = Counter()  # who, method, reason

    def refused(self, refusal: Refusal, now: dt.datetime) -> None:
        """Note a refusal, or count it. Raises AuthorityError when it cannot be noted."""
        self.flush(now)
        with self._lock:
            source = refusal.asked_by
            if self._ends is None:
                self._ends = now + WINDOW
            known = source in self._passed or len(self._passed) < _SOURCES
            if known and self._passed[source] < EACH:
                self._passed[source] += 1
            else:
                kind = (source, refusal.method, refusal.reason)
                if kind not in self._counted and len(self._counted) >= _KINDS:
                    kind = (_SEVERAL, _SEVERAL, refusal.reason)
                self._counted[kind] += 1
                return
        self._note(refusal, now, 1)

    def flush(self, now: dt.datetime) -> None:
        """Note what has been counted, when its time is over. Raises AuthorityError; what was not noted is lost."""
        with self._lock:
            if self._ends is None or now < self._ends:
                return
            counted, self._counted = self._counted, Counter()
            self._passed.clear()
            self._ends = None
        for (asked_by, method, reason), times in counted.items():
            text = f"{times} more of these within {WINDOW.total_seconds():.0f} s"
            self._note(Refusal(asked_by=asked_by, method=method, subject="", reason=reason, text=text), now, times)
