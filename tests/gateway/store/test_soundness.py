"""What holds between the rows of a sound database: on both engines after use, and each rule where it is broken."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gateway.states import Category
from gateway.store import soundness
from gateway.store.contract import Store
from gateway.store.postgres.inspecting import judge
from gateway.store.sqlite import SqliteStore, inspecting
from tests.gateway.store.samples import (
    NOW,
    TRANSACTIONAL,
    in_doubt,
    inbound_part,
    key,
    message,
    receipt,
    rejected,
    send,
    sending,
)
from tests.postgres.server import shared


async def use(store: Store) -> None:
    """Bring messages into every state."""
    news = [message(idempotency=key(str(number))) for number in range(10)]
    await store.accept(news)
    await store.accept([message(claimed=False, category=Category.OTP), message(claimed=False, expires_at=NOW + 1)])
    await send(store, news[:3], ["a", "b", "c"])
    await store.receipts([receipt("a"), receipt("b", "U")])
    await store.sending([sending(new) for new in news[3:6]])
    await store.settle([rejected(news[3]), in_doubt(news[4])])
    await store.park([(news[6].tenant, news[6].id)])
    await store.cancel(news[7].tenant, news[7].id, NOW)
    await store.inbound([inbound_part("x")])
    await store.close_due(NOW + 2, 10)
    await store.recover(NOW + 3, frozenset({TRANSACTIONAL}))
    waiting = await store.claim(TRANSACTIONAL, 10, NOW + 10)
    await store.sending([sending(waiting[0])])


async def test_sound_after_use(store: Store, tmp_path: Path) -> None:
    """Every rule holds on both engines, and they count the same."""
    await use(store)
    if isinstance(store, SqliteStore):
        with inspecting.looking(tmp_path / "store" / "smsgw.db") as db:
            problems = inspecting.problems(db, quick=False)
            counts = soundness.counts(inspecting.fetching(db))
    else:
        problems, counts = (judged := judge(shared().target("postgres"))).problems, judged.counts
    assert problems == []
    assert {name: number for name, number in counts.items() if name.startswith("messages.")} == {
        "messages.ACCEPTED": 3, "messages.SENDING": 1, "messages.SUBMITTED": 1, "messages.DELIVERED": 1,
        "messages.UNDELIVERABLE": 1, "messages.EXPIRED": 1, "messages.CANCELLED": 1, "messages.REJECTED": 1,
        "messages.UNKNOWN": 2,
    }  # fmt: skip
    assert counts["queues.SENDING"] == 1
    assert counts["queues.HELD_TRANSACTIONAL"] == 1
    assert counts["queues.WAITING_OTP"] == 1
    assert counts["events"] > 12


@pytest.fixture
async def used(tmp_path: Path) -> Path:
    """Give the file of a database that was used."""
    path = tmp_path / "store" / "smsgw.db"
    store = SqliteStore(path)
    await store.open()
    await use(store)
    await store.close()
    return path


BREAKS = {
    "messages whose state and queue contradict each other": "UPDATE message SET queue = 12 WHERE state = 4",
    "messages without the part that was written once": "DELETE FROM body WHERE id = (SELECT max(id) FROM body)",
    "bodies without a message": "DELETE FROM message WHERE state = 7",
    "messages of a tenant without a name": "UPDATE message SET tenant_no = 77 WHERE state = 7",
    "messages of a carrier without a name": "UPDATE message SET carrier_no = 77 WHERE state = 7",
    "events of a tenant without a name": "UPDATE event SET tenant_no = 77 WHERE seq = 3",
    "events with the number of another one": "INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no)"
    " SELECT 77, seq, at, message_id, state, carrier_no FROM event WHERE seq = 3",
    "ids of carriers that lead to no message": "UPDATE carrier_ref SET message_id = x'00' WHERE carrier_id = 'a'",
    "rows of the audit that are missing": "DROP TRIGGER audit_commit_stays; DELETE FROM audit_commit WHERE seq = 2",
}


@pytest.mark.parametrize("rule", [rule for rule, _ in soundness.RULES])
async def test_each_rule_is_a_rule(used: Path, rule: str) -> None:
    """What breaks a rule is found, and counted under it."""
    db = apsw.Connection(str(used))
    db.execute(BREAKS[rule])
    db.close()
    with inspecting.looking(used) as db:
        assert f"1 {rule}" in inspecting.problems(db, quick=True)


@pytest.mark.parametrize(
    ("state", "queue"),
    [
        (1, "40"),
        (1, "NULL"),
        (1, "11"),
        (2, "40"),
        (3, "20"),
        (3, "NULL"),
        (9, "NULL"),
        (9, "13"),
        (6, "2"),
        (0, "NULL"),
    ],
)
async def test_states_and_queues(used: Path, state: int, queue: str) -> None:
    """A state in a queue that it cannot be in is found."""
    db = apsw.Connection(str(used))
    db.execute(f"UPDATE message SET state = {state}, queue = {queue} WHERE state = 7")  # noqa: S608 - a test's own
    db.close()
    with inspecting.looking(used) as db:
        assert inspecting.problems(db, quick=True) == [f"1 {soundness.RULES[0][0]}"]
