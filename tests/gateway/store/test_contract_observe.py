"""The contract: what a commit tells telemetry, and the traces kept beside messages."""

from __future__ import annotations

import pytest

from gateway.states import State
from gateway.store.contract import Committed, Ended, Store, TracedReceipt
from gateway.store.receipts import ReceiptVerdict
from tests.gateway.store.samples import (
    CARRIER,
    HOUR,
    NOW,
    OTP,
    PROMOTIONAL,
    SECOND,
    TENANT,
    TRANSACTIONAL,
    in_doubt,
    message,
    receipt,
    rejected,
    send,
    sending,
    submitted,
)

TRACE = bytes(range(1, 26))
OTHER_TRACE = bytes(range(2, 27))


@pytest.fixture
def commits(store: Store) -> list[Committed]:
    """Give what is told of each commit."""
    heard: list[Committed] = []
    store.observe(heard.append)
    return heard


def ended(commits: list[Committed]) -> list[Ended]:
    """Return the messages that ended, in order."""
    return [one for commit in commits for one in commit.ended]


def traced(commits: list[Committed]) -> list[TracedReceipt]:
    """Return the receipts of traced messages, in order."""
    return [one for commit in commits for one in commit.receipts]


async def test_every_commit_is_told(store: Store, commits: list[Committed]) -> None:
    """Rows and durations come with each commit, and fsync is part of the whole."""
    await store.accept([message(), message()])
    (commit,) = commits
    assert commit.rows == 2
    assert 0 < commit.fsync_s < commit.duration_s < 60
    assert (commit.ended, commit.receipts) == ([], [])


async def test_receipts_end_messages(store: Store, commits: list[Committed]) -> None:
    """A message that a receipt ends is told with its carrier, category, state and the time since it was submitted."""
    news = [message(category=OTP), message(), message(category=PROMOTIONAL)]
    await store.accept(news)
    await send(store, news, ["a", "b", "c"])
    await store.receipts([receipt("a"), receipt("b", "U"), receipt("c", "")])
    assert ended(commits) == [
        (CARRIER, OTP, State.DELIVERED, 3 * SECOND),
        (CARRIER, TRANSACTIONAL, State.UNDELIVERABLE, 3 * SECOND),
    ]
    await store.receipts([receipt("a"), receipt("b")])
    assert len(ended(commits)) == 2


async def test_settlements_end_messages_without_being_told(store: Store, commits: list[Committed]) -> None:
    """What a settlement itself decides is known to who settles; a kept receipt that decides is told."""
    new, refused = message(), message()
    await store.accept([new, refused])
    await store.sending([sending(new), sending(refused)])
    assert await store.receipts([receipt("early")]) == [ReceiptVerdict.KEPT]
    await store.settle([submitted(new, "early"), rejected(refused)])
    assert ended(commits) == [(CARRIER, TRANSACTIONAL, State.DELIVERED, 3 * SECOND)]


async def test_receipts_that_decided_before_the_settlement(store: Store, commits: list[Committed]) -> None:
    """A resend that is settled after receipts for all parts have come ends the message there, and that is told."""
    new = message(segments=2)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.settle([in_doubt(new, carrier_ids="a\n", part_states="S-")])
    await store.claim(TRANSACTIONAL, 1, NOW + HOUR // 2)
    await store.sending([sending(new)])
    await store.receipts([receipt("a", "U")])
    assert ended(commits) == []
    assert await store.settle([submitted(new, "a\nb", part_states="SS")]) == [State.UNDELIVERABLE]
    assert ended(commits) == [(CARRIER, TRANSACTIONAL, State.UNDELIVERABLE, 0)]


async def test_cancelled_and_expired_messages(store: Store, commits: list[Committed]) -> None:
    """Messages that nobody sent end without a carrier."""
    waiting = message(claimed=False, expires_at=NOW + SECOND, category=PROMOTIONAL)
    cancelled = message()
    await store.accept([waiting, cancelled])
    await store.cancel(TENANT, cancelled.id, NOW)
    await store.cancel(TENANT, cancelled.id, NOW)
    await store.close_due(NOW + HOUR, 10)
    assert ended(commits) == [
        ("", TRANSACTIONAL, State.CANCELLED, -1),
        ("", PROMOTIONAL, State.EXPIRED, -1),
    ]


async def test_a_trace_comes_back_with_the_claim(store: Store) -> None:
    """The context of a traced message is there for whoever sends it; the others have none."""
    news = [message(claimed=False), message(claimed=False, trace=TRACE), message(claimed=False)]
    await store.accept(news)
    claimed = await store.claim(TRANSACTIONAL, 10, NOW)
    assert {one.id: one.trace for one in claimed} == {news[0].id: b"", news[1].id: TRACE, news[2].id: b""}


async def test_receipts_of_traced_messages(store: Store, commits: list[Committed]) -> None:
    """Each receipt that changes a traced message brings its context, and the state after all of them."""
    plain, long, short = message(), message(segments=2, trace=TRACE), message(trace=OTHER_TRACE)
    await store.accept([plain, long, short])
    await send(store, [plain, long, short], ["p", "a\nb", "s"])
    await store.receipts([receipt("p"), receipt("a"), receipt("b", at=NOW + HOUR), receipt("s", "E"), receipt("s")])
    assert traced(commits) == [
        TracedReceipt(TRACE, CARRIER, "D", NOW + 5 * SECOND, State.DELIVERED),
        TracedReceipt(TRACE, CARRIER, "D", NOW + HOUR, State.DELIVERED),
        TracedReceipt(OTHER_TRACE, CARRIER, "E", NOW + 5 * SECOND, State.EXPIRED),
    ]
    assert {one[:3] for one in ended(commits)} == {
        (CARRIER, TRANSACTIONAL, State.DELIVERED),
        (CARRIER, TRANSACTIONAL, State.EXPIRED),
    }


async def test_a_receipt_that_overtook_its_response_is_traced(store: Store, commits: list[Committed]) -> None:
    """It is told when it is applied."""
    new = message(trace=TRACE)
    await store.accept([new])
    await store.sending([sending(new)])
    await store.receipts([receipt("early")])
    assert traced(commits) == []
    await store.settle([submitted(new, "early")])
    assert traced(commits) == [TracedReceipt(TRACE, CARRIER, "D", NOW + 5 * SECOND, State.DELIVERED)]


async def test_nothing_is_told_of_what_was_rolled_back(store: Store, commits: list[Committed]) -> None:
    """A commit that fails leaves nothing for the next one to tell."""
    new = message(trace=TRACE)
    await store.accept([new])
    await send(store, [new], ["a"])
    before = len(commits)
    with pytest.raises(Exception):  # noqa: B017, PT011 -- each engine has its own error for a value it cannot bind
        await store.receipts([receipt("a"), receipt("b", network_error=object())])
    assert commits[before:] == []
    await store.receipts([receipt("a")])
    assert len(traced(commits)) == len(ended(commits)) == 1
