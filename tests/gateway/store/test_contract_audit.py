"""The contract: what each step records, in its own transaction."""

from __future__ import annotations

import pytest

from gateway.audit.codec import decode, split
from gateway.audit.fields import Malformed
from gateway.audit.records import (
    Decision,
    InboundReceived,
    MessageAccepted,
    MessagesSending,
    MessageStored,
    NodeStopped,
    Record,
    Recovered,
    RouteDenied,
    StateChanged,
)
from gateway.states import Category, PartState, State
from gateway.store.contract import AuditCommit, RouteDenial, Store, Verdict
from tests.gateway.audit.agreement import check, records_of
from tests.gateway.audit.samples import decision
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import (
    CARRIER,
    COMMITMENT,
    HOUR,
    NOW,
    SECOND,
    TENANT,
    again,
    all_events,
    digest,
    in_doubt,
    inbound_part,
    key,
    message,
    receipt,
    rejected,
    send,
    sending,
    submitted,
)

ACCEPTED, SENDING, SUBMITTED, DELIVERED, UNDELIVERABLE, EXPIRED, CANCELLED, REJECTED, UNKNOWN = State
OWNER = "spiffe://example.org/acme/service"
ALLOWED = decision(allowed=True, reason="PERMITTED", policy="calls-own-tenant")


async def since(store: Store, records: int) -> list[Record]:
    """Return what has been recorded after so many records."""
    return (await records_of(store))[records:]


def change(
    message_id: bytes, at: int, before: int, state: int, *, carrier: str = "", reason: str = "", **fields: object
) -> StateChanged:
    """Return the record of a change."""
    record = StateChanged(at, message_id, TENANT, before, state, carrier, reason, None, "")
    return record._replace(**fields)  # type: ignore[arg-type]  # names are checked there


async def test_accepting(store: Store) -> None:
    """The decision comes first, then a record for each message; a replay is one too, a conflict none."""
    first, second = message(idempotency=key("k"), segments=2), message(country="IN", category=Category.OTP)
    await store.accept([first, second], [ALLOWED])
    other, clash = message(idempotency=key("k")), message(idempotency=key("k", "other content"))
    answers = await store.accept([other._replace(accepted_at=NOW + 1), clash])
    assert [answer.verdict for answer in answers] == [Verdict.REPLAYED, Verdict.CONFLICT]
    assert await records_of(store) == [
        ALLOWED,
        MessageStored(NOW, first.id, TENANT, OWNER, 2, "ACME", "DE", 2, COMMITMENT),
        MessageStored(NOW, second.id, TENANT, OWNER, 1, "ACME", "IN", 1, COMMITMENT),
        MessageAccepted(NOW + 1, first.id, TENANT, OWNER, 2, "ACME", "DE", 2, replayed=True),
    ]


async def test_commits_by_their_time(store: Store) -> None:
    """A commit is found by its time among any number of others, and by any time between two."""
    assert await store.audit_before(NOW) == 0
    for _ in range(9):
        await store.audit([ALLOWED])
    commits = await store.audit_read(0, 100)
    for commit in commits:
        first = min(other.seq for other in commits if other.at >= commit.at)
        assert await store.audit_before(commit.at) == first - 1
        assert await store.audit_before(commit.at + 1) == max(other.seq for other in commits if other.at <= commit.at)
    assert await store.audit_before(0) == 0
    assert await store.audit_before(commits[-1].at + 1) == 9


async def test_sending(store: Store) -> None:
    """Messages that go to a link at one moment share a record, which names each; what may not go is not in it."""
    news = [message() for _ in range(4)]
    await store.accept(news)
    await store.cancel(TENANT, news[3].id, NOW)
    steps = [sending(new, policy="any-route") for new in news]
    steps[2] = steps[2]._replace(policy="own-route")
    assert await store.sending(steps) == [True, True, True, False]
    assert await since(store, 5) == [
        MessagesSending(NOW + SECOND, TENANT, CARRIER, "any-route", (news[0].id, news[1].id)),
        MessagesSending(NOW + SECOND, TENANT, CARRIER, "own-route", (news[2].id,)),
    ]


async def test_settling(store: Store) -> None:
    """Each outcome is recorded with the state before it, also the way back that makes no event."""
    news = sent, refused, late, doubted = [message() for _ in range(4)]
    await store.accept(news)
    await store.sending([sending(new) for new in news])
    await store.settle([submitted(sent, "a"), rejected(refused), again(late), in_doubt(doubted)])
    at = NOW + 2 * SECOND
    assert await since(store, 5) == [
        change(sent.id, at, SENDING, SUBMITTED, carrier=CARRIER),
        change(refused.id, at, SENDING, REJECTED, carrier=CARRIER, reason="CARRIER_REJECTED", smpp_status=0x0B),
        change(late.id, at, SENDING, ACCEPTED, carrier=CARRIER, reason="CARRIER_BUSY", smpp_status=0x58),
        change(doubted.id, at, SENDING, UNKNOWN, carrier=CARRIER, reason="OUTCOME_UNKNOWN"),
    ]


async def test_settling_what_was_not_sent(store: Store) -> None:
    """A claimed message that goes back as it was has not changed; one that no carrier may carry says why."""
    back, denied, doubtful = message(), message(), message()
    await store.accept([back, denied, doubtful])
    await store.sending([sending(doubtful)])
    await store.settle([in_doubt(doubtful)])
    await store.claim(Category.TRANSACTIONAL, 9, NOW + HOUR // 2)
    denial = RouteDenial(CARRIER, "FORBIDDEN", "not-abroad")
    recorded = len(await records_of(store))
    await store.settle([
        again(back, cause=""),
        rejected(denied, denied=denial, reason_code="POLICY_DENIED", smpp_status=None),
        in_doubt(doubtful, denied=denial),
    ])  # fmt: skip
    at = NOW + 2 * SECOND
    assert await since(store, recorded) == [
        RouteDenied(at, denied.id, TENANT, CARRIER, "FORBIDDEN", "not-abroad"),
        change(denied.id, at, ACCEPTED, REJECTED, carrier=CARRIER, reason="POLICY_DENIED"),
        RouteDenied(at, doubtful.id, TENANT, CARRIER, "FORBIDDEN", "not-abroad"),
    ]


async def test_receipts(store: Store) -> None:
    """The receipt that ends a message is recorded, one for a part of it is not; nor is what a carrier wrote."""
    whole, parts, doubtful = message(), message(segments=2), message()
    await store.accept([whole, parts, doubtful])
    await send(store, [whole, parts], ["a", "b\nc"])
    await store.sending([sending(doubtful)])
    await store.settle([in_doubt(doubtful, carrier_ids="d", part_states="S", queue=40)])
    recorded = len(await records_of(store))
    await store.receipts([receipt("a"), receipt("b"), receipt("c", "U"), receipt("a", "U"), receipt("d")])
    at = NOW + 5 * SECOND
    assert await since(store, recorded) == [
        change(whole.id, at, SUBMITTED, DELIVERED, carrier=CARRIER),
        change(parts.id, at, SUBMITTED, UNDELIVERABLE, carrier=CARRIER, reason="RECEIPT_UNDELIVERABLE"),
        change(doubtful.id, at, UNKNOWN, DELIVERED, carrier=CARRIER),
    ]


async def test_a_receipt_before_its_response(store: Store) -> None:
    """A receipt that was kept, or that decided while the outcome was not known, is recorded where it takes effect."""
    early, split_up = message(), message(segments=2)
    await store.accept([early, split_up])
    await store.receipts([receipt("a")])
    await store.sending([sending(early), sending(split_up)])
    await store.settle([in_doubt(split_up, carrier_ids="b\n", part_states="S-", queue=20)])
    await store.receipts([receipt("b")])
    recorded = len(await records_of(store))
    await store.settle([submitted(early, "a")])
    await store.sending([sending(split_up, at=NOW + 9 * SECOND)])
    await store.settle([submitted(split_up, "b\nc", part_states="SD", at=NOW + 10 * SECOND)])
    assert await since(store, recorded) == [
        change(early.id, NOW + 2 * SECOND, SENDING, SUBMITTED, carrier=CARRIER),
        change(early.id, NOW + 5 * SECOND, SUBMITTED, DELIVERED, carrier=CARRIER),
        MessagesSending(NOW + 9 * SECOND, TENANT, CARRIER, "", (split_up.id,)),
        change(split_up.id, NOW + 10 * SECOND, SENDING, SUBMITTED, carrier=CARRIER),
        change(split_up.id, NOW + 10 * SECOND, SUBMITTED, DELIVERED, carrier=CARRIER),
    ]


async def test_inbound(store: Store) -> None:
    """The part that completes a message is recorded; held and redelivered ones are not."""
    first, last, single = inbound_part("x", 1, 2), inbound_part("x", 2, 2), inbound_part("y")
    await store.inbound([first, first, single, last])
    assert await records_of(store) == [
        InboundReceived(NOW, single.id, TENANT, CARRIER, 1),
        InboundReceived(NOW, last.id, TENANT, CARRIER, 2),
    ]


async def test_cancelling(store: Store) -> None:
    """A cancellation says who wanted it; one that comes to nothing leaves its decision alone."""
    new = message()
    await store.accept([new])
    await store.cancel(TENANT, new.id, NOW + 1, OWNER, [ALLOWED])
    await store.cancel(TENANT, new.id, NOW + 2, OWNER, [ALLOWED])
    await store.cancel(TENANT, digest("nothing"), NOW + 3, OWNER, [ALLOWED])
    cancelled = change(new.id, NOW + 1, ACCEPTED, CANCELLED, by=OWNER)
    assert await since(store, 1) == [ALLOWED, cancelled, ALLOWED, ALLOWED]


async def test_closing(store: Store) -> None:
    """What ends because its time is over is recorded with the state it had."""
    waiting, claimed, awaiting, doubtful = message(claimed=False), message(), message(), message()
    await store.accept([waiting, claimed, awaiting, doubtful])
    await send(store, [awaiting], ["a"])
    await store.sending([sending(doubtful)])
    await store.settle([in_doubt(doubtful, queue=40)])
    recorded = len(await records_of(store))
    at = NOW + 3 * HOUR
    assert await store.close_due(at, 10) == 4
    assert await since(store, recorded) == [
        change(waiting.id, at, ACCEPTED, EXPIRED, reason="VALIDITY_ENDED"),
        change(claimed.id, at, ACCEPTED, EXPIRED, reason="VALIDITY_ENDED"),
        change(doubtful.id, at, UNKNOWN, EXPIRED, carrier=CARRIER, reason="NO_RECEIPT"),
        change(awaiting.id, at, SUBMITTED, EXPIRED, carrier=CARRIER, reason="NO_RECEIPT"),
    ]


async def test_recovering(engine: Engine) -> None:
    """A restart goes on in the same log: it records whom it doubts, and how much it found."""
    first = engine()
    await first.open()
    sent, kept = message(), message()
    await first.accept([sent, kept])
    await first.sending([sending(sent)])
    await first.close()
    second = engine()
    await second.open()
    await second.recover(NOW + HOUR // 2, frozenset({Category.TRANSACTIONAL}))
    assert await since(second, 3) == [
        change(sent.id, NOW + HOUR // 2, SENDING, UNKNOWN, carrier=CARRIER, reason="NODE_RESTARTED"),
        Recovered(NOW + HOUR // 2, 1, 1),
    ]
    check({TENANT: await all_events(second)}, await records_of(second))
    await second.close()


async def test_what_changes_nothing_records_nothing(store: Store) -> None:
    """Looking, claiming and clearing up leave no trace."""
    await store.accept([message(claimed=False)])
    await store.claim(Category.TRANSACTIONAL, 10, NOW + SECOND)
    await store.purge(NOW, 100)
    await store.close_due(NOW, 100)
    await store.receipts([receipt("unknown")])
    assert await store.settle([submitted(message(), "z")]) == [0]
    assert len(await records_of(store)) == 1


async def test_records_alone(store: Store) -> None:
    """Records that belong to no change are committed as they are; nothing to record is no commit."""
    await store.audit([])
    assert await store.audit_bounds() == (0, 0)
    await store.audit([ALLOWED, NodeStopped(NOW, "node-1")])
    assert await records_of(store) == [ALLOWED, NodeStopped(NOW, "node-1")]


async def test_a_record_that_cannot_be_written(store: Store) -> None:
    """What cannot be recorded is not done: neither the message nor any other record of its call is there."""
    new, fine = message(), message()
    bad = decision(caller="x" * 3000)
    with pytest.raises(Malformed):
        await store.accept([new], [ALLOWED, bad])
    with pytest.raises(Malformed):
        await store.audit([ALLOWED, bad])
    assert await store.get_message(TENANT, new.id) is None
    await store.accept([fine])
    with pytest.raises(Malformed):
        await store.cancel(TENANT, fine.id, NOW, "x" * 3000)
    row = await store.get_message(TENANT, fine.id)
    assert row is not None
    assert row.state == ACCEPTED
    assert [type(record) for record in await records_of(store)] == [MessageStored]


async def test_pages(store: Store) -> None:
    """The log is read from anywhere, in order, in pages of any size, and says where it begins and ends."""
    for number in range(7):
        await store.audit([ALLOWED._replace(times=number + 1)])
    pages = [await store.audit_read(after, 3) for after in (0, 3, 6, 7, 100)]
    assert [[commit.seq for commit in page] for page in pages] == [[1, 2, 3], [4, 5, 6], [7], [], []]
    assert await store.audit_bounds() == (0, 7)
    (commit,) = await store.audit_read(4, 1)
    assert isinstance(commit, AuditCommit)
    (record,) = [decode(octets) for octets in split(commit.records)]
    assert isinstance(record, Decision)
    assert (record.times, commit.number) == (5, 1)


async def test_no_personal_data(store: Store) -> None:
    """Nothing of a message but its id, sender, category, country and size is in any record of its life."""
    secret = {
        "masked_recipient": "+49XXXXXXX5678", "recipient_hash": digest("+4915112345678"),
        "envelope": b"\x00for +4915112345678", "content": b"\x00your code is 123456", "idempotency": key("a-key"),
    }  # fmt: skip
    news = [message(**secret) if not n else message(**secret | {"idempotency": None}) for n in range(4)]
    await store.accept(news)
    await store.sending([sending(new) for new in news])
    texts = {"reason_text": "the carrier wrote about Ada Lovelace", "carrier_ids": "the-carrier-id"}
    await store.settle([
        submitted(news[0], "the-carrier-id"), rejected(news[1], **texts), in_doubt(news[2], **texts),
        again(news[3], **texts),
    ])  # fmt: skip
    about = {"stat": "STATTEXT", "network_error": "NETWORKERR", "recipient_hash": digest("+4915112345678")}
    await store.receipts([receipt("the-carrier-id", PartState.UNDELIVERABLE, **about)])
    await store.inbound([inbound_part("hello from +4915112345678")])
    commits = await store.audit_read(0, 100)
    octets = b"".join(commit.records for commit in commits)
    forbidden = (
        b"5678", b"1511", b"XXXX", b"code", b"123456", b"hello", b"for +", b"Lovelace", b"carrier-id", b"STATTEXT",
        b"NETWORKERR", digest("+4915112345678"), digest("a-key", 16), digest("content", 16),
    )  # fmt: skip
    assert [found for found in forbidden if found in octets] == []
    assert b"ACME" in octets  # the search does find what is there
    assert news[0].id in octets
