"""The contract of alerts: a condition that somebody has to know of is raised once, holds, and is resolved once.

Whoever finds a condition calls `raise_alert` as often as he meets it, and `resolve` when it is over; what has been said
already is not said again. Conditions that are looked at rather than met (is a link up?) go through `observe`, which
takes all of a kind at once. Time enters by the clock and by `look`, which the owner calls about once a second:

    after_s   the condition has to last so long before it is an alert: what passes by itself wakes nobody
    lasts_s   an alert that nobody can resolve (something happened) ends when it has not happened again for so long

Labels are values of the configuration and of enumerations, never of callers, and there are few of them: of each kind
`MOST_EACH` alerts may be active, and what is more is one under "other". It must not know what alerts there are
(`visibility.catalogue`), nor who listens.
"""

from __future__ import annotations

import enum
import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

log = logging.getLogger(__name__)

RUNBOOK = "docs/runbook.md"
MOST_EACH = 64  # active alerts of one kind, with different labels
MOST_WHY = 300  # characters of what went wrong
OTHER = "other"
_SECOND = 1_000_000
_NAME = re.compile(r"[a-z][a-z0-9_]{2,40}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}", re.ASCII)


class Severity(enum.Enum):
    """Who has to know, and when."""

    PAGE = "page"  # somebody, now
    TICKET = "ticket"  # somebody, on a working day
    INFO = "info"  # whoever looks


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKind:
    """A sort of alert. Its name is static, and stands in the runbook.

    Attributes:
        summary: what it means, one line for people.
        labels: names of its labels, each with a bounded set of values.
        security: whether raising and resolving it goes on record where the process has an audit.
        after_s: seconds that the condition has to last.
        lasts_s: seconds without recurrence that end it; 0: it lasts until it is resolved.
    """

    name: str
    severity: Severity
    summary: str
    labels: tuple[str, ...] = ()
    security: bool = False
    after_s: float = 0.0
    lasts_s: float = 0.0

    def __post_init__(self) -> None:
        if not all(_NAME.fullmatch(name) for name in (self.name, *self.labels)):
            raise ValueError(f"{self.name!a} has a name or a label that is none")

    @property
    def runbook(self) -> str:
        """Where it is explained what to do."""
        return f"{RUNBOOK}#{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One that is or was active. Times are microseconds since the Unix epoch; `resolved_at` is 0 while it is active."""

    kind: AlertKind
    values: tuple[str, ...]  # of the kind's labels
    why: str
    raised_at: int
    last_at: int  # when it was last met
    times: int = 1
    resolved_at: int = 0

    @property
    def labels(self) -> dict[str, str]:
        """The labels, by name."""
        return dict(zip(self.kind.labels, self.values, strict=True))

    def as_json(self) -> dict[str, object]:
        """Return it as `smsgw status --json` and the like have it."""
        return {
            "alert": self.kind.name,
            "severity": self.kind.severity.value,
            "labels": self.labels,
            "raised_at": self.raised_at,
            "times": self.times,
            "summary": self.kind.summary,
            "why": self.why,
            "runbook": self.kind.runbook,
        }


Listener = Callable[[Alert], None]  # told when one is raised and when it is resolved; quick, and raises nothing
Rows = list[tuple[float, Mapping[str, str]]]

_Key = tuple[str, tuple[str, ...]]


def now_us() -> int:
    """Return the time: microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class AlertSink(Protocol):
    """What a part that finds conditions needs."""

    def raise_alert(self, kind: AlertKind, *values: str, why: str = "") -> None:
        """Say that the condition holds."""

    def resolve(self, kind: AlertKind, *values: str) -> None:
        """Say that it does not."""


class Nobody:
    """A sink for parts that stand alone."""

    def raise_alert(self, kind: AlertKind, *values: str, why: str = "") -> None:
        """Tell nobody."""

    def resolve(self, kind: AlertKind, *values: str) -> None:
        """Tell nobody."""


NOBODY = Nobody()


class Alerts:
    """The alerts of one process. May be used by any thread."""

    def __init__(
        self,
        kinds: Sequence[AlertKind],
        now: Callable[[], int] = now_us,
        *,
        listeners: Iterable[Listener] = (),
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        """Args:
        kinds: every kind that may be raised here; those without labels are shown as 0 while nothing is wrong.
        now: microseconds since the Unix epoch.
        listeners: told of each change, behind the log.
        redact: takes from a text what a log must not have.
        """
        self._kinds = {kind.name: kind for kind in kinds}
        self._names = sorted({name for kind in kinds for name in kind.labels})
        self._now = now
        self._listeners = [_write, *listeners]
        self._redact = redact
        self._lock = threading.RLock()  # a listener may ask what is active
        self._active: dict[_Key, Alert] = {}
        self._pending: dict[_Key, Alert] = {}
        self._shown: dict[_Key, AlertKind] = {(kind.name, ()): kind for kind in kinds if not kind.labels}
        self._raised = dict.fromkeys((kind.name for kind in kinds), 0)

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of changes too."""
        self._listeners.append(listener)

    def raise_alert(self, kind: AlertKind, *values: str, why: str = "") -> None:
        """Say that the condition holds; `values` are those of the kind's labels, `why` is for people.

        Raises ValueError for a number of labels that the kind has not, and for a kind that is none of this process.
        """
        with self._lock:
            self._met(self._key(kind, values), kind, why)

    def resolve(self, kind: AlertKind, *values: str) -> None:
        """Say that the condition does not hold (hot: it is said after each success)."""
        if not self._active and not self._pending:
            return
        with self._lock:
            self._over(self._key(kind, values))

    def observe(self, kind: AlertKind, found: Mapping[tuple[str, ...], str]) -> None:
        """Say of which labels the condition holds, and why, and that it holds of no others."""
        with self._lock:
            wanted = {_cleaned(kind, values): why for values, why in found.items()}
            self._keep(kind, wanted.keys() | {_others(kind)})  # first, for the room that the others need
            met: set[_Key] = set()
            for (_, values), why in wanted.items():
                key = self._key(kind, values)
                met.add(key)
                self._met(key, kind, why)
            self._keep(kind, met)

    def look(self) -> None:
        """Let time pass."""
        with self._lock:
            now = self._now()
            for key, alert in list(self._pending.items()):
                if now - alert.raised_at >= alert.kind.after_s * _SECOND:
                    self._begin(key, self._pending.pop(key), now)
            for key, alert in list(self._active.items()):
                if alert.kind.lasts_s and now - alert.last_at >= alert.kind.lasts_s * _SECOND:
                    self._over(key)

    def active(self) -> list[Alert]:
        """Return those that are active: the gravest first, then by their age."""
        order = list(Severity)
        with self._lock:
            found = list(self._active.values())
        return sorted(found, key=lambda alert: (order.index(alert.kind.severity), alert.raised_at))

    def rows(self) -> Rows:
        """Return 1 for each that is active, 0 for each that is not, with name, severity and labels.

        Every row has every label, "" where a kind has it not: to Prometheus, that is the same as none.
        """
        with self._lock:
            shown, active = list(self._shown.items()), set(self._active)
        blank = dict.fromkeys(self._names, "")
        return [
            (
                float(key in active),
                {
                    **blank,
                    **dict(zip(kind.labels, key[1], strict=True)),
                    "name": kind.name,
                    "severity": kind.severity.value,
                },
            )
            for key, kind in shown
        ]

    def raised(self) -> Rows:
        """Return how often each kind has been raised."""
        return [
            (count, {"name": name, "severity": self._kinds[name].severity.value})
            for name, count in list(self._raised.items())
        ]

    def _keep(self, kind: AlertKind, keys: Collection[_Key]) -> None:
        """End those of a kind that are not among `keys`."""
        for key in [key for key in (*self._active, *self._pending) if key[0] == kind.name and key not in keys]:
            self._over(key)

    def _key(self, kind: AlertKind, values: tuple[str, ...]) -> _Key:
        if len(values) != len(kind.labels):
            raise ValueError(f"{kind.name} has the labels {kind.labels}")
        if kind.name not in self._kinds:
            raise ValueError(f"{kind.name} is none of the alerts of this process")
        key = _cleaned(kind, values)
        if key in self._active or key in self._pending:
            return key
        many = sum(name == kind.name for name, _ in (*self._active, *self._pending)) >= MOST_EACH
        return _others(kind) if many else key

    def _met(self, key: _Key, kind: AlertKind, why: str) -> None:
        now, text = self._now(), _printable(self._redact(why))
        held = self._active.get(key)
        if held is not None:
            self._active[key] = replace(held, why=text or held.why, last_at=now, times=held.times + 1)
            return
        pending = self._pending.get(key)
        alert = Alert(kind=kind, values=key[1], why=text, raised_at=now, last_at=now)
        if pending is not None:
            alert = replace(alert, raised_at=pending.raised_at, times=pending.times + 1)
        if now - alert.raised_at < kind.after_s * _SECOND:
            self._pending[key] = alert
        else:
            self._pending.pop(key, None)
            self._begin(key, alert, now)

    def _begin(self, key: _Key, alert: Alert, now: int) -> None:
        alert = replace(alert, raised_at=now, last_at=now)
        self._active[key] = alert
        self._show(key, alert.kind)
        self._raised[alert.kind.name] += 1
        self._tell(alert)

    def _show(self, key: _Key, kind: AlertKind) -> None:
        """Have the alert among the rows from now on; those over are left out when there are too many."""
        self._shown[key] = kind
        same = [known for known in self._shown if known[0] == kind.name]
        for known in same[: max(0, len(same) - 2 * MOST_EACH)]:
            if known not in self._active:
                del self._shown[known]

    def _over(self, key: _Key) -> None:
        self._pending.pop(key, None)
        alert = self._active.pop(key, None)
        if alert is not None:
            self._tell(replace(alert, resolved_at=max(self._now(), alert.raised_at)))

    def _tell(self, alert: Alert) -> None:
        for listener in self._listeners:
            try:
                listener(alert)
            except Exception:  # one that fails must not keep the others from knowing
                log.exception("alert_not_told", extra={"alert": alert.kind.name})


def _cleaned(kind: AlertKind, values: tuple[str, ...]) -> _Key:
    return kind.name, tuple(value if _VALUE.fullmatch(value) else OTHER for value in values)


def _others(kind: AlertKind) -> _Key:
    return kind.name, (OTHER,) * len(kind.labels)


def _printable(text: str) -> str:
    return "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text[:MOST_WHY]])


_LEVELS = {Severity.PAGE: logging.ERROR, Severity.TICKET: logging.WARNING, Severity.INFO: logging.INFO}


def _write(alert: Alert) -> None:
    """Write a change to the log."""
    kind = alert.kind
    fields: dict[str, object] = {"alert": kind.name, "severity": kind.severity.value, "labels": alert.labels}
    if alert.resolved_at:
        lasted_s = round((alert.resolved_at - alert.raised_at) / _SECOND, 1)
        log.info("alert_resolved", extra={**fields, "lasted_s": lasted_s, "times_count": alert.times})
        return
    fields |= {"summary": kind.summary, "why": alert.why, "runbook": kind.runbook}
    log.log(_LEVELS[kind.severity], "alert_raised", extra=fields)
