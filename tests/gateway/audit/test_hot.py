"""The quick way to a commit's octets is the same as the plain one."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gateway.audit import hot
from gateway.audit.codec import decode, frames, split
from gateway.audit.fields import MAX_IDS, Malformed
from gateway.audit.hot import Gathered
from gateway.audit.records import (
    Decision,
    InboundReceived,
    MessageAccepted,
    MessagesRouted,
    MessagesSending,
    MessageStored,
    Record,
    StateChanged,
)
from tests.gateway.audit.samples import AT, ID, SAMPLES, accepted, changed, inbound, routed, sending, stored

# Decisions about a few calls, at many times: what is kept of one must not be taken for another.
_times = st.integers(0, 2**64 - 1)
_few = st.sampled_from(["", "a", "b"])
_decisions = st.builds(
    Decision, _times, st.booleans(), _few, _few, _few, _few, _few, _few, _few, _few, _few, _times,
    st.integers(1, 2**32 - 1),
)  # fmt: skip
_hot = st.one_of(accepted, stored, changed, inbound, sending, routed, _decisions)


def gather(gathered: Gathered, record: Record) -> None:
    """Take a record the quick way."""
    if isinstance(record, MessageAccepted):
        gathered.accepted(record.at, record.message_id, record[2:])
    elif isinstance(record, MessageStored):
        gathered.stored(record.at, record.message_id, record[2:-1], record.commitment)
    elif isinstance(record, StateChanged):
        gathered.changed(record.at, record.message_id, record[2:])
    elif isinstance(record, InboundReceived):
        gathered.inbound(record.at, record.inbound_id, record[2:])
    elif isinstance(record, MessagesSending):
        gathered.sending(*record)
    elif isinstance(record, Decision):
        gathered.add([record])
    elif isinstance(record, MessagesRouted):
        at, tenant, carrier, policy, route, sender, ids = record
        gathered.sending(at, tenant, carrier, policy, ids, route=route, sender=sender)


@given(st.lists(changed, min_size=1, max_size=6))
def test_changes_that_are_alike(batch: list[StateChanged]) -> None:
    """Changes with the same fields give the octets that they give one by one."""
    alike = [StateChanged(record.at, record.message_id, *batch[0][2:]) for record in batch]
    one_by_one, together = Gathered(), Gathered()
    for record in alike:
        gather(one_by_one, record)
    together.changed_alike(batch[0][2:], [(0, record.message_id, record.at, 0) for record in alike])
    assert (together.octets(), together.number) == (one_by_one.octets(), len(batch))


@settings(max_examples=150, deadline=None)
@given(st.lists(_hot, max_size=6))
def test_same_octets(batch: list[Record]) -> None:
    """Both ways give the same octets, the first time and from what has been kept."""
    gathered = Gathered()
    for _ in range(2):
        gathered.clear()
        for record in batch:
            gather(gathered, record)
        assert gathered.octets() == frames(batch)
        assert gathered.number == len(batch)


def test_records_of_any_kind() -> None:
    """Others go the plain way, in the order in which they came."""
    gathered = Gathered()
    gathered.add(SAMPLES[:2])
    gathered.accepted(AT, ID, ("acme", "spiffe://example.org/a", 1, "ACME", "DE", 1, True))
    gathered.add(SAMPLES[2:])
    kinds = [type(decode(octets)) for octets in split(gathered.octets())]
    assert kinds == [*map(type, SAMPLES[:2]), MessageAccepted, *map(type, SAMPLES[2:])]


def test_many_at_once() -> None:
    """More messages than one record holds become several records, and none is left out."""
    ids = [number.to_bytes(16, "big") for number in range(2 * MAX_IDS + 1)]
    gathered = Gathered()
    gathered.sending(AT, "acme", "carrier", "policy", ids)
    found = [decode(octets) for octets in split(gathered.octets())]
    assert [len(record.message_ids) for record in found if isinstance(record, MessagesSending)] == [1000, 1000, 1]
    assert [id_ for record in found if isinstance(record, MessagesSending) for id_ in record.message_ids] == ids
    gathered.clear()
    gathered.sending(AT, "acme", "carrier", "policy", [])
    assert (gathered.number, gathered.octets()) == (0, b"")


@pytest.mark.parametrize("id_", [b"", ID[1:], ID + b"x"])
def test_an_id_of_another_length(id_: bytes) -> None:
    """An id is never cut or filled up, though the packing would do so."""
    with pytest.raises(Malformed, match="instead of 16"):
        Gathered().changed(AT, id_, ("acme", 1, 2, "", "", None, ""))


def test_what_does_not_fit() -> None:
    """The quick way refuses what the plain one refuses, each time."""
    gathered = Gathered()
    for _ in range(2):
        with pytest.raises(Malformed, match=r"MESSAGE_ACCEPTED\.tenant"):
            gathered.accepted(AT, ID, ("t" * 256, "o", 1, "s", "DE", 1, False))
        with pytest.raises(Malformed, match=r"MESSAGE_STORED\.tenant"):
            gathered.stored(AT, ID, ("t" * 256, "o", 1, "s", "DE", 1), bytes(32))
        with pytest.raises(Malformed, match="a hash has 31 octets"):
            gathered.stored(AT, ID, ("t", "o", 1, "s", "DE", 1), bytes(31))
        with pytest.raises(Malformed, match="a number is not within 0"):
            gathered.inbound(-5, ID, ("acme", "carrier", 1))
    assert (gathered.number, gathered.octets()) == (0, b"")


def test_kept_octets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers and senders there are, what is kept of them stays small."""
    monkeypatch.setattr(hot, "_KEPT", 10)
    gathered = Gathered()
    for number in range(35):
        gathered.changed(AT, ID, (f"t{number}", 1, 2, "", "", None, ""))
    assert len(gathered._changed.known) <= 10
    assert [getattr(decode(octets), "tenant", "") for octets in split(gathered.octets())] == [
        f"t{number}" for number in range(35)
    ]


@pytest.mark.parametrize("wrong", [{"times": 0}, {"times": 2**32}, {"at": -1}, {"since": 2**64}])
def test_a_malformed_decision(wrong: dict[str, Any]) -> None:
    """A decision that has no octets has none from what was kept of a good one either."""
    good = Decision(1, True, "a", "t", "", "", "", "m", "x", "r", "p", 1, 1)
    gathered = Gathered()
    gathered.add([good])
    with pytest.raises(Malformed):
        gathered.add([good._replace(**wrong)])
    assert gathered.number == 1
