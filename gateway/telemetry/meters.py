"""The node's numbers: plain integers that the hot path counts up, and others read when asked (`instruments`).

An instrument of the SDK costs microseconds for each value, a dictionary and an addition cost a tenth of one. All of
this belongs to the event loop; other threads only read, and a number that is a moment old is as good.

Labels are bounded: carriers come from the configuration, categories, states and codes from enumerations, reasons and
causes from our own code, and what is none of them, or beyond `MOST_NAMES`, is counted as "other".
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from gateway.states import FINAL, Category, State
from gateway.store.contract import Committed, Settlement, Waiting

OTHER = "other"
MOST_NAMES = 100  # reasons of denials, and causes of retries

# Upper bounds in seconds. The first are those that the semantic conventions give for calls.
CALL_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SUBMIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
RECEIPT_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
LAG_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,62}", re.ASCII)
_SUBMITTED = int(State.SUBMITTED)
_FINAL = frozenset(map(int, FINAL))
_CATEGORIES = {int(category): category.name for category in Category}
_STATES = {int(state): state.name for state in State}


_OF_IDENTITY = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})  # gRPC's names


class Histogram:
    """Counts values by upper bound. `counts` has one more than `bounds`: what is above the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value that occurred so many times; below 0 counts as 0: clocks differ, time does not go back."""
        if value < 0.0:
            value = 0.0
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Flow:
    """What went through one carrier in one category."""

    __slots__ = ("ended", "receipted", "submit", "submitted")

    def __init__(self) -> None:
        self.submitted = 0
        self.submit = Histogram(SUBMIT_S)
        self.receipted = Histogram(RECEIPT_S)
        self.ended = [0] * (max(_STATES) + 1)  # by final state


_NOWHERE = Flow()  # stands where no flow has been looked for yet


class FlowLabels(NamedTuple):
    """What a Flow is counted under."""

    carrier: str
    category: str


class Recorded(Protocol):
    """An outcome that is on disk: the settlement and the message it settles."""

    @property
    def settlement(self) -> Settlement:
        """What was recorded."""

    @property
    def message(self) -> Waiting:
        """The message."""


class Meters:
    """All numbers of one node."""

    def __init__(self, carriers: Iterable[str], methods: Iterable[str] = ()) -> None:
        """`carriers` and `methods` are the only ones that get labels of their own; "" is no carrier at all."""
        self._carriers = frozenset(carriers) | {""}
        self._methods = frozenset(methods)
        self.accepted: Counter[int] = Counter()  # by category
        self.accept = Histogram(CALL_S)
        self.calls: dict[tuple[str, str], Histogram] = {}  # by method and status
        self.denials: Counter[str] = Counter()  # by reason
        self.renewals: Counter[str] = Counter()  # of the node's own: "svid", "bundles"
        self.refusals: Counter[tuple[str, str, str]] = Counter()  # calls, by who served them, code and reason
        self.unread_ids: Counter[tuple[str, str]] = Counter()  # by carrier and side, see gateway.pipeline.carrier_ids
        self.commit = Histogram(COMMIT_S)
        self.fsync = Histogram(COMMIT_S)
        self.rows = 0
        self.lag = Histogram(LAG_S)
        self._flows: dict[tuple[str, int], Flow] = {}

    def know(self, carriers: Iterable[str]) -> None:
        """Give these carriers labels of their own too; those that had one keep it."""
        self._carriers |= frozenset(carriers)

    def call(self, method: str, code: str, duration_s: float) -> None:
        """Count a call that has ended. `method` is a full name, /package.Service/Method; `code` a gRPC status."""
        key = (method if method in self._methods else "", code)
        histogram = self.calls.get(key)
        if histogram is None:
            histogram = self.calls[key] = Histogram(CALL_S)
        histogram.observe(duration_s)

    def denied(self, reason: str, times: int = 1) -> None:
        """Count refusals under the stable reason that the caller was told."""
        self.denials[bounded(reason, self.denials)] += times

    def refused(self, server: str, code: str, reason: str) -> None:
        """Count a call that was refused by a server (`api`, `admin`) with this gRPC status, for a stable reason."""
        key = (server, code, reason)
        if key not in self.refusals and (len(self.refusals) >= MOST_NAMES or not _NAME.fullmatch(reason)):
            key = (server, code, OTHER)
        self.refusals[key] += 1

    def nobodys(self) -> dict[str, int]:
        """Return how many calls were refused for who called, or for what he may not do; by reason."""
        found: Counter[str] = Counter()
        for (_, code, reason), count in self.refusals.items():
            if code in _OF_IDENTITY:
                found[reason] += count
        return dict(found)

    def settled(self, records: Sequence[Recorded], states: Sequence[int]) -> None:
        """Count outcomes that are on disk; `states` are those of the messages afterwards.

        Hot: one loop a batch, in which neighbours mostly go the same way, and tuples are taken apart by place.
        """
        flow, of_carrier, of_category = _NOWHERE, "", -1
        for record, state in zip(records, states, strict=True):
            settlement, message = record.settlement, record.message
            recorded, carrier, category = settlement[2], settlement[4], message[2]
            if recorded != _SUBMITTED and recorded not in _FINAL:
                continue
            if carrier != of_carrier or category != of_category:
                flow, of_carrier, of_category = self._flow(carrier, category), carrier, category
            if recorded == _SUBMITTED:
                flow.submitted += 1
                flow.submit.observe((settlement[3] - (waited_since(message) if message[9] else message[7])) * 1e-6)
            elif state == recorded:  # what receipts decided comes with the commit
                flow.ended[state] += 1

    def committed(self, commit: Committed) -> None:
        """Count one transaction, and the messages that ended by it."""
        self.commit.observe(commit.duration_s)
        self.fsync.observe(commit.fsync_s)
        self.rows += commit.rows
        flow, of_carrier, of_category = _NOWHERE, "", -1
        for carrier, category, state, waited in commit.ended:
            if carrier != of_carrier or category != of_category:
                flow, of_carrier, of_category = self._flow(carrier, category), carrier, category
            flow.ended[state] += 1
            if waited >= 0:
                flow.receipted.observe(waited * 1e-6)

    def _flow(self, carrier: str, category: int) -> Flow:
        """Return the flow, new if need be. Carriers that the configuration lacks (any more) share one."""
        key = (carrier if carrier in self._carriers else OTHER, category if category in _CATEGORIES else 0)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = Flow()
        return flow

    def flows(self) -> list[tuple[FlowLabels, Flow]]:
        """Return what went where."""
        return [
            (FlowLabels(carrier, _CATEGORIES.get(category, OTHER)), flow)
            for (carrier, category), flow in list(self._flows.items())
        ]


def waited_since(message: Waiting) -> int:
    """Return from when on a message could have been sent, microseconds: when it was due, which is its acceptance
    unless `not_before` is later. For one that is tried again, which is due later each time, its acceptance, which its
    id tells to the millisecond (RFC 9562 §5.7)."""
    return int.from_bytes(message.id[:6], "big") * 1000 if message.attempts else message.due_at


def bounded(name: str, known: Iterable[str]) -> str:
    """Return `name` as a label: "other" for what looks like no name of ours, and when there are too many."""
    names = known if isinstance(known, dict) else dict.fromkeys(known)
    if name in names:
        return name
    return name if len(names) < MOST_NAMES and _NAME.fullmatch(name) else OTHER


def category_name(category: int) -> str:
    """Return a category as a label."""
    return _CATEGORIES.get(category, OTHER)


def state_name(state: int) -> str:
    """Return a state as a label."""
    return _STATES.get(state, OTHER)
