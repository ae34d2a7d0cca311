"""The numbers: what is counted where, and that their labels are bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from gateway.states import Category, State
from gateway.store.contract import Committed, Ended, Settlement, Waiting
from gateway.telemetry.meters import MOST_NAMES, OTHER, Flow, FlowLabels, Histogram, Meters, bounded, waited_since
from tests.gateway.store.samples import NOW, SECOND, again, message, rejected, submitted

BOUNDS = (0.1, 1.0, 10.0)


class Record(NamedTuple):
    """An outcome that is on disk."""

    settlement: Settlement
    message: Waiting


def waiting(category: int = Category.OTP, attempts: int = 0, due_at: int = NOW) -> Waiting:
    """Return a message in the dispatcher's hands."""
    new = message(category=category)
    fields = (new.tenant, new.id, category, "S", b"", b"", 1, due_at, NOW, attempts, 1, "", "", "", "", "DE")
    return Waiting(*fields)


def commit(ended: Sequence[Ended] = ()) -> Committed:
    """Return what a commit tells."""
    return Committed(7, 0.002, 0.0015, ended, ())


def by_state(flow: Flow) -> dict[int, int]:
    """Return what ended, by state."""
    return {state: count for state, count in enumerate(flow.ended) if count}


def test_histogram() -> None:
    """A value counts under the first bound that it does not exceed, and what is negative as nothing."""
    histogram = Histogram(BOUNDS)
    for value in (0.05, 0.1, 0.5, 10.0, 11.0, -3.0):
        histogram.observe(value)
    histogram.observe(2.0, times=10)
    assert histogram.counts == [3, 1, 11, 1]
    assert histogram.total == 0.05 + 0.1 + 0.5 + 10.0 + 11.0 + 20.0


@given(values=st.lists(st.floats(0, 100), max_size=50))
def test_nothing_is_lost_in_a_histogram(values: list[float]) -> None:
    """Every value is in exactly one bucket, the one that its size says."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    assert sum(histogram.counts) == len(values)
    assert histogram.counts[0] == sum(value <= BOUNDS[0] for value in values)
    assert histogram.counts[-1] == sum(value > BOUNDS[-1] for value in values)


def test_outcomes() -> None:
    """Submitted messages count with their waits, refused ones as ended; what waits again is neither."""
    meters = Meters(["acme-sms"])
    one, two, three = waiting(), waiting(Category.PROMOTIONAL), waiting()
    records = [
        Record(submitted(one, "a"), one),
        Record(rejected(two), two),
        Record(again(three), three),
    ]
    meters.settled(records, [State.SUBMITTED, State.REJECTED, State.ACCEPTED])
    flows = dict(meters.flows())
    otp, promotional = flows[FlowLabels("acme-sms", "OTP")], flows[FlowLabels("acme-sms", "PROMOTIONAL")]
    assert (otp.submitted, by_state(otp)) == (1, {})
    assert otp.submit.total == 2.0
    assert (promotional.submitted, by_state(promotional)) == (0, {State.REJECTED: 1})
    assert len(flows) == 2


def test_a_settlement_that_came_too_late_counts_nothing() -> None:
    """A refusal of a message that was cancelled meanwhile does not end it a second time."""
    meters = Meters(["acme-sms"])
    one = waiting()
    meters.settled([Record(rejected(one), one)], [State.CANCELLED])
    assert [by_state(flow) for _, flow in meters.flows()] == [{}]


def test_waits_begin_when_a_message_may_be_sent() -> None:
    """The first attempt counts from when it was due; a further one from the acceptance, which the id tells."""
    later = NOW + 60 * SECOND
    assert waited_since(waiting(due_at=later)) == later
    assert waited_since(waiting(due_at=later, attempts=3)) == NOW


def test_commits() -> None:
    """Durations, rows, and the messages that receipts ended."""
    meters = Meters(["acme"])
    meters.committed(commit([("acme", Category.OTP, State.DELIVERED, 3 * SECOND), ("", 2, State.EXPIRED, -1)]))
    meters.committed(commit())
    assert (meters.rows, sum(meters.commit.counts), sum(meters.fsync.counts)) == (14, 2, 2)
    flows = dict(meters.flows())
    assert flows[FlowLabels("acme", "OTP")].receipted.total == 3.0
    assert by_state(flows[FlowLabels("", "TRANSACTIONAL")]) == {State.EXPIRED: 1}
    assert sum(flows[FlowLabels("", "TRANSACTIONAL")].receipted.counts) == 0


@given(
    carriers=st.lists(st.text(max_size=8), max_size=60),
    categories=st.lists(st.integers(-5, 60), max_size=60),
    reasons=st.lists(st.text(max_size=20), max_size=200),
    methods=st.lists(st.text(max_size=12), max_size=60),
)
def test_labels_are_bounded(carriers: list[str], categories: list[int], reasons: list[str], methods: list[str]) -> None:
    """Whatever names come in, the labels stay those of the configuration and the tables, and "other"."""
    meters = Meters(["acme"], ["/s/M"])
    for carrier in carriers:
        for category in categories[:5]:
            meters.committed(commit([(carrier, category, State.DELIVERED, 1)]))
    for category in categories:
        meters.committed(commit([("acme", category, State.DELIVERED, 1)]))
    for method in methods:
        meters.call(method, "OK", 0.1)
    for reason in reasons:
        meters.denied(reason)
    assert {labels.carrier for labels, _ in meters.flows()} <= {"acme", "", OTHER}
    assert {labels.category for labels, _ in meters.flows()} <= {*Category.__members__, OTHER}
    assert {method for method, _ in meters.calls} <= {"/s/M", ""}
    assert sum(meters.denials.values()) == len(reasons)
    assert all(reason.isascii() and len(reason) <= 63 for reason in meters.denials)


def test_too_many_reasons_share_a_label() -> None:
    """Beyond so many, new ones are counted together, and known ones still by name."""
    meters = Meters(())
    for number in range(MOST_NAMES + 50):
        meters.denied(f"REASON_{number}")
    meters.denied("REASON_0")
    assert len(meters.denials) == MOST_NAMES + 1
    assert (meters.denials[OTHER], meters.denials["REASON_0"]) == (50, 2)


def test_names_that_are_none_of_ours() -> None:
    """A label never takes what looks like a number or a sentence."""
    for text in ("+4915112345678", "4915112345678", "Your code is 4711", "x" * 64, "", "a\nb"):
        assert bounded(text, {}) == OTHER
    assert bounded("resend.link_lost", {}) == "resend.link_lost"
