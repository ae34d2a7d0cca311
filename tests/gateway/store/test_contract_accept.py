"""The contract: accepting, claiming, sending, and what is read of it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.states import State
from gateway.store.contract import Accepted, Idempotency, ListFilter, Queue, Store, Verdict
from gateway.store.engine import claiming
from tests.gateway.store.samples import (
    CARRIER,
    HOUR,
    NOW,
    OTP,
    PROMOTIONAL,
    SECOND,
    TENANT,
    TRANSACTIONAL,
    again,
    all_events,
    digest,
    in_doubt,
    key,
    message,
    send,
    sending,
    state_of,
    submitted,
    told,
)

EVERYTHING = ListFilter((), ())


async def test_a_message_is_read_as_it_was_stored(store: Store) -> None:
    """Every field of an accepted message comes back, and what has not happened yet is unset."""
    new = message(segments=3, encoding=2, due_at=NOW + SECOND)
    assert await store.accept([new]) == [Accepted(Verdict.STORED, new.id, State.ACCEPTED, 3)]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    for field in set(row._fields) & set(new._fields):
        assert getattr(row, field) == getattr(new, field), field
    assert (row.state, row.attempts, row.carrier) == (State.ACCEPTED, 0, "")
    assert (row.sending_at, row.submitted_at, row.done_at, row.smpp_status) == (None, None, None, None)


async def test_nothing_is_a_batch_too(store: Store) -> None:
    """An empty batch gives an empty answer."""
    assert await store.accept([]) == []
    assert await store.sending([]) == []
    assert await store.settle([]) == []
    assert await store.receipts([]) == []
    assert await store.inbound([]) == []


async def test_batches_of_every_size(store: Store) -> None:
    """No message is lost or doubled by how batches are cut."""
    stored = []
    for size in (1, 2, 4, 5, 6, 19, 21, 99, 101, 126, 1000):
        batch = [message() for _ in range(size)]
        assert [answer.id for answer in await store.accept(batch)] == [new.id for new in batch]
        assert await store.sending([sending(new) for new in batch]) == [True] * size
        stored += [new.id for new in batch]
    rows = await store.list_messages(TENANT, EVERYTHING, None, 10_000)
    assert [row.id for row in rows] == stored[::-1]
    assert {row.state for row in rows} == {State.SENDING}
    assert [event.message_id for event in await all_events(store)] == stored


async def test_a_repeated_key_gives_the_first_message(store: Store) -> None:
    """The same key and content give the message that is stored, as it stands now."""
    first, second = message(idempotency=key("k"), segments=2), message(idempotency=key("k"), segments=2)
    await store.accept([first])
    await send(store, [first], ["id-1\nid-2"])
    assert await store.accept([second]) == [Accepted(Verdict.REPLAYED, first.id, State.SUBMITTED, 2)]
    assert await store.get_message(TENANT, second.id) is None
    assert await told(store, second) == []


async def test_a_repeated_key_in_one_batch(store: Store) -> None:
    """Duplicates within a batch resolve to the first, and others of the batch are stored."""
    first, other, repeated = message(idempotency=key("k")), message(), message(idempotency=key("k"))
    answers = await store.accept([first, other, repeated])
    assert [answer.verdict for answer in answers] == [Verdict.STORED, Verdict.STORED, Verdict.REPLAYED]
    assert answers[2].id == first.id
    assert [event.message_id for event in await all_events(store)] == [first.id, other.id]


async def test_repeated_keys_in_concurrent_calls(store: Store) -> None:
    """Of calls at the same time with the same key one stores, the others get its message."""
    calls = [[message(idempotency=key(f"k{n}")) for n in range(3)] for _ in range(5)]
    answers = await asyncio.gather(*map(store.accept, calls))
    for n in range(3):
        mine = [answer[n] for answer in answers]
        assert [answer.verdict for answer in mine].count(Verdict.STORED) == 1
        assert len({answer.id for answer in mine}) == 1


async def test_a_key_with_other_content(store: Store) -> None:
    """The same key with other content is a conflict, in a later batch and in the same one."""
    first = message(idempotency=key("k"))
    await store.accept([first])
    for batch in ([message(idempotency=key("k", "other"))], [message(), message(idempotency=key("k", "other"))]):
        answers = await store.accept(batch)
        assert answers[-1].verdict is Verdict.CONFLICT
        assert await store.get_message(TENANT, batch[-1].id) is None


async def test_an_expired_key_is_free(store: Store) -> None:
    """A record past its time counts as absent, also before it is purged, and the key then holds the new message."""
    first = message(idempotency=key("k", expires_at=NOW + HOUR))
    await store.accept([first])
    later = message(idempotency=key("k", "other", expires_at=NOW + 9 * HOUR), accepted_at=NOW + HOUR)
    assert (await store.accept([later]))[0].verdict is Verdict.STORED
    again_ = message(idempotency=key("k", "other"), accepted_at=NOW + 2 * HOUR)
    assert await store.accept([again_]) == [Accepted(Verdict.REPLAYED, later.id, State.ACCEPTED, 1)]


async def test_expired_keys_are_free_together(store: Store) -> None:
    """Several expired keys in one batch are all taken anew, beside new ones."""
    names = ("a", "b", "c")
    await store.accept([message(idempotency=key(name, expires_at=NOW + HOUR)) for name in names])
    later = [message(idempotency=key(name, "other"), accepted_at=NOW + HOUR) for name in ("a", "new", "b", "c")]
    assert [answer.verdict for answer in await store.accept(later)] == [Verdict.STORED] * 4


def rotated(new: str, old: str, content: str = "content", **fields: int) -> Idempotency:
    """Return a record whose key and content have other hashes under an older hash key."""
    return key(new, f"new {content}", **fields)._replace(older=((digest(old, 32), digest(content, 32)),))


async def test_a_key_under_an_older_hash_key(store: Store) -> None:
    """A live record under an older hash key answers for its key, alone or in a batch, and stays where it is."""
    first, free = message(idempotency=key("old"), segments=2), message(idempotency=rotated("new 2", "old 2"))
    await store.accept([first])
    replay = Accepted(Verdict.REPLAYED, first.id, State.ACCEPTED, 2)
    again_, other = message(idempotency=rotated("new", "old")), message(idempotency=rotated("new", "old", "else"))
    answers = await store.accept([again_, free, other, again_._replace(id=free.id[::-1])])
    assert answers == [
        replay,
        Accepted(Verdict.STORED, free.id, State.ACCEPTED, 1),
        replay._replace(verdict=Verdict.CONFLICT),
        replay,
    ]
    assert await store.get_message(TENANT, again_.id) is None
    # Nothing was written under the newer hash, and what was stored for the free key was.
    assert (await store.accept([message(idempotency=key("new", "anything"))]))[0].verdict is Verdict.STORED
    assert (await store.accept([message(idempotency=rotated("new 2", "old 2"))]))[0].id == free.id


async def test_an_expired_key_under_an_older_hash_key(store: Store) -> None:
    """A record past its time under an older hash key is none."""
    await store.accept([message(idempotency=key("old", expires_at=NOW + HOUR))])
    late = message(idempotency=rotated("new", "old", expires_at=NOW + 90 * HOUR), accepted_at=NOW + HOUR)
    assert (await store.accept([late]))[0].verdict is Verdict.STORED


async def test_replays_are_told_and_nothing_is_stored(store: Store) -> None:
    """Who only asks is told what acceptance would answer: the first message, a conflict, or nothing for a free key."""
    first, old = message(idempotency=key("a"), segments=3), message(idempotency=key("old b"))
    await store.accept([first, old])
    await store.sending([sending(first)])
    asked = [key("a"), key("a", "else"), key("free"), rotated("b", "old b"), key("old b")]
    answers = await store.replays(asked, NOW + SECOND)
    assert answers == [
        (Verdict.REPLAYED, first.id, State.SENDING, 3),
        (Verdict.CONFLICT, first.id, State.SENDING, 3),
        None,
        (Verdict.REPLAYED, old.id, State.ACCEPTED, 1),
        (Verdict.REPLAYED, old.id, State.ACCEPTED, 1),
    ]
    assert await store.replays([], NOW) == []
    assert await store.replays([key("a")], NOW + 72 * HOUR) == [None]
    (answer,) = await store.accept([message(idempotency=key("free"))])
    assert answer.verdict is Verdict.STORED


async def test_claim_takes_what_is_due_and_ends_first(store: Store) -> None:
    """A claim takes due messages of its category in the order in which their validity ends, and of those that end
    together in order of due_at, once, with all that is needed to send them."""
    late, early, short, future, otp = (
        message(claimed=False, due_at=NOW + 2, content=b"late"),
        message(claimed=False, due_at=NOW + 1, content=b"early"),
        message(claimed=False, due_at=NOW + 3, expires_at=NOW + HOUR // 2),
        message(claimed=False, due_at=NOW + HOUR // 2),
        message(claimed=False, category=OTP),
    )
    await store.accept([late, early, short, future, otp])
    claimed = await store.claim(TRANSACTIONAL, 10, NOW + SECOND)
    assert [waiting.id for waiting in claimed] == [short.id, early.id, late.id]
    for field in set(claimed[0]._fields) & set(early._fields):
        assert getattr(claimed[1], field) == getattr(early, field), field
    assert claimed[0][9:14] == (0, State.ACCEPTED, "", "", "")
    assert await store.claim(TRANSACTIONAL, 10, NOW + SECOND) == []
    assert [waiting.id for waiting in await store.claim(OTP, 10, NOW)] == [otp.id]


async def test_messages_for_later_stand_in_nobodys_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages for later end before those that are due, a claim looks at few of them, and takes what is
    due all the same: the longest due first."""
    monkeypatch.setattr(claiming, "_LOOK", 20)
    later = [message(claimed=False, due_at=NOW + HOUR // 4, expires_at=NOW + HOUR // 2) for _ in range(50)]
    due = [message(claimed=False, due_at=NOW + 5 - n) for n in range(5)]
    await store.accept([*later, *due])
    assert [waiting.id for waiting in await store.claim(TRANSACTIONAL, 3, NOW + SECOND)] == [
        new.id for new in due[:1:-1]
    ]
    assert len(await store.claim(TRANSACTIONAL, 100, NOW + SECOND)) == 2
    assert len(await store.claim(TRANSACTIONAL, 100, NOW + HOUR // 4)) == 50


async def test_claim_keeps_to_its_limit(store: Store) -> None:
    """A claim takes no more than its limit, and the next one goes on."""
    batch = [message(claimed=False, category=PROMOTIONAL, due_at=NOW + n) for n in range(250)]
    await store.accept(batch)
    first = await store.claim(PROMOTIONAL, 101, NOW + SECOND)
    rest = await store.claim(PROMOTIONAL, 1000, NOW + SECOND)
    assert [waiting.id for waiting in first + rest] == [new.id for new in batch]
    assert len(first) == 101


async def test_claim_leaves_expired_messages(store: Store) -> None:
    """A message past its validity is not claimed: close_due ends it."""
    await store.accept([message(claimed=False, expires_at=NOW + SECOND)])
    assert await store.claim(TRANSACTIONAL, 10, NOW + SECOND) == []
    assert await store.close_due(NOW + SECOND, 10) == 1


async def test_claimed_at_acceptance(store: Store) -> None:
    """A message that its node keeps in memory is not claimed by anyone, and can be sent at once."""
    new = message(claimed=True)
    await store.accept([new])
    assert await store.claim(TRANSACTIONAL, 10, NOW + HOUR) == []
    assert await store.sending([sending(new)]) == [True]


async def test_next_due(store: Store) -> None:
    """The earliest due_at of the queue is told, and None for an empty one."""
    assert await store.next_due(TRANSACTIONAL) is None
    await store.accept([message(claimed=False, due_at=NOW + n) for n in (9, 3, 7)] + [message(due_at=NOW)])
    assert await store.next_due(TRANSACTIONAL) == NOW + 3
    assert await store.next_due(OTP) is None


async def test_sending_notes_the_attempt(store: Store) -> None:
    """SENDING sets carrier, time and attempts, and is no event."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.state, row.carrier, row.attempts, row.sending_at) == (State.SENDING, CARRIER, 1, NOW + SECOND)
    assert await told(store, new) == [State.ACCEPTED]


async def test_sending_only_what_is_claimed(store: Store) -> None:
    """Waiting, sending, cancelled, ended and unknown messages do not move; others of the batch do."""
    waiting, gone, cancelled, done, fine = message(claimed=False), message(), message(), message(), message()
    await store.accept([waiting, cancelled, done, fine])
    await store.cancel(TENANT, cancelled.id, NOW)
    await send(store, [done], ["x"])
    stranger = fine._replace(tenant="nobody")
    batch = [waiting, gone, cancelled, done, stranger, fine, fine]
    moved = await store.sending([sending(new) for new in batch])
    assert moved == [False, False, False, False, False, True, False]
    assert await state_of(store, waiting) is State.ACCEPTED


async def test_parts_answered_by_another_carrier_are_forgotten(store: Store) -> None:
    """An attempt at another carrier starts with no part answered; at the same carrier the parts stay."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([again(new, carrier_ids="a\n", part_states="S-", due_at=NOW)])
    (waiting,) = await store.claim(TRANSACTIONAL, 1, NOW + HOUR // 2)
    assert (waiting.part_states, waiting.carrier_ids, waiting.carrier) == ("S-", "a\n", CARRIER)
    await store.sending([sending(new)])
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.part_states, row.attempts) == ("S-", 2)
    await store.settle([again(new, carrier_ids="a\n", part_states="S-", due_at=NOW)])
    await store.claim(TRANSACTIONAL, 1, NOW + HOUR // 2)
    await store.sending([sending(new, carrier="other")])
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.part_states, row.carrier_ids, row.carrier) == ("", "", "other")


async def test_another_tenant_sees_nothing(store: Store) -> None:
    """Messages, lists, events and cancellation belong to one tenant."""
    new, foreign = message(), message(tenant="other")
    await store.accept([new, foreign])
    assert await store.get_message("other", new.id) is None
    assert [row.id for row in await store.list_messages("other", EVERYTHING, None, 10)] == [foreign.id]
    assert [event.message_id for event in await store.events("other", 0, 10)] == [foreign.id]
    assert await store.cancel("other", new.id, NOW) == (False, None)
    assert await store.list_messages("nobody", EVERYTHING, None, 10) == []
    assert await store.events("nobody", 0, 10) == []


async def test_list_pages_backwards(store: Store) -> None:
    """A list is newest first, and goes on below an id."""
    batch = [message() for _ in range(7)]
    await store.accept(batch)
    first = await store.list_messages(TENANT, EVERYTHING, None, 3)
    second = await store.list_messages(TENANT, EVERYTHING, first[-1].id, 10)
    assert [row.id for row in first + second] == [new.id for new in reversed(batch)]


async def test_list_by_recipient_and_state(store: Store) -> None:
    """Filters by recipient (any of several hashes) and by state combine, and pages keep their order."""
    a, b, c = (digest(name) for name in "abc")
    batch = [message(recipient_hash=recipient) for recipient in (a, b, c, a, b, c)]
    await store.accept(batch)
    await send(store, batch[:2], ["0", "1"])
    found = await store.list_messages(TENANT, ListFilter((), (a, b)), None, 3)
    assert [row.id for row in found] == [batch[4].id, batch[3].id, batch[1].id]
    rest = await store.list_messages(TENANT, ListFilter((), (a, b)), found[-1].id, 3)
    assert [row.id for row in rest] == [batch[0].id]
    only = await store.list_messages(TENANT, ListFilter((State.SUBMITTED,), (b, c)), None, 10)
    assert [row.id for row in only] == [batch[1].id]
    accepted = await store.list_messages(TENANT, ListFilter((State.ACCEPTED, State.CANCELLED), ()), None, 10)
    assert [row.id for row in accepted] == [new.id for new in batch[:1:-1]]


async def test_how_far_a_look_reaches(store: Store) -> None:
    """A place so many below another is found by its id, and a list ends there when it is told to."""
    batch = [message() for _ in range(10)]
    await store.accept([*batch, message(tenant="other")])
    newest = [new.id for new in reversed(batch)]
    assert await store.list_reach(TENANT, None, 4) == newest[3]
    assert await store.list_reach(TENANT, newest[3], 6) == newest[9]
    assert await store.list_reach(TENANT, newest[3], 7) is None
    assert await store.list_reach("nobody", None, 1) is None
    down_to = ListFilter((State.ACCEPTED,), (), newest[3])
    assert [row.id for row in await store.list_messages(TENANT, down_to, newest[0], 10)] == newest[1:4]
    of_one = ListFilter((), (batch[0].recipient_hash,), newest[3])
    assert [row.id for row in await store.list_messages(TENANT, of_one, None, 10)] == newest[:4]


async def test_events_count_on_over_tenants(store: Store) -> None:
    """The sequence rises over all tenants without gaps, and a tenant reads on from where it was."""
    batch = [message(tenant=tenant) for tenant in ("a", "b", "a", "b")]
    await store.accept(batch)
    a, b = await store.events("a", 0, 10), await store.events("b", 0, 10)
    assert sorted(event.seq for event in a + b) == [1, 2, 3, 4]
    assert await store.events("a", a[0].seq, 10) == a[1:]
    assert await store.events("a", 0, 1) == a[:1]
    assert await store.event_bounds("a") == (a[0].seq - 1, a[-1].seq)
    assert await store.event_bounds("nobody") == (0, 0)


async def test_an_event_carries_its_message(store: Store) -> None:
    """An event has the columns of its message, and the state, carrier and reason of its own time."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new)])
    accepted, unknown = await all_events(store)
    assert (accepted.at, accepted.state, accepted.carrier, accepted.reason_code) == (NOW, State.ACCEPTED, "", "")
    assert (unknown.state, unknown.carrier, unknown.reason_code) == (State.UNKNOWN, CARRIER, "OUTCOME_UNKNOWN")
    for event in (accepted, unknown):
        for field in ("category", "masked_recipient", "envelope", "segments"):
            assert getattr(event, field) == getattr(new, field)
        assert event.parts == ()


async def test_listeners_hear_of_tenants_with_events(store: Store) -> None:
    """After a commit the listeners get the tenants that it wrote events for, and nothing for a commit without."""
    heard: list[frozenset[str]] = []
    store.on_commit(heard.append)
    new, other = message(), message(tenant="other")
    await store.accept([new, other])
    assert heard == [{TENANT, "other"}]
    await store.sending([sending(new)])
    assert len(heard) == 1
    await store.settle([submitted(new, "x")])
    assert heard[1:] == [{TENANT}]


async def test_counts_by_queue(store: Store) -> None:
    """Each open message is counted in its queue, with the earliest due_at of the queue."""
    claimed, on_its_way, sent = message(), message(), message()
    await store.accept([claimed, on_its_way, sent, message(claimed=False, category=OTP, due_at=NOW + 5)])
    await send(store, [sent], ["x"])
    await store.sending([sending(on_its_way)])
    counts = await store.counts()
    assert counts["queue.WAITING_OTP"] == counts["queue.CLAIMED"] == counts["queue.SENDING"] == 1
    assert counts["queue.AWAITING"] == 1
    assert counts["queue.WAITING_PROMOTIONAL"] == 0
    assert counts["oldest_due_at.WAITING_OTP"] == NOW + 5
    assert "oldest_due_at.WAITING_PROMOTIONAL" not in counts
    assert {name.split(".")[1] for name in counts if name.startswith("queue.")} == {queue.name for queue in Queue}
