"""The contract: receipts of carriers that each have their own ways, and receipts that should not have come."""

from __future__ import annotations

import pytest

from gateway.states import PartsRule, State
from gateway.store.contract import Store
from gateway.store.receipts import UNKNOWN_STAT, Oddity, ReceiptVerdict
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import (
    CARRIER,
    HOUR,
    NOW,
    SECOND,
    TENANT,
    TRANSACTIONAL,
    again,
    all_events,
    digest,
    in_doubt,
    message,
    receipt,
    send,
    sending,
    state_of,
    submitted,
)

APPLIED, RECORDED, KEPT, MISMATCH, CONTRADICTED, IMPOSSIBLE, REFUSED = ReceiptVerdict
ALL, LAST, FIRST, ANY = PartsRule


async def _count(store: Store, name: str) -> int:
    return (await store.counts()).get(name, 0)


@pytest.mark.parametrize(
    ("rule", "ids", "delivered"),
    [
        (ALL, "ab", False),
        (ALL, "abc", True),
        (LAST, "ab", False),
        (LAST, "c", True),
        (FIRST, "bc", False),
        (FIRST, "a", True),
        (ANY, "b", True),
    ],
)
async def test_which_parts_decide(store: Store, rule: PartsRule, ids: str, delivered: bool) -> None:
    """A long message is delivered when the parts are of which its carrier tells so."""
    new = message(segments=3)
    await store.accept([new])
    await send(store, [new], ["a\nb\nc"])
    assert await store.receipts([receipt(each, parts_rule=rule) for each in ids]) == [APPLIED] * len(ids)
    assert await state_of(store, new) is (State.DELIVERED if delivered else State.SUBMITTED)


@pytest.mark.parametrize("rule", PartsRule)
async def test_a_failed_part_decides_by_every_rule(store: Store, rule: PartsRule) -> None:
    """A handset shows a long message whole or not at all: a part that failed decides by every rule."""
    new = message(segments=3)
    await store.accept([new])
    await send(store, [new], ["a\nb\nc"])
    assert await store.receipts([receipt("b", "U", parts_rule=rule)]) == [APPLIED]
    assert await state_of(store, new) is State.UNDELIVERABLE


@pytest.mark.parametrize(("rule", "state"), [(ALL, State.SUBMITTED), (FIRST, State.DELIVERED)])
async def test_the_rule_of_a_kept_receipt(engine: Engine, rule: PartsRule, state: State) -> None:
    """A receipt that was kept over a restart is matched by its carrier's rule."""
    new = message(segments=2)
    store = engine()
    await store.open()
    await store.accept([new])
    await store.sending([sending(new)])
    assert await store.receipts([receipt("a", parts_rule=rule)]) == [KEPT]
    await store.close()
    store = engine()
    await store.open()
    assert (await store.recover(NOW + 6 * SECOND, frozenset({TRANSACTIONAL}))).in_doubt == 1
    (waiting,) = await store.claim(TRANSACTIONAL, 10, NOW + 7 * SECOND)
    await store.sending([sending(waiting, at=NOW + 8 * SECOND)])
    # The carrier recognises the copy, and gives the same id.
    assert await store.settle([submitted(new, "a\nb", at=NOW + 9 * SECOND)]) == [state]
    await store.close()


@pytest.mark.parametrize(("rule", "state"), [(ALL, State.SUBMITTED), (ANY, State.DELIVERED)])
async def test_the_rule_at_the_settlement(store: Store, rule: PartsRule, state: State) -> None:
    """A receipt for a part that came during the next attempt decides at its settlement, by the carrier's rule."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new, carrier_ids="a\n", part_states="S-")])
    await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)
    await store.sending([sending(new)])
    assert await store.receipts([receipt("a", parts_rule=rule)]) == [APPLIED]
    assert await store.settle([submitted(new, "a\nb", parts_rule=rule)]) == [state]


async def test_contradictory_receipts(store: Store) -> None:
    """The first final state stays, whichever it is; what contradicts it is counted and noted."""
    one, two = message(), message()
    await store.accept([one, two])
    await send(store, [one, two], ["a", "b"])
    batch = [receipt("a", "D"), receipt("b", "U"), receipt("a", "U", network_error="7"), receipt("b", "D")]
    assert await store.receipts(batch) == [APPLIED, APPLIED, CONTRADICTED, CONTRADICTED]
    assert [await state_of(store, each) for each in (one, two)] == [State.DELIVERED, State.UNDELIVERABLE]
    assert await _count(store, "receipt.contradicted") == 2
    noted = await store.noted(10)
    assert {(row.oddity, row.tenant, row.message_id, row.carrier, row.carrier_id, row.stat) for row in noted} == {
        (Oddity.CONTRADICTED, TENANT, one.id, CARRIER, "a", "UNDELIV"),
        (Oddity.CONTRADICTED, TENANT, two.id, CARRIER, "b", "DELIVRD"),
    }


async def test_a_part_that_fails_after_the_message_was_delivered(store: Store) -> None:
    """By a rule that needs one part, a receipt that another part failed contradicts; that it was delivered does not."""
    new = message(segments=3)
    await store.accept([new])
    await send(store, [new], ["a\nb\nc"])
    batch = [receipt("a", parts_rule=ANY), receipt("b", parts_rule=ANY), receipt("c", "U", parts_rule=ANY)]
    assert await store.receipts(batch) == [APPLIED, RECORDED, CONTRADICTED]
    assert await state_of(store, new) is State.DELIVERED


async def test_repeated_and_intermediate_receipts_are_counted(store: Store) -> None:
    """What a carrier sends again, and what is not final, is counted by its kind."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    assert await store.receipts([receipt("a", ""), receipt("a"), receipt("a"), receipt("a")]) == [
        RECORDED,
        APPLIED,
        RECORDED,
        RECORDED,
    ]
    assert await _count(store, "receipt.duplicate") == 2
    assert await _count(store, "receipt.intermediate") == 1
    assert await store.noted(10) == []


async def test_an_unknown_state_leaves_the_message_open(store: Store) -> None:
    """A state that nobody knows is noted as it was written, and a later one that is known decides."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    assert await store.receipts([receipt("a", UNKNOWN_STAT, stat="WHATEVR")]) == [RECORDED]
    assert await state_of(store, new) is State.SUBMITTED
    assert [(row.oddity, row.stat) for row in await store.noted(10)] == [(Oddity.UNKNOWN_STAT, "WHATEVR")]
    assert await store.receipts([receipt("a")]) == [APPLIED]
    assert await state_of(store, new) is State.DELIVERED


async def test_a_receipt_after_the_end_of_the_validity(store: Store) -> None:
    """A receipt for a message that was ended without one is noted, and changes nothing."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    await store.close_due(NOW + 9 * HOUR, 10)
    assert await store.receipts([receipt("a", at=NOW + 10 * HOUR)]) == [RECORDED]
    assert await state_of(store, new) is State.EXPIRED
    assert [row.oddity for row in await store.noted(10)] == [Oddity.LATE]


async def test_a_receipt_of_an_impossible_time(store: Store) -> None:
    """A receipt that says a message was done before it was sent, or at no time at all, changes nothing and is noted."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    sent_at = NOW + SECOND
    batch = [receipt("a", sent_by=sent_at - 1, operator_done_at=NOW - HOUR), receipt("a", sent_by=-1)]
    assert await store.receipts(batch) == [IMPOSSIBLE, IMPOSSIBLE]
    assert await state_of(store, new) is State.SUBMITTED
    assert await _count(store, "receipt.impossible") == 2
    assert {(row.oddity, row.operator_done_at) for row in await store.noted(10)} == {
        (Oddity.IMPOSSIBLE, NOW - HOUR),
        (Oddity.IMPOSSIBLE, None),
    }
    assert await store.receipts([receipt("a", sent_by=sent_at)]) == [APPLIED]


async def test_a_receipt_from_before_a_later_attempt(store: Store) -> None:
    """A receipt may be older than the last attempt: an earlier one may have arrived."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([again(new)])
    await store.claim(TRANSACTIONAL, 10, NOW + 9 * SECOND)
    await store.sending([sending(new, at=NOW + 10 * SECOND)])
    await store.settle([submitted(new, "a", at=NOW + 11 * SECOND)])
    assert await store.receipts([receipt("a", sent_by=NOW + 5 * SECOND)]) == [APPLIED]


async def test_a_kept_receipt_of_another_message_with_the_same_id(store: Store) -> None:
    """A kept receipt that came before a message was sent, or names another recipient, is not taken for that message's:
    it stays, and is applied to its own."""
    stale, theirs = message(), message(recipient_hash=digest("other"))
    await store.accept([stale, theirs])
    early = receipt("a", at=NOW - HOUR, sent_by=NOW - HOUR)
    named = receipt("a", "U", recipient_hash=digest("other"))
    assert await store.receipts([early, named]) == [KEPT, KEPT]
    await send(store, [stale], ["a"])
    assert await state_of(store, stale) is State.SUBMITTED
    assert await _count(store, "receipts.unmatched") == 2
    assert await store.noted(10) == []
    await store.sending([sending(theirs)])
    assert await store.settle([submitted(theirs, "a")]) == [State.UNDELIVERABLE]
    assert await _count(store, "receipts.unmatched") == 1


async def test_an_id_given_again_to_another_recipient(store: Store) -> None:
    """A carrier id belongs to carrier and recipient: receipts find the message of the recipient that they name."""
    news = [message(recipient_hash=digest(str(number))) for number in range(4)]
    await store.accept(news)
    await send(store, news, ["same"] * 4)
    named = [receipt("same", recipient_hash=digest(str(number))) for number in (2, 0)]
    assert await store.receipts([*named, receipt("same", recipient_hash=digest("9"))]) == [APPLIED, APPLIED, MISMATCH]
    assert [await state_of(store, new) for new in news] == [
        State.DELIVERED,
        State.SUBMITTED,
        State.DELIVERED,
        State.SUBMITTED,
    ]
    assert await store.receipts([receipt("same")]) == [APPLIED]
    assert await state_of(store, news[3]) is State.DELIVERED


async def test_an_id_given_to_everybody(store: Store) -> None:
    """A carrier that gives one id to all messages costs a bounded look-up: of the older ones the newest are known."""
    news = [message(recipient_hash=digest(str(number))) for number in range(30)]
    await store.accept(news)
    await send(store, news, ["0"] * 30)
    batch = [receipt("0", recipient_hash=new.recipient_hash) for new in news]
    verdicts = await store.receipts(batch)
    assert verdicts == [MISMATCH] * 21 + [APPLIED] * 9


async def test_a_receipt_that_means_the_message_before(store: Store) -> None:
    """When the newest message with an id was sent too late for a receipt, it is the older one's."""
    old, new = message(), message()
    await store.accept([old, new])
    await send(store, [old], ["a"])
    await store.sending([sending(new, at=NOW + HOUR)])
    await store.settle([submitted(new, "a", at=NOW + HOUR)])
    assert await store.receipts([receipt("a", sent_by=NOW + 5 * SECOND)]) == [APPLIED]
    assert [await state_of(store, each) for each in (old, new)] == [State.DELIVERED, State.SUBMITTED]


async def test_the_operators_time_is_kept(store: Store) -> None:
    """The operator's time stands in the event and with the message."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    await store.receipts([receipt("a", operator_done_at=NOW + 4)])
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert row.operator_done_at == (await all_events(store))[-1].operator_done_at == NOW + 4


async def test_what_matches_nothing_can_be_seen(store: Store) -> None:
    """Unmatched receipts are listed after the grace that is asked for, newest first, and counted."""
    batch = [receipt("a"), receipt("b", at=NOW + 6 * SECOND, recipient_hash=digest("x"), operator_done_at=NOW)]
    assert await store.receipts([*batch, receipt("c", at=NOW + 9 * SECOND)]) == [KEPT] * 3
    rows = await store.unmatched(NOW + 9 * SECOND, 10)
    assert [(row.at, row.carrier, row.carrier_id, row.stat) for row in rows] == [
        (NOW + 6 * SECOND, CARRIER, "b", "DELIVRD"),
        (NOW + 5 * SECOND, CARRIER, "a", "DELIVRD"),
    ]
    assert [(row.addressed, row.operator_done_at, row.refused) for row in rows] == [(True, NOW, 0), (False, None, 0)]
    assert len(await store.unmatched(NOW + HOUR, 1)) == 1
    assert await _count(store, "receipts.unmatched") == 3


async def test_a_receipt_is_refused_so_often(engine: Engine) -> None:
    """A carrier whose receipts are refused while they match nothing is asked a bounded number of times for the same
    one, restarts included; then it is kept, and matched when its id becomes known."""
    store = engine()
    await store.open()
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    poison, other = receipt("a", refusals=3), receipt("b", refusals=3)
    assert await store.receipts([poison, other, poison]) == [REFUSED, REFUSED, REFUSED]
    await store.close()
    store = engine()
    await store.open()
    assert await store.receipts([poison]) == [REFUSED]
    assert await store.receipts([poison, poison, other]) == [KEPT, KEPT, REFUSED]
    assert await _count(store, "receipts.unmatched") == 2
    await store.recover(NOW + 6 * SECOND, frozenset())
    assert await store.settle([submitted(new, "a")]) == [State.DELIVERED]
    assert await store.receipts([poison]) == [RECORDED]
    await store.close()


async def test_an_unmatched_receipt_is_forgotten_in_the_end(store: Store) -> None:
    """A receipt that matches nothing is kept for days, not for ever; an id that becomes known after that finds none."""
    new = message(expires_at=NOW + 200 * HOUR)
    await store.accept([new])
    assert await store.receipts([receipt("a", at=NOW), receipt("b", at=NOW + 50 * HOUR)]) == [KEPT, KEPT]
    assert await store.purge(NOW + 71 * HOUR, 10) == 0
    assert await store.purge(NOW + 73 * HOUR, 10) == 1
    assert [row.carrier_id for row in await store.unmatched(NOW + 100 * HOUR, 10)] == ["b"]
    await store.sending([sending(new)])
    assert await store.settle([submitted(new, "a")]) == [State.SUBMITTED]
