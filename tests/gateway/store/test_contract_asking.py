"""The contract: messages that have left, cancelled and asked about at their carrier."""

from __future__ import annotations

from gateway.audit.records import StateChanged
from gateway.states import State
from gateway.store.contract import Queue, Store
from gateway.store.receipts import Source
from tests.gateway.audit.agreement import records_of
from tests.gateway.store.samples import (
    CARRIER,
    HOUR,
    NOW,
    SECOND,
    TENANT,
    in_doubt,
    learned,
    message,
    receipt,
    send,
    sending,
    submitted,
    told,
)


async def test_a_message_is_cancelled_at_its_carrier(store: Store) -> None:
    """What the carrier confirmed ends the message, with the caller that wanted it on record."""
    new = message(segments=2)
    await store.accept([new])
    await send(store, [new], ["a\nb"])
    assert await store.learned([learned(new, (0, 1), by=new.owner)]) == [State.CANCELLED]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.part_states, row.reason_code) == ("CC", "CANCELLED_AT_CARRIER")
    assert await told(store, new) == [State.ACCEPTED, State.SUBMITTED, State.CANCELLED]
    last = (await records_of(store))[-1]
    assert isinstance(last, StateChanged)
    assert (last.state, last.by) == (State.CANCELLED, new.owner)
    assert await store.close_due(NOW + 99 * HOUR, 10) == 0


async def test_a_message_is_cancelled_in_part(store: Store) -> None:
    """When the carrier cancelled some parts, the message will not be shown whole: it is CANCELLED, and says so."""
    new = message(segments=3)
    await store.accept([new])
    await send(store, [new], ["a\nb\nc"])
    await store.receipts([receipt("a")])
    assert await store.learned([learned(new, (0, 1))]) == [State.CANCELLED]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.part_states, row.reason_code) == ("DCS", "PARTLY_CANCELLED")
    assert "1 of 3" in row.reason_text


async def test_what_is_learned_too_late(store: Store) -> None:
    """A message that ended meanwhile, or went to another carrier, stays as it is; one that is not there is no error."""
    ended, elsewhere = message(), message()
    await store.accept([ended, elsewhere])
    await send(store, [ended], ["a"])
    await store.receipts([receipt("a")])
    await store.sending([sending(elsewhere, carrier="other")])
    await store.settle([submitted(elsewhere, "b", carrier="other")])
    batch = [learned(ended, (0,)), learned(elsewhere, (0,)), learned(message(), (0,)), learned(elsewhere, (7,))]
    states = [State.DELIVERED, State.SUBMITTED, 0, State.SUBMITTED]
    assert await store.learned(batch) == states


async def test_an_answer_to_a_query(store: Store) -> None:
    """A state that the carrier gives when asked counts like a receipt, and its source can be seen."""
    one, two, three = message(), message(), message()
    await store.accept([one, two, three])
    await send(store, [one, two], ["a", "b"])
    await store.sending([sending(three)])
    await store.settle([in_doubt(three, carrier_ids="c", part_states="S", queue=Queue.AWAITING)])
    query = {"source": Source.QUERY, "operator_done_at": NOW + 4}
    batch = [
        learned(one, (0,), "D", stat="DELIVRD", **query),
        learned(two, (0,), "", stat="ENROUTE", **query),
        learned(three, (0,), "U", stat="UNDELIV", network_error="9", **query),
    ]
    assert await store.learned(batch) == [State.DELIVERED, State.SUBMITTED, State.UNDELIVERABLE]
    rows = [await store.get_message(TENANT, new.id) for new in (one, three)]
    assert [(row.reason_code, row.operator_done_at) for row in rows if row] == [
        ("QUERY_DELIVERED", NOW + 4),
        ("QUERY_UNDELIVERABLE", NOW + 4),
    ]
    assert (await store.counts())["query.answered"] == 3


async def test_parts_learned_one_by_one(store: Store) -> None:
    """Answers about several parts of one message work together."""
    new = message(segments=2)
    await store.accept([new])
    await send(store, [new], ["a\nb"])
    batch = [learned(new, (part,), "D", stat="DELIVRD", source=Source.QUERY) for part in (1, 0)]
    assert await store.learned(batch) == [State.DELIVERED] * 2


async def test_looking_through_what_awaits(store: Store) -> None:
    """Messages that left and are open come in pieces, each once, with what is needed to ask about them."""
    news = [message(id=bytes([number]) * 16) for number in range(1, 8)]
    await store.accept(news)
    await send(store, news[:5], [f"id-{number}" for number in range(5)])
    await store.receipts([receipt("id-1")])
    await store.sending([sending(news[5])])
    await store.settle([in_doubt(news[5], queue=Queue.AWAITING, due_at=NOW + HOUR)])  # no carrier id: cannot be asked
    found, place = await store.awaiting(None, NOW + HOUR, 3)
    assert place is not None
    rest, end = await store.awaiting(place, NOW + HOUR, 3)
    assert [row.carrier_ids for row in (*found, *rest)] == ["id-0", "id-2", "id-3", "id-4"]
    assert end is None
    row = found[0]
    assert (row.place[1:], row.state, row.sender, row.carrier) == (
        (TENANT, news[0].id),
        State.SUBMITTED,
        "ACME",
        CARRIER,
    )
    assert (row.part_states, row.sent_at) == ("S", NOW + SECOND)
    assert (await store.awaiting(None, NOW + SECOND, 10))[0] == []


async def test_the_sender_that_the_carrier_was_told(store: Store) -> None:
    """Where a route rewrites the sender, the message says what the carrier was told at the last attempt."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new, sender="12345")])
    await store.settle([submitted(new, "a")])
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.sender, row.told_sender) == ("ACME", "12345")
    ((found,), _) = await store.awaiting(None, NOW + HOUR, 10)
    assert found.sender == "12345"
