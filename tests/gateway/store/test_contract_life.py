"""The contract: cancel, close_due, recover, purge, inbound messages, restarts."""

from __future__ import annotations

import pytest

from gateway.errors import StoreUnavailable
from gateway.states import Category, State
from gateway.store.contract import InboundVerdict, Store, Verdict
from gateway.store.nodes import Recovered, Released
from tests.gateway.store.conftest import Engine
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
    inbound_part,
    key,
    message,
    receipt,
    send,
    sending,
    state_of,
    submitted,
    told,
)

COMPLETED, HELD, DUPLICATE = InboundVerdict
RESEND = frozenset({Category.OTP, Category.TRANSACTIONAL})


@pytest.mark.parametrize("claimed", [True, False])
async def test_cancel_what_has_not_been_sent(store: Store, claimed: bool) -> None:
    """An ACCEPTED message is cancelled wherever it waits, told once, and goes nowhere."""
    new = message(claimed=claimed)
    await store.accept([new])
    cancelled, row = await store.cancel(TENANT, new.id, NOW + 9)
    assert cancelled
    assert row is not None
    assert (row.state, row.done_at) == (State.CANCELLED, NOW + 9)
    assert row == await store.get_message(TENANT, new.id)
    assert await store.cancel(TENANT, new.id, NOW + 10) == (False, row)
    assert await told(store, new) == [State.ACCEPTED, State.CANCELLED]
    assert await store.claim(TRANSACTIONAL, 10, NOW + SECOND) == []
    assert await store.sending([sending(new)]) == [False]


async def test_cancel_comes_too_late(store: Store) -> None:
    """A message that was handed to a carrier is not cancelled: the row as it stands is the answer."""
    new, doubtful = message(), message()
    await store.accept([new, doubtful])
    await store.sending([sending(new), sending(doubtful)])
    await store.settle([again(doubtful, state=State.UNKNOWN)])
    for each, state in ((new, State.SENDING), (doubtful, State.UNKNOWN)):
        cancelled, row = await store.cancel(TENANT, each.id, NOW)
        assert not cancelled
        assert row is not None
        assert row.state == state
    assert await store.cancel(TENANT, digest("nothing"), NOW) == (False, None)


async def test_close_what_waited_too_long(store: Store) -> None:
    """Messages that were not sent within their validity expire, wherever they wait; those on their way do not."""
    waiting, claimed, on_its_way, valid = (
        message(claimed=False, expires_at=NOW + SECOND),
        message(expires_at=NOW + SECOND),
        message(expires_at=NOW + SECOND),
        message(claimed=False),
    )
    await store.accept([waiting, claimed, on_its_way, valid])
    await store.sending([sending(on_its_way)])
    assert await store.close_due(NOW + SECOND - 1, 10) == 0
    assert await store.close_due(NOW + SECOND, 10) == 2
    for new in (waiting, claimed):
        row = await store.get_message(TENANT, new.id)
        assert row is not None
        assert (row.state, row.reason_code, row.done_at) == (State.EXPIRED, "VALIDITY_ENDED", NOW + SECOND)
    assert await store.sending([sending(claimed)]) == [False]
    assert await state_of(store, on_its_way) is State.SENDING
    assert await state_of(store, valid) is State.ACCEPTED
    assert (await all_events(store))[-1].reason_code == "VALIDITY_ENDED"


async def test_close_what_no_receipt_came_for(store: Store) -> None:
    """A SUBMITTED message expires at the due_at of its settlement."""
    new, other = message(), message()
    await store.accept([new, other])
    await send(store, [new, other], ["a", "b"])
    await store.receipts([receipt("b")])
    assert await store.close_due(NOW + 2 * HOUR - 1, 10) == 0
    assert await store.close_due(NOW + 2 * HOUR, 10) == 1
    event = (await all_events(store))[-1]
    assert (event.message_id, event.state, event.reason_code) == (new.id, State.EXPIRED, "NO_RECEIPT")
    assert event.carrier == CARRIER


async def test_close_keeps_to_its_limit(store: Store) -> None:
    """A call ends at most `limit` messages, and the next goes on."""
    await store.accept([message(claimed=n % 2 == 0, expires_at=NOW + n) for n in range(30)])
    assert [await store.close_due(NOW + HOUR, 12) for _ in range(4)] == [12, 12, 6, 0]


async def test_what_is_given_back_waits_again(store: Store) -> None:
    """A message that was only claimed waits as before when it is given back; one that is on its way stays there."""
    kept, returned, on_its_way = message(), message(), message()
    await store.accept([kept, returned, on_its_way])
    await store.sending([sending(on_its_way)])
    assert await store.release([Released(new.tenant, new.id, "") for new in (returned, on_its_way)]) == 1
    assert await store.release([Released(TENANT, returned.id, "")]) == 0
    assert await store.next_due(TRANSACTIONAL) == returned.due_at
    assert [new.id for new in await store.claim(TRANSACTIONAL, 10, NOW)] == [returned.id]
    assert await store.sending([sending(kept), sending(returned)]) == [True, True]


async def test_recover_after_a_crash(engine: Engine) -> None:
    """A new process puts back what was in memory, and doubts what was on its way."""
    first = engine()
    await first.open()
    in_memory, resent, awaited, late, waiting, sent = (
        message(),
        message(category=OTP),
        message(category=PROMOTIONAL),
        message(expires_at=NOW + 2 * SECOND),
        message(claimed=False),
        message(),
    )
    await first.accept([in_memory, resent, awaited, late, waiting, sent])
    await send(first, [sent], ["a"])
    await first.sending([sending(resent), sending(awaited), sending(late)])
    await first.close()
    second = engine()
    await second.open()
    try:
        now = NOW + 10 * SECOND
        assert await second.recover(now, RESEND) == Recovered(1, 3)
        assert {new.id for new in await second.claim(TRANSACTIONAL, 10, now)} == {in_memory.id, waiting.id}
        assert [new.id for new in await second.claim(OTP, 10, now)] == [resent.id]
        assert await second.claim(PROMOTIONAL, 10, now) == []
        for doubtful in (resent, awaited, late):
            row = await second.get_message(TENANT, doubtful.id)
            assert row is not None
            assert (row.state, row.reason_code) == (State.UNKNOWN, "NODE_RESTARTED")
        counts = await second.counts()
        assert (counts["resend.restart"], counts["doubt.restart"], counts["queue.AWAITING"]) == (1, 2, 3)
        assert await second.recover(now, RESEND) == Recovered(3, 0)
    finally:
        await second.close()


async def test_everything_is_there_after_a_restart(engine: Engine) -> None:
    """Messages, events, keys, kept receipts, counters and held parts are those of before, and the sequence goes on."""
    first = engine()
    await first.open()
    new, late = message(idempotency=key("k")), message()
    await first.accept([new, late])
    await first.sending([sending(late)])
    await first.receipts([receipt("early")])
    await first.inbound([inbound_part("long", 1, 2)])
    before = await all_events(first), await first.counts(), await first.get_message(TENANT, new.id)
    await first.close()
    second = engine()
    await second.open()
    try:
        after = await all_events(second), await second.counts(), await second.get_message(TENANT, new.id)
        assert after == before
        (replayed,) = await second.accept([message(idempotency=key("k"))])
        assert (replayed.verdict, replayed.id) == (Verdict.REPLAYED, new.id)
        await second.recover(NOW, frozenset())
        assert await second.settle([submitted(late, "early")]) == [State.DELIVERED]
        assert await second.inbound([inbound_part("long", 2, 2)]) == [COMPLETED]
        assert [event.seq for event in await all_events(second)] == [1, 2, 3, 4, 5, 6]
    finally:
        await second.close()


async def test_purge_forgets_what_has_expired(store: Store) -> None:
    """Expired keys, incomplete groups, fingerprints and unmatched receipts go; live ones stay; the limit holds."""
    await store.accept([message(idempotency=key("old", expires_at=NOW + 1)), message(idempotency=key("live"))])
    await store.inbound([inbound_part("long", 1, 2)])
    await store.receipts([receipt("nobody", at=NOW)])
    assert await store.purge(NOW, 10) == 0
    assert await store.purge(NOW + 1, 10) == 1
    assert (await store.accept([message(idempotency=key("live"))]))[0].verdict is Verdict.REPLAYED
    assert await store.purge(NOW + HOUR, 10) == 1  # the part
    late = NOW + 71 * HOUR
    assert await store.purge(late, 10) == 0
    assert await store.purge(NOW + 72 * HOUR, 2) == 2
    assert await store.purge(NOW + 72 * HOUR, 2) == 1
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    assert await store.settle([submitted(new, "nobody")]) == [State.SUBMITTED]


async def test_a_single_inbound_message(store: Store) -> None:
    """A message of one part is an event at once, with its payload."""
    part = inbound_part("hello")
    assert await store.inbound([part]) == [COMPLETED]
    (event,) = await all_events(store)
    assert (event.state, event.message_id, event.carrier) == (0, part.id, CARRIER)
    assert (event.parts, event.segments, event.at) == ((b"hello/1",), 1, NOW)


async def test_a_long_inbound_message(store: Store) -> None:
    """Parts in any order make one event, under the id of the part that came last, its payloads in order."""
    parts = [inbound_part("long", n, 3) for n in (3, 1, 2)]
    other = inbound_part("other", 1, 2)
    assert await store.inbound(parts[:2]) == [HELD, HELD]
    assert await all_events(store) == []
    assert await store.inbound([other, parts[2]]) == [HELD, COMPLETED]
    (event,) = await all_events(store)
    assert (event.message_id, event.segments) == (parts[2].id, 3)
    assert event.parts == (b"long/1", b"long/2", b"long/3")


async def test_events_of_both_kinds(store: Store) -> None:
    """Inbound messages and state changes are one log."""
    new = message()
    await store.accept([new])
    await store.inbound([inbound_part("a"), inbound_part("b")])
    await send(store, [new], ["x"])
    events = await all_events(store)
    assert [event.state for event in events] == [State.ACCEPTED, 0, 0, State.SUBMITTED]
    assert [event.parts for event in events] == [(), (b"a/1",), (b"b/1",), ()]


async def test_a_redelivered_part(store: Store) -> None:
    """The same PDU again, or the same part under another fingerprint, is a duplicate, also after completion."""
    first, again_ = inbound_part("long", 1, 2), inbound_part("long", 1, 2, fingerprint=digest("else"))
    single = inbound_part("single")
    assert await store.inbound([first, first, again_, single, single]) == [
        HELD,
        DUPLICATE,
        DUPLICATE,
        COMPLETED,
        DUPLICATE,
    ]
    assert await store.inbound([inbound_part("long", 2, 2), first]) == [COMPLETED, DUPLICATE]
    assert len(await all_events(store)) == 2
    assert (await store.counts())["inbound.duplicate"] == 4


async def test_inbound_under_an_older_hash_key(store: Store) -> None:
    """What was seen and held under an older hash key is recognised, and a group begun under it is completed."""
    first, last = inbound_part("long", 1, 2), inbound_part("long", 2, 2)
    await store.inbound([first, inbound_part("single")])
    group, seen = digest("long"), digest("other pdu")
    again_ = first._replace(fingerprint=digest("new 1"), group_hash=digest("new"), older=((group, first.fingerprint),))
    rest = last._replace(
        fingerprint=digest("new 2"), group_hash=digest("new"), older=((b"none", b"none"), (group, seen))
    )
    single = inbound_part("single", fingerprint=digest("new 3"), older=((b"", inbound_part("single").fingerprint),))
    assert await store.inbound([again_, single, rest]) == [DUPLICATE, DUPLICATE, COMPLETED]
    assert (await all_events(store))[-1].parts == (b"long/1", b"long/2")


async def test_a_group_past_its_time(store: Store) -> None:
    """A reference number that comes round again does not complete an old group with a new part."""
    await store.inbound([inbound_part("long", 1, 2)])
    late = inbound_part("long", 2, 2, at=NOW + HOUR, expires_at=NOW + 2 * HOUR)
    assert await store.inbound([late]) == [HELD]
    assert await all_events(store) == []


async def test_an_impossible_part(store: Store) -> None:
    """A part outside of its total is refused before anything is stored."""
    for part in (inbound_part("x", 0, 2), inbound_part("x", 3, 2)):
        with pytest.raises(ValueError, match="outside of 1 to its total"):
            await store.inbound([inbound_part("fine"), part])
    assert await all_events(store) == []


async def test_not_open(engine: Engine) -> None:
    """Before open and after close every call says that the store is not open; closing again is fine."""
    store = engine()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.accept([message()])
    await store.close()
    await store.open()
    await store.close()
    await store.close()
    for call in (store.accept([message()]), store.counts()):
        with pytest.raises(StoreUnavailable, match="not open"):
            await call
