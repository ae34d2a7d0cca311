"""The contract: what operators hold back outlives the process, and is on record."""

from __future__ import annotations

import asyncio

import pytest

from gateway.audit.records import OperatorActed, StateChanged
from gateway.errors import Overloaded
from gateway.ids import IdSource
from gateway.states import Category, State
from gateway.store.contract import Queue, Store
from gateway.store.engine import reading
from gateway.store.operating import (
    MAX_HOLDS,
    MAX_MESSAGE_HOLDS,
    MAX_OWNER_HOLDS,
    CarrierHold,
    MessageHold,
    Place,
    Purge,
    Selection,
    Unparked,
)
from tests.gateway.audit.agreement import records_of
from tests.gateway.audit.samples import decision
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import (
    CARRIER,
    NOW,
    TENANT,
    again,
    all_events,
    digest,
    in_doubt,
    message,
    sending,
    state_of,
)

OPERATOR = "spiffe://example.org/admin/ann"
ROBBED = "spiffe://example.org/acme/robbed"
HOLD = CarrierHold("acme", False, NOW, OPERATOR, "they asked us to")
ACTED = OperatorActed(NOW, "node-1", OPERATOR, "carrier paused", "acme", "", 0, False, 0, "they asked us to")


async def test_holds_of_carriers_outlive_the_process(engine: Engine) -> None:
    """What is held is held after a restart, in its latest form; what was let go is not."""
    store = engine()
    await store.open()
    assert await store.carrier_holds() == []
    await store.hold_carrier(HOLD)
    await store.hold_carrier(HOLD._replace(carrier="beta", drained=True))
    drained = HOLD._replace(drained=True, at=NOW + 1, reason="gone")
    await store.hold_carrier(drained)
    await store.close()
    store = engine()
    await store.open()
    assert await store.carrier_holds() == [drained, HOLD._replace(carrier="beta", drained=True)]
    assert await store.free_carrier("beta") is True
    assert await store.free_carrier("beta") is False
    assert await store.carrier_holds() == [drained]
    await store.close()


async def test_a_hold_is_recorded_with_its_permission(store: Store) -> None:
    """The permission and the act are in the commit of the hold."""
    allowed = decision(allowed=True, reason="PERMITTED")
    await store.hold_carrier(HOLD, [allowed, ACTED])
    freed = ACTED._replace(what="carrier resumed", reason="")
    await store.free_carrier("acme", [freed])
    assert await records_of(store) == [allowed, ACTED, freed]


async def test_holds_are_bounded(store: Store) -> None:
    """One hold too many is refused, and nothing of it stored."""
    await asyncio.gather(*(store.hold_carrier(HOLD._replace(carrier=f"carrier-{n}")) for n in range(MAX_HOLDS)))
    with pytest.raises(Overloaded, match="let those go on that do not exist any more"):
        await store.hold_carrier(HOLD, [ACTED])
    await store.hold_carrier(HOLD._replace(carrier="carrier-7", drained=True))  # one that is held already
    assert len(await store.carrier_holds()) == MAX_HOLDS
    assert await records_of(store) == []


async def test_holds_of_messages_outlive_the_process(engine: Engine) -> None:
    """Selections are kept whole, recipients as hashes; the same selection again replaces what was said of it."""
    store = engine()
    await store.open()
    both = Selection("acme", 3, "", (digest("+49151"), digest("+49151 under an older key")))
    first = MessageHold(Selection(tenant="acme"), "", NOW, OPERATOR, "quiet")
    second = MessageHold(both, "+49XXXX", NOW + 1, OPERATOR, "asked for it")
    await store.hold_messages(first._replace(reason="at first"))
    await store.hold_messages(second, [ACTED])
    await store.hold_messages(first)
    await store.close()
    store = engine()
    await store.open()
    assert await store.message_holds() == [first, second]
    assert await store.free_messages(Selection(tenant="acme", category=3)) is False
    assert await store.free_messages(both) is True
    assert await store.message_holds() == [first]
    assert await records_of(store) == [ACTED]
    await store.close()


async def test_a_hold_of_an_owner_reaches_to_a_moment(engine: Engine) -> None:
    """It is known by its selection alone: the same with another moment replaces it, and is freed without one."""
    store = engine()
    await store.open()
    hold = MessageHold(Selection(owner=ROBBED, accepted_until=NOW), "", NOW, OPERATOR, "stolen")
    later = hold._replace(selection=Selection(owner=ROBBED, accepted_until=NOW + 1))
    everybody = hold._replace(selection=Selection(tenant="acme"), at=NOW + 1)
    for each in (hold, everybody, later):
        await store.hold_messages(each)
    await store.close()
    store = engine()
    await store.open()
    assert await store.message_holds() == [later, everybody]
    assert await store.free_messages(Selection(owner=OPERATOR)) is False
    assert await store.free_messages(Selection(owner=ROBBED)) is True
    assert await store.message_holds() == [everybody]
    await store.close()


async def test_what_an_identity_sends_after_its_hold_comes_back(store: Store) -> None:
    """Of the messages that are put away, those of another owner and those accepted later are not held by it."""
    later = IdSource(now_ms=lambda: NOW // 1000 + 1)
    kept, other = message(owner=ROBBED), message()
    resumed = message(owner=ROBBED, id=later.new())
    await store.accept([kept, other, resumed])
    await store.park([(each.tenant, each.id) for each in (kept, other, resumed)])
    holds = [Selection(owner=ROBBED, accepted_until=NOW)]
    after = None
    while (step := await store.unpark(holds, after, 10)).after is not None:
        after = step.after
    claimed = await store.claim(Category.TRANSACTIONAL, 10, NOW)
    assert {each.id for each in claimed} == {other.id, resumed.id}


async def test_holds_of_messages_are_bounded(store: Store) -> None:
    """One too many is refused."""
    hold = MessageHold(Selection(), "", NOW, OPERATOR, "x")
    tenants = [Selection(tenant=f"tenant-{number}") for number in range(MAX_MESSAGE_HOLDS)]
    await asyncio.gather(*(store.hold_messages(hold._replace(selection=each)) for each in tenants))
    with pytest.raises(Overloaded, match="resume some of them"):
        await store.hold_messages(hold)
    assert len(await store.message_holds()) == MAX_MESSAGE_HOLDS
    owners = [Selection(owner=f"{ROBBED}-{number}") for number in range(MAX_OWNER_HOLDS)]
    await asyncio.gather(*(store.hold_messages(hold._replace(selection=each)) for each in owners))
    with pytest.raises(Overloaded, match="purge some of them"):
        await store.hold_messages(hold._replace(selection=Selection(owner=ROBBED)))
    assert len(await store.message_holds()) == MAX_MESSAGE_HOLDS + MAX_OWNER_HOLDS


async def test_parked_messages_are_not_claimed_and_expire(store: Store) -> None:
    """What is put away is in no waiting queue; it expires there; what is not claimed is left alone."""
    stays, ends, elsewhere = message(), message(expires_at=NOW + 5), message(claimed=False)
    await store.accept([stays, ends, elsewhere])
    keys = [(each.tenant, each.id) for each in (stays, ends, elsewhere)]
    assert await store.park([*keys, (TENANT, bytes(16))]) == 2
    assert await store.park(keys) == 0
    assert (await store.counts())["queue.HELD_TRANSACTIONAL"] == 2
    assert [each.id for each in await store.claim(Category.TRANSACTIONAL, 10, NOW)] == [elsewhere.id]
    assert await store.close_due(NOW + 5, 10) == 1
    assert await state_of(store, ends) is State.EXPIRED
    assert await store.unpark([], None, 10) == Unparked(0, Place(2, -1, -1, b""))
    assert await store.unpark([], Place(2, -1, -1, b""), 10) == Unparked(1, Place(3, -1, -1, b""))
    assert await store.unpark([], Place(3, -1, -1, b""), 10) == Unparked(0, None)


async def test_only_what_nothing_holds_comes_back(store: Store) -> None:
    """In steps of a few rows each, across categories, tenants and recipients; the sending cannot take it meanwhile."""
    new = [
        message(tenant=tenant, category=category, recipient_hash=digest(number))
        for tenant in ("acme", "beta")
        for category in Category
        for number in ("1", "2")
    ]
    await store.accept(new)
    assert await store.park([(each.tenant, each.id) for each in new]) == 12
    assert await store.sending([sending(new[0])]) == [False]
    holds = [Selection(tenant="beta"), Selection(category=3), Selection(recipient_hashes=(digest("2"), digest("0")))]
    after, moved, steps = None, 0, 0
    while True:
        step = await store.unpark(holds, after, 3)
        moved, after, steps = moved + step.moved, step.after, steps + 1
        if after is None:
            break
    assert (moved, steps) == (2, 6)
    free = [each for each in new if each.tenant == "acme" and each.category < 3 and each.recipient_hash == digest("1")]
    claimed = [each for category in Category for each in await store.claim(category, 100, NOW)]
    assert {each.id for each in claimed} == {each.id for each in free}
    assert {each.recipient_hash for each in claimed} == {digest("1")}


PURGED = OperatorActed(NOW + 1, "node-1", OPERATOR, "messages purged", "", "acme", 0, False, 0, "a defect")


async def purge(store: Store, selection: Selection, *, limit: int = 100, dry: bool = False) -> tuple[int, int]:
    """Purge to the end; how many were cancelled, and how many may have left."""
    after, cancelled, doubtful = None, 0, 0
    while True:
        step = Purge(selection, after, limit, PURGED)
        done = await store.count_purge(step) if dry else await store.purge_messages(step)
        cancelled, doubtful, after = cancelled + done.cancelled, doubtful + done.doubtful, done.after
        if after is None:
            return cancelled, doubtful


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_purge(store: Store, limit: int) -> None:
    """What waits of a selection is cancelled wherever it waits, with event and record; counting changes nothing."""
    in_memory, waits, held, other = message(), message(claimed=False), message(), message(tenant="beta", claimed=False)
    sent, doubtful = message(), message()
    await store.accept([in_memory, waits, held, other, sent, doubtful])
    await store.park([(held.tenant, held.id)])
    await store.sending([sending(sent), sending(doubtful)])
    await store.settle([in_doubt(doubtful)._replace(queue=Queue.WAITING_TRANSACTIONAL)])
    selection = Selection(tenant=TENANT)
    assert await purge(store, selection, limit=limit, dry=True) == (3, 1)
    assert await state_of(store, waits) is State.ACCEPTED
    records = len(await records_of(store))
    assert await purge(store, selection, limit=limit) == (3, 1)
    for gone in (in_memory, waits, held):
        assert await state_of(store, gone) is State.CANCELLED
        row = await store.get_message(TENANT, gone.id)
        assert row is not None
        assert (row.reason_code, row.done_at) == ("PURGED", NOW + 1)
    assert [await state_of(store, each) for each in (other, sent, doubtful)] == [
        State.ACCEPTED, State.SENDING, State.UNKNOWN,
    ]  # fmt: skip
    changed = [record for record in (await records_of(store))[records:] if isinstance(record, StateChanged)]
    assert {(record.message_id, record.state, record.reason, record.by) for record in changed} == {
        (gone.id, State.CANCELLED, "PURGED", OPERATOR) for gone in (in_memory, waits, held)
    }
    acts = [record for record in (await records_of(store))[records:] if isinstance(record, OperatorActed)]
    assert sum(act.number for act in acts) == 3
    assert {act._replace(number=0) for act in acts} == {PURGED}
    events = [event for event in await all_events(store) if event.state == State.CANCELLED]
    assert [event.reason_code for event in events] == ["PURGED"] * 3
    assert await store.sending([sending(in_memory)]) == [False]
    assert await purge(store, selection, limit=limit) == (0, 1)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(category=int(Category.OTP)), {"otp"}),
        (Selection(recipient_hashes=(digest("1"), digest("9"))), {"otp", "tried"}),
        (Selection(carrier=CARRIER), {"tried"}),
        (Selection(carrier=CARRIER, category=int(Category.OTP)), set()),
        (Selection(tenant="nobody"), set()),
        (Selection(owner=ROBBED), {"plain"}),
        (Selection(owner=ROBBED, category=int(Category.OTP)), set()),
        (Selection(owner=ROBBED, accepted_until=NOW), {"plain"}),
        (Selection(owner=ROBBED, accepted_until=NOW - 1_000), set()),
        (Selection(), {"otp", "tried", "plain"}),
    ],
)
async def test_what_a_selection_covers(store: Store, selection: Selection, wanted: set[str]) -> None:
    """By tenant, category, recipient, owner, and the carrier of the last attempt; what is empty selects all."""
    new = {
        "otp": message(category=Category.OTP, recipient_hash=digest("1")),
        "tried": message(recipient_hash=digest("1")),
        "plain": message(recipient_hash=digest("2"), claimed=False, owner=ROBBED),
    }
    await store.accept(list(new.values()))
    await store.sending([sending(new["tried"])])
    again_at = again(new["tried"])
    await store.settle([again_at])
    assert await purge(store, selection) == (len(wanted), 0)
    states = {name: await state_of(store, each) for name, each in new.items()}
    assert {name for name, state in states.items() if state is State.CANCELLED} == wanted


async def test_who_waits_most(store: Store) -> None:
    """Tenants by how many of their messages are in each queue, the most first, with the oldest due of each; no more
    than are asked for."""
    waits = [message(tenant="many", claimed=False, due_at=NOW + n) for n in (5, 3, 4)]
    late = [message(tenant="few", claimed=False, due_at=NOW + 1), message(tenant="few", claimed=True)]
    await store.accept([*waits, *late, message(tenant="few", category=Category.OTP, claimed=False)])
    rows = await store.backlog(10)
    assert [(row.queue, row.tenant, row.messages, row.oldest_due_at, row.at_least) for row in rows] == [
        ("WAITING_TRANSACTIONAL", "many", 3, NOW + 3, False),
        ("CLAIMED", "few", 1, NOW, False),
        ("WAITING_OTP", "few", 1, NOW, False),
        ("WAITING_TRANSACTIONAL", "few", 1, NOW + 1, False),
    ]
    assert await store.backlog(2) == rows[:2]


async def test_a_long_queue_is_not_read_to_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound those that are due first are looked at, and their number is the least that there are."""
    monkeypatch.setattr(reading, "BACKLOG_LOOK", 2)
    await store.accept([message(tenant=name, claimed=False, due_at=NOW + n) for n, name in enumerate("abbb")])
    rows = await store.backlog(10)
    assert [(row.tenant, row.messages, row.at_least) for row in rows] == [("a", 1, True), ("b", 1, True)]
