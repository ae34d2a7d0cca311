"""The contract: what is old enough goes, in steps, and nothing else."""

from __future__ import annotations

import pytest

from gateway.states import State
from gateway.store.contract import ListFilter, NewMessage, Store
from gateway.store.retention import LOOK_AGAIN, YOUNGEST, Retained, Rule, Stage
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import (
    HOUR,
    NOW,
    PROMOTIONAL,
    TENANT,
    TRANSACTIONAL,
    again,
    all_events,
    inbound_part,
    message,
    receipt,
    send,
    sending,
    told,
)

DAY = 24 * HOUR
CONTENT = Rule(TENANT, 1 << TRANSACTIONAL, int(Stage.CONTENT), DAY)
ENVELOPE = CONTENT._replace(stage=int(Stage.ENVELOPE))
MESSAGE = CONTENT._replace(stage=int(Stage.MESSAGE))
LATER = NOW + 2 * DAY


async def _kept(store: Store, message_id: bytes) -> tuple[bool, bool] | None:
    """Return whether content and envelope are there, None when the message is gone."""
    row = await store.get_message(TENANT, message_id)
    return None if row is None else (bool(row.content_kept), bool(row.envelope))


async def test_content_goes_after_the_final_state(store: Store) -> None:
    """A final message loses its content when its time is over, then its envelope, then all; others keep everything."""
    ended, other = message(), message(category=PROMOTIONAL)
    await store.accept([ended, other])
    for each in (ended, other):
        await store.cancel(TENANT, each.id, NOW)
    assert await store.retain(CONTENT, NOW + DAY - HOUR, 10) == Retained(0, 0)
    assert await _kept(store, ended.id) == (True, True)
    assert await store.retain(CONTENT, LATER, 10) == Retained(2, 1)
    assert await _kept(store, ended.id) == (False, True)
    assert await store.retain(ENVELOPE, LATER, 10) == Retained(2, 1)
    assert await _kept(store, ended.id) == (False, False)
    listed = await store.list_messages(TENANT, ListFilter((), (ended.recipient_hash,)), None, 10)
    assert [(row.id, row.masked_recipient, row.envelope) for row in listed if row.id == ended.id] == [
        (ended.id, ended.masked_recipient, b"")
    ]
    assert await store.retain(MESSAGE, LATER, 10) == Retained(2, 1)
    assert await _kept(store, ended.id) is None
    assert await _kept(store, other.id) == (True, True)
    assert [row.envelope for row in await all_events(store) if row.message_id == ended.id] == [b"", b""]


async def test_what_is_open_is_left_and_looked_at_again(store: Store) -> None:
    """A message that is not final keeps its content whatever its age, until it has been final for long enough."""
    new = message(expires_at=NOW + 10 * DAY)
    await store.accept([new])
    keeps = {(TENANT, int(TRANSACTIONAL), int(Stage.CONTENT)): DAY}
    assert await store.retain(CONTENT, LATER, 10) == Retained(1, 0)
    assert await store.retain(CONTENT, LATER, 10) == Retained(0, 0)  # the mark is behind it
    at = LATER + LOOK_AGAIN
    assert await store.retain_left(keeps, at, 10) == Retained(1, 0)
    assert await store.retain_left(keeps, at, 10) == Retained(0, 0)
    await store.cancel(TENANT, new.id, at)
    assert await store.retain_left(keeps, at + LOOK_AGAIN, 10) == Retained(1, 0)  # final, for too short a time
    assert await _kept(store, new.id) == (True, True)
    assert await store.retain_left(keeps, at + DAY, 10) == Retained(1, 1)
    assert await _kept(store, new.id) == (False, True)
    assert await store.retain_left(keeps, at + 9 * DAY, 10) == Retained(0, 0)


async def test_what_is_left_goes_by_the_period_in_force(store: Store) -> None:
    """A period that was made shorter counts for what was left under the longer one; without a rule nothing goes."""
    new = message(expires_at=NOW + 10 * DAY)
    await store.accept([new])
    await store.retain(CONTENT, LATER, 10)
    await store.cancel(TENANT, new.id, LATER)
    at = LATER + LOOK_AGAIN
    assert await store.retain_left({}, at, 10) == Retained(1, 0)
    shorter = {(TENANT, int(TRANSACTIONAL), int(Stage.CONTENT)): HOUR}
    assert await store.retain_left(shorter, at + LOOK_AGAIN, 10) == Retained(1, 1)
    assert await _kept(store, new.id) == (False, True)


async def test_steps_are_bounded_and_go_on(engine: Engine) -> None:
    """A step looks at so many messages and no more; after a restart the next one goes on behind them."""
    new = [message() for _ in range(7)]
    store = engine()
    await store.open()
    await store.accept(new)
    for each in new:
        await store.cancel(TENANT, each.id, NOW)
    assert [due.rule for due in await store.retention_due([CONTENT, ENVELOPE], LATER)] == [CONTENT, ENVELOPE]
    assert await store.retain(CONTENT, LATER, 4) == Retained(4, 4)
    await store.close()
    store = engine()
    await store.open()
    (due,) = await store.retention_due([CONTENT], LATER)
    assert (due.message_id, due.late(LATER)) == (new[4].id, LATER - NOW - DAY)
    assert await store.retain(CONTENT, LATER, 4) == Retained(3, 3)
    assert await store.retention_due([CONTENT], LATER) == []
    assert (await store.counts())["retention.content"] == 7
    await store.close()


async def test_the_youngest_are_never_looked_at(store: Store) -> None:
    """However short a period is, what was accepted in the last minutes stays out of the way of its sending."""
    new = message()
    await store.accept([new])
    await store.cancel(TENANT, new.id, NOW)
    short = CONTENT._replace(keep=0)
    assert await store.retention_due([short], NOW + YOUNGEST - HOUR // 60) == []
    assert await store.retain(short, NOW + YOUNGEST - HOUR // 60, 10) == Retained(0, 0)
    assert await store.retain(short, NOW + YOUNGEST + HOUR // 60, 10) == Retained(1, 1)


async def test_events_go_from_the_old_end(store: Store) -> None:
    """Old events go, in steps, and the bounds say so; the newest of a tenant stays, so that numbers go on after it."""
    new = [message() for _ in range(3)]
    await store.accept(new)
    before, newest = await store.event_bounds(TENANT)
    assert await store.retain_events(TENANT, NOW, 10) == 0  # they are of that moment, not from before it
    assert await store.retain_events(TENANT, NOW + 1, 1) == 1
    assert await store.retain_events(TENANT, NOW + 1, 10) == 1
    assert await store.event_bounds(TENANT) == (newest - 1, newest)
    assert before < newest - 1
    assert await store.retain_events(TENANT, NOW + 1, 10) == 0
    await store.cancel(TENANT, new[0].id, NOW + HOUR)
    assert (await store.event_bounds(TENANT))[1] == newest + 1
    assert await told(store, new[0]) == [State.CANCELLED]


async def test_numbers_of_events_go_on_after_a_restart(engine: Engine) -> None:
    """With all old events deleted, a restart numbers the next event behind them."""
    store = engine()
    await store.open()
    new = message()
    await store.accept([new, message()])
    newest = (await store.event_bounds(TENANT))[1]
    await store.retain_events(TENANT, LATER, 10)
    await store.close()
    store = engine()
    await store.open()
    await store.cancel(TENANT, new.id, NOW)
    assert (await store.event_bounds(TENANT))[1] == newest + 1
    await store.close()


async def test_inbound_messages_go_and_leave_their_events(store: Store) -> None:
    """What handsets wrote goes after its time; the event stays, and says that there is nothing left."""
    parts = [inbound_part("a", 1, 2), inbound_part("a", 2, 2), inbound_part("b")]
    await store.inbound(parts)
    assert await store.retain_inbound(TENANT, NOW, 10) == 0
    assert await store.retain_inbound(TENANT, NOW + HOUR, 1) == 2  # a message goes whole
    assert [len(event.parts) for event in await all_events(store)] == [0, 1]
    assert await store.retain_inbound(TENANT, NOW + HOUR, 10) == 1
    assert [(event.message_id, event.parts) for event in await all_events(store)] == [
        (parts[1].id, ()),
        (parts[2].id, ()),
    ]


async def test_carrier_ids_go_with_their_message(store: Store) -> None:
    """Ids of carriers are deleted with the message that they lead to, long ones' all; the others stay."""
    new = [message() for _ in range(3)]
    await store.accept(new)
    await send(store, new, ["c0\nc3", "c1", "c2"])
    await store.receipts([receipt("c0"), receipt("c3"), receipt("c1")])
    assert await store.retain_refs(None, 10) == (0, None)
    assert await store.retain(MESSAGE, LATER, 10) == Retained(3, 2)
    assert await store.retain_refs(None, 10) == (0, None)
    verdicts = [(await store.receipts([receipt(each)]))[0].name for each in ("c2", "c1", "c3")]
    assert verdicts == ["APPLIED", "KEPT", "KEPT"]


async def _tried_elsewhere(store: Store, new: NewMessage, carrier_id: str) -> None:
    """Let another carrier give a message an id before it wants it later."""
    await store.sending([sending(new, carrier="other")])
    await store.settle([again(new, carrier="other", carrier_ids=f"{carrier_id}\n", part_states="S-")])
    assert [each.id for each in await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)] == [new.id]


async def test_ids_that_lead_nowhere_go_step_by_step(store: Store) -> None:
    """Another carrier's, of an earlier attempt, are not known of the message any more: they are looked for, also where
    the carrier has given them again."""
    gone = [message() for _ in range(3)]
    for number, new in enumerate(gone):
        await store.accept([new])
        await _tried_elsewhere(store, new, f"o{number % 2}")
        await send(store, [new], [f"c{number}"])
    await store.receipts([receipt(f"c{number}") for number in range(3)])
    assert (await store.counts())["carrier_id.reused"] == 1
    assert await store.retain_refs(None, 10) == (0, None)
    assert await store.retain(MESSAGE, LATER, 10) == Retained(3, 3)
    found, place = await store.retain_refs(None, 1)
    assert found == 1
    assert place is not None
    while place is not None:
        deleted, place = await store.retain_refs(place, 1)
        found += deleted
    assert found >= 2  # by ids; what is behind the same one went with it
    assert await store.retain_refs(None, 10) == (0, None)


async def test_an_id_that_leads_to_another_message_stays(store: Store) -> None:
    """The carrier has given it to a later message, which is kept."""
    old, new = message(), message(category=PROMOTIONAL)
    for each in (old, new):
        await store.accept([each])
        await send(store, [each], ["c0"])
    await store.close_due(NOW + 4 * HOUR, 10)
    assert await store.retain(MESSAGE, NOW + 4 * DAY, 10) == Retained(2, 1)
    assert await store.get_message(TENANT, old.id) is None
    assert await store.retain_refs(None, 10) == (0, None)
    assert (await store.receipts([receipt("c0")]))[0].name == "RECORDED"


@pytest.mark.parametrize("stage", list(Stage))
async def test_another_tenants_messages_stay(store: Store, stage: Stage) -> None:
    """A rule concerns its own tenant, and one that nobody has written for is none to look at."""
    mine, other = message(), message(tenant="other")
    await store.accept([mine, other])
    await store.cancel(TENANT, mine.id, NOW)
    await store.cancel("other", other.id, NOW)
    rule = CONTENT._replace(stage=int(stage))
    assert await store.retain(rule, LATER, 10) == Retained(1, 1)
    row = await store.get_message("other", other.id)
    assert row is not None
    assert (row.content_kept, row.envelope) == (1, other.envelope)
    assert await store.retention_due([rule._replace(tenant="nobody")], LATER) == []
