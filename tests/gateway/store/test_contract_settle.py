"""The contract: settlements and receipts."""

from __future__ import annotations

from gateway.states import FINAL, State
from gateway.store.contract import Store
from gateway.store.receipts import ReceiptVerdict
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
    rejected,
    send,
    sending,
    state_of,
    submitted,
    told,
)
from tests.gateway.store.usage_agreement import EACH, EVER, told_by_events, told_by_usage

APPLIED, RECORDED, KEPT, MISMATCH, CONTRADICTED, *_ = ReceiptVerdict


async def test_submitted_then_delivered(store: Store) -> None:
    """The usual way: every step is noted with its time, and told."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["id-1"])
    assert await store.receipts([receipt("id-1", operator_done_at=NOW + 4)]) == [APPLIED]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.state, row.carrier_ids, row.part_states) == (State.DELIVERED, "id-1", "D")
    assert (row.submitted_at, row.done_at) == (NOW + 2 * SECOND, NOW + 5 * SECOND)
    assert (row.reason_code, row.network_error) == ("", "000")
    assert await told(store, new) == [State.ACCEPTED, State.SUBMITTED, State.DELIVERED]
    last = (await all_events(store))[-1]
    assert (last.carrier, last.network_error, last.operator_done_at) == (CARRIER, "000", NOW + 4)
    assert not any(size for name, size in (await store.counts()).items() if name.startswith("queue."))


async def test_a_failed_receipt_says_why(store: Store) -> None:
    """A receipt that ends a message otherwise leaves its reason with message and event."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["id-1"])
    await store.receipts([receipt("id-1", "U", network_error="0E4")])
    row = await store.get_message(TENANT, new.id)
    event = (await all_events(store))[-1]
    assert row is not None
    for told_ in (row, event):
        assert (told_.state, told_.reason_code) == (State.UNDELIVERABLE, "RECEIPT_UNDELIVERABLE")
        assert "UNDELIV" in told_.reason_text
        assert told_.network_error == "0E4"


async def test_rejected_is_final(store: Store) -> None:
    """A refusal ends the message with the carrier's status, and its events say so."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    assert await store.settle([rejected(new)]) == [State.REJECTED]
    row = await store.get_message(TENANT, new.id)
    event = (await all_events(store))[-1]
    assert row is not None
    assert row.done_at == NOW + 2 * SECOND
    for told_ in (row, event):
        assert (told_.state, told_.reason_code, told_.smpp_status) == (State.REJECTED, "CARRIER_REJECTED", 0x0B)


async def test_back_to_waiting_is_no_event(store: Store) -> None:
    """A message that goes back waits until it is due, is counted by cause, and tells nobody."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    assert await store.settle([again(new)]) == [State.ACCEPTED]
    assert await store.claim(TRANSACTIONAL, 10, NOW + 2 * SECOND) == []
    (waiting,) = await store.claim(TRANSACTIONAL, 10, NOW + 3 * SECOND)
    assert (waiting.id, waiting.attempts, waiting.state, waiting.carrier) == (new.id, 1, State.ACCEPTED, CARRIER)
    assert await told(store, new) == [State.ACCEPTED]
    assert (await store.counts())["retry.throttled"] == 1


async def test_a_doubtful_message_is_sent_again(store: Store) -> None:
    """UNKNOWN in a waiting queue is claimed, sent again, and settled."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new)])
    (waiting,) = await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)
    assert waiting.state == State.UNKNOWN
    assert await store.sending([sending(new)]) == [True]
    assert await store.settle([submitted(new, "id-2")]) == [State.SUBMITTED]
    assert await told(store, new) == [State.ACCEPTED, State.UNKNOWN, State.SUBMITTED]
    assert (await store.counts())["resend.no_answer"] == 1


async def test_a_claimed_message_that_is_not_sent_after_all(store: Store) -> None:
    """A claimed message can be refused, ended, or put back as it was: ACCEPTED or UNKNOWN."""
    refused, expired, back, doubtful = message(), message(), message(), message()
    await store.accept([refused, expired, back, doubtful])
    await store.sending([sending(doubtful)])
    await store.settle([in_doubt(doubtful)])
    await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)
    states = await store.settle(
        [rejected(refused), rejected(expired, state=State.EXPIRED), again(back), in_doubt(doubtful)]
    )
    assert states == [State.REJECTED, State.EXPIRED, State.ACCEPTED, State.UNKNOWN]
    assert len(await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)) == 2
    assert await told(store, back) == [State.ACCEPTED]
    assert await told(store, doubtful) == [State.ACCEPTED, State.UNKNOWN]


async def test_an_illegal_settlement_changes_nothing(store: Store) -> None:
    """What the table of transitions does not know leaves the message, and its state is the answer."""
    accepted, cancelled, done, stranger = message(), message(), message(), message()
    await store.accept([accepted, cancelled, done])
    await store.cancel(TENANT, cancelled.id, NOW)
    await send(store, [done], ["x"])
    before = [await store.get_message(TENANT, new.id) for new in (accepted, cancelled, done)]
    batch = [submitted(accepted, ""), submitted(cancelled, ""), submitted(done, ""), submitted(stranger, "y")]
    assert await store.settle(batch) == [State.ACCEPTED, State.CANCELLED, State.SUBMITTED, 0]
    assert [await store.get_message(TENANT, new.id) for new in (accepted, cancelled, done)] == before


async def test_settlements_of_one_message_in_a_batch(store: Store) -> None:
    """Two settlements of one message in a batch are taken one after the other."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    batch = [in_doubt(new), submitted(new, "id-1"), rejected(message()), submitted(new, "id-2")]
    assert await store.settle(batch) == [State.UNKNOWN, State.SUBMITTED, 0, State.SUBMITTED]
    assert await told(store, new) == [State.ACCEPTED, State.UNKNOWN, State.SUBMITTED]


async def test_parts_are_aggregated(store: Store) -> None:
    """A long message is delivered when all its parts are, whatever the order of the receipts."""
    new = message(segments=3)
    await store.accept([new])
    await send(store, [new], ["a\nb\nc"])
    assert await store.receipts([receipt("c"), receipt("a")]) == [APPLIED, APPLIED]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.state, row.part_states, row.done_at) == (State.SUBMITTED, "DSD", None)
    assert await store.receipts([receipt("b")]) == [APPLIED]
    assert await state_of(store, new) is State.DELIVERED


async def test_receipts_of_all_parts_in_one_batch(store: Store) -> None:
    """Receipts for several parts of one message in a batch work together and write one event."""
    new = message(segments=3)
    await store.accept([new])
    await send(store, [new], ["a\nb\nc"])
    assert await store.receipts([receipt("a"), receipt("b"), receipt("a"), receipt("c"), receipt("c", "U")]) == [
        APPLIED,
        APPLIED,
        RECORDED,
        APPLIED,
        CONTRADICTED,
    ]
    assert await told(store, new) == [State.ACCEPTED, State.SUBMITTED, State.DELIVERED]


async def test_one_failed_part_fails_the_message(store: Store) -> None:
    """The first part that fails decides, and later receipts change nothing."""
    new = message(segments=2)
    await store.accept([new])
    await send(store, [new], ["a\nb"])
    assert await store.receipts([receipt("b", "E"), receipt("a")]) == [APPLIED, RECORDED]
    assert await state_of(store, new) is State.EXPIRED


async def test_intermediate_and_repeated_receipts(store: Store) -> None:
    """A receipt without a final state, a repeated one, and one after the end are recorded and change nothing."""
    new = message()
    await store.accept([new])
    await send(store, [new], ["a"])
    assert await store.receipts([receipt("a", ""), receipt("a"), receipt("a"), receipt("a", "U")]) == [
        RECORDED,
        APPLIED,
        RECORDED,
        CONTRADICTED,
    ]
    assert await state_of(store, new) is State.DELIVERED


async def test_a_receipt_for_another_recipient(store: Store) -> None:
    """A receipt that names another recipient changes nothing and is counted; with the right one it applies."""
    one, two = message(recipient_hash=digest("1")), message(recipient_hash=digest("2"))
    await store.accept([one, two])
    await send(store, [one, two], ["a", "b"])
    assert await store.receipts([receipt("a", recipient_hash=digest("2"))]) == [MISMATCH]
    assert await state_of(store, one) is State.SUBMITTED
    assert (await store.counts())["receipt.mismatch"] == 1
    assert await store.receipts([receipt("a", recipient_hash=digest("1")), receipt("b")]) == [APPLIED, APPLIED]


async def test_a_receipt_with_hashes_of_several_keys(store: Store) -> None:
    """A receipt's recipient may be hashed under any key in use; one that is under none of them is another's."""
    one, two = message(recipient_hash=digest("1")), message(recipient_hash=digest("1 older"))
    await store.accept([one, two])
    await send(store, [one, two], ["a", "b"])
    hashes, others = digest("1") + digest("1 older"), digest("2") + digest("2 older")
    assert await store.receipts([receipt("a", recipient_hash=others), receipt("b", recipient_hash=others)]) == [
        MISMATCH,
        MISMATCH,
    ]
    assert await store.receipts([receipt("a", recipient_hash=hashes), receipt("b", recipient_hash=hashes)]) == [
        APPLIED,
        APPLIED,
    ]


async def test_a_receipt_before_its_response(store: Store) -> None:
    """A receipt that comes first is kept and applied with the settlement, both events included."""
    new, other = message(), message()
    await store.accept([new, other])
    await store.sending([sending(new), sending(other)])
    assert await store.receipts([receipt("a"), receipt("b", carrier="other")]) == [KEPT, KEPT]
    assert await store.settle([submitted(new, "a"), submitted(other, "b")]) == [State.DELIVERED, State.SUBMITTED]
    assert await told(store, new) == [State.ACCEPTED, State.SUBMITTED, State.DELIVERED]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.submitted_at, row.done_at, row.network_error) == (NOW + 2 * SECOND, NOW + 5 * SECOND, "000")
    assert await store.receipts([receipt("a")]) == [RECORDED]


async def test_kept_receipts_of_a_long_message(store: Store) -> None:
    """Kept receipts for parts are applied in the order they came, once."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    early = [receipt("a", ""), receipt("a", at=NOW + 1), receipt("a", at=NOW + 2), receipt("b", "U", at=NOW + 3)]
    assert await store.receipts(early) == [KEPT] * 4
    assert await store.settle([submitted(new, "a\nb")]) == [State.UNDELIVERABLE]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.part_states, row.done_at) == ("DU", NOW + 3)


async def test_a_receipt_for_a_doubtful_message(store: Store) -> None:
    """A receipt for an answered part ends an UNKNOWN message; it is not sent again."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new, carrier_ids="a\n", part_states="S-")])
    assert await store.receipts([receipt("a", "U")]) == [APPLIED]
    assert await state_of(store, new) is State.UNDELIVERABLE
    assert await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2) == []
    assert await store.sending([sending(new)]) == [False]


async def test_a_receipt_while_the_rest_is_sent_again(store: Store) -> None:
    """A part whose receipt comes during the next attempt keeps its state when that attempt is settled."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new, carrier_ids="a\n", part_states="S-")])
    await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)
    await store.sending([sending(new)])
    assert await store.receipts([receipt("a")]) == [APPLIED]
    assert await state_of(store, new) is State.SENDING
    assert await store.settle([submitted(new, "a\nb")]) == [State.SUBMITTED]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert row.part_states == "DS"
    assert await store.receipts([receipt("b")]) == [APPLIED]
    assert await state_of(store, new) is State.DELIVERED


async def test_a_failed_part_decides_at_the_settlement(store: Store) -> None:
    """When a receipt fails a part during the next attempt, the settlement ends the message."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new, carrier_ids="a\n", part_states="S-")])
    await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)
    await store.sending([sending(new)])
    await store.receipts([receipt("a", "U")])
    assert await store.settle([submitted(new, "a\nb")]) == [State.UNDELIVERABLE]
    assert (await told(store, new))[-2:] == [State.SUBMITTED, State.UNDELIVERABLE]
    assert await store.close_due(NOW + 99 * HOUR, 10) == 0


async def test_a_receipt_of_an_earlier_carrier(store: Store) -> None:
    """After the message went to another carrier, a receipt of the first says nothing about the new attempt."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new, carrier_ids="a\n", part_states="S-")])
    await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)
    await store.sending([sending(new, carrier="other")])
    await store.settle([submitted(new, "x\ny", carrier="other")])
    assert await store.receipts([receipt("a", "U")]) == [RECORDED]
    assert await state_of(store, new) is State.SUBMITTED
    assert await store.receipts([receipt("x", carrier="other"), receipt("y", carrier="other")]) == [APPLIED, APPLIED]


async def test_a_response_after_the_end(store: Store) -> None:
    """A late response leaves an ended message as it is, and its receipt is recorded, not kept."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new)])
    await store.close_due(NOW + HOUR, 10)
    assert await store.settle([submitted(new, "a")]) == [State.EXPIRED]
    assert await state_of(store, new) in FINAL
    assert await store.receipts([receipt("a")]) == [RECORDED]


async def test_a_late_response_for_a_doubtful_message(store: Store) -> None:
    """A response that comes after all moves UNKNOWN to SUBMITTED, and it is not sent again."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new)])
    assert await store.settle([submitted(new, "a")]) == [State.SUBMITTED]
    assert await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2) == []


async def test_a_carrier_id_used_again(store: Store) -> None:
    """A carrier that uses an id again is counted, and receipts go to its newest message."""
    old, new, third, fourth = (message() for _ in range(4))
    await store.accept([old, new, third, fourth])
    await send(store, [old], ["a"])
    await send(store, [new], ["a"])
    await send(store, [third, fourth], ["b", "b"])
    assert await store.receipts([receipt("a"), receipt("b")]) == [APPLIED, APPLIED]
    states = [await state_of(store, each) for each in (old, new, third, fourth)]
    assert states == [State.SUBMITTED, State.DELIVERED, State.SUBMITTED, State.DELIVERED]
    assert (await store.counts())["carrier_id.reused"] == 2


async def test_the_same_id_at_two_carriers(store: Store) -> None:
    """Carrier ids belong to their carrier."""
    one, two = message(), message()
    await store.accept([one, two])
    await store.sending([sending(one), sending(two, carrier="other")])
    await store.settle([submitted(one, "a"), submitted(two, "a", carrier="other")])
    assert await store.receipts([receipt("a", carrier="other")]) == [APPLIED]
    assert await state_of(store, one) is State.SUBMITTED
    assert await state_of(store, two) is State.DELIVERED


async def test_receipts_find_a_message_by_its_references(store: Store) -> None:
    """Where references are given receipts match by them, and the ids as the carrier wrote them match nothing."""
    new = message()
    await store.accept([new])
    await store.sending([sending(new)])
    await store.receipts([receipt("26", "")])
    await store.settle([submitted(new, "1a", refs="26")])
    assert await store.receipts([receipt("1a"), receipt("26")]) == [KEPT, APPLIED]
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.state, row.carrier_ids) == (State.DELIVERED, "1a")


async def test_a_late_answer_counts_for_a_doubtful_message_only(store: Store) -> None:
    """A settlement that is meant for UNKNOWN leaves a message that is being sent again, or ended, and keeps the id."""
    doubtful, sent_again, ended = message(), message(), message()
    await store.accept([doubtful, sent_again, ended])
    await store.sending([sending(new) for new in (doubtful, sent_again, ended)])
    await store.settle([in_doubt(new) for new in (doubtful, sent_again)] + [rejected(ended)])
    await store.claim(TRANSACTIONAL, 10, NOW + HOUR // 2)
    await store.sending([sending(sent_again)])
    late = [submitted(new, name, only_from=State.UNKNOWN) for new, name in ((doubtful, "a"), (sent_again, "b"))]
    assert await store.settle([*late, submitted(ended, "c", only_from=State.UNKNOWN)]) == [
        State.SUBMITTED,
        State.SENDING,
        State.REJECTED,
    ]
    assert await store.sending([sending(doubtful)]) == [False]
    assert await store.settle([submitted(sent_again, "d")]) == [State.SUBMITTED]
    assert await store.receipts([receipt("b")]) == [APPLIED]  # of the first copy
    assert await state_of(store, sent_again) is State.DELIVERED


async def test_one_unusual_settlement_among_usual_ones(store: Store) -> None:
    """A message that has been settled before does not keep the others of its batch from being settled, nor is anything
    told twice; the usage counts each once."""
    first, second, third = message(), message(), message()
    await store.accept([first, second, third])
    await store.sending([sending(each) for each in (first, second, third)])
    await store.settle([submitted(second, "id-2")])
    outcomes = [submitted(each, f"id-{n}") for n, each in enumerate((first, second, third), 1)]
    assert await store.settle(outcomes) == [State.SUBMITTED] * 3
    for new in (first, second, third):
        assert await told(store, new) == [State.ACCEPTED, State.SUBMITTED]
    assert told_by_usage(await store.usage(EVER, EACH)) == told_by_events({TENANT: await all_events(store)})


async def test_one_that_may_not_go_among_others(store: Store) -> None:
    """A message that was cancelled does not keep the others of its batch from being sent; one that was sent already
    does not go again."""
    first, gone, third = message(), message(), message()
    await store.accept([first, gone, third])
    await store.cancel(TENANT, gone.id, NOW)
    assert await store.sending([sending(each) for each in (first, gone, third)]) == [True, False, True]
    assert await store.sending([sending(each) for each in (first, third)]) == [False, False]
    assert [await state_of(store, each) for each in (first, gone, third)] == [
        State.SENDING, State.CANCELLED, State.SENDING,
    ]  # fmt: skip
