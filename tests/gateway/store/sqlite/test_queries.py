"""Query plans: each statement of the hot path goes through a key or an index, and sorts nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import apsw
import pytest

from gateway.store.sqlite import (
    accepting,
    awaiting,
    claiming,
    closing,
    holding,
    inbound,
    keeping,
    noting,
    purging,
    reading,
    receiving,
    schema,
    settling,
)

_MESSAGE_KEY = "message USING PRIMARY KEY (tenant_no=? AND id=?)"
_M_KEY = "m USING PRIMARY KEY (tenant_no=? AND id=?)"

# A statement, and what its plan must say.
PLANS = {
    "claim": (claiming.DUE.text, "m USING INDEX message_queue (queue=? AND due_at<?)"),
    "claim: content": (claiming.DUE.text, "b USING PRIMARY KEY (tenant_no=? AND id=?)"),
    "claim: take": (claiming.TAKE.text(20), _MESSAGE_KEY),
    "sending": (claiming.SEND.text(20), _MESSAGE_KEY),
    "settle": (settling.SETTLE.text(20), _MESSAGE_KEY),
    "settle: unusual": (settling.UNUSUAL.sized(20), _M_KEY),
    "settle: kept": (keeping.KEPT.sized(20), "k USING PRIMARY KEY (carrier_no=? AND carrier_id=?)"),
    "settle: refs": (settling.HOLDERS.sized(20), "r USING PRIMARY KEY (carrier_no=? AND carrier_id=?)"),
    "receipt": (receiving.FIND.sized(20), "r USING PRIMARY KEY (carrier_no=? AND carrier_id=?)"),
    "receipt: older refs": (receiving.OLDER.sized(20), "r USING PRIMARY KEY (carrier_no=? AND carrier_id=?)"),
    "receipt: unmatched": (keeping.UNMATCHED.text, "k USING INDEX kept_receipt_age (at<?)"),
    "receipt: noted": (noting.NOTED.text, "n USING INDEX noted_receipt_age"),
    "receipt: asked": (receiving.ASKED.sized(20), _M_KEY),
    "receipt: awaiting": (awaiting.AWAITING.text, "m USING INDEX message_queue (queue=? AND due_at>?)"),
    "inbound: oldest": (inbound.OLDEST_GROUP, "inbound_held USING COVERING INDEX inbound_held_oldest (tenant_no=?)"),
    "receipt: message": (receiving.FIND.sized(20), _M_KEY),
    "receipt: traces": (receiving.TRACES.sized(20), _M_KEY),
    "receipt: end": (receiving.END.text(20), _MESSAGE_KEY),
    "keys: live": (accepting.LIVE_HOLDERS.sized(20), "i USING INDEX sqlite_autoindex_idempotency_1 (key_hash=?)"),
    "held: page": (holding.PAGE.text, "message USING INDEX message_queue (queue=? AND (due_at,tenant_no,id)>(?,?,?))"),
    "held: park": (holding.PARK.text(20), _MESSAGE_KEY),
    "held: unpark": (holding.UNPARK.text(20), _MESSAGE_KEY),
    "purge": (purging.PURGE.text(20), _MESSAGE_KEY),
    "close waiting": (closing.WAITING_OVER.text, "message USING INDEX message_waiting_expiry (expires_at<?)"),
    "close claimed": (closing.CLAIMED_OVER.text, "message USING INDEX message_queue (queue=? AND due_at<?)"),
    "close awaiting": (closing.AWAITING_OVER.text, "message USING INDEX message_queue (queue=? AND due_at<?)"),
    "close: expire": (closing.EXPIRE.text(20), _MESSAGE_KEY),
    "recover": (closing.RECLAIM, "message USING INDEX message_queue (queue=?)"),
    "recover: in doubt": (closing.IN_DOUBT.text, "message USING INDEX message_queue (queue=?)"),
    "next due": (reading.NEXT_DUE, "message USING COVERING INDEX message_queue (queue=?)"),
    "get": (reading.ONE, _M_KEY),
    "list": (reading.LIST.text, "m USING PRIMARY KEY (tenant_no=? AND id<?)"),
    "list by recipient": (
        reading.LIST_RECIPIENT.text,
        "m USING INDEX message_recipient (tenant_no=? AND recipient_hash=? AND id<?)",
    ),
    "events": (reading.EVENTS.text, "e USING PRIMARY KEY (tenant_no=? AND seq>?)"),
    "events: messages": (reading.EVENTS.text, _M_KEY),
    "events: inbound": (reading.INBOUND_PARTS.text, "p USING PRIMARY KEY (tenant_no=? AND id=?)"),
    "bounds": (reading.BOUNDS, "event USING PRIMARY KEY (tenant_no=?)"),
}


@pytest.fixture(scope="module")
def db() -> Iterator[apsw.Connection]:
    """Give an empty database with the newest schema."""
    empty = apsw.Connection(":memory:")
    for step in schema.migrations():
        empty.execute(step)
    yield empty
    empty.close()


def _plan(db: apsw.Connection, statement: str) -> list[str]:
    return [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", _unset(statement))]


def _unset(statement: str) -> tuple[None, ...]:
    """Return a binding for each of the statement's parameters, `?` or `?3`."""
    numbers = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    return (None,) * (max(numbers) if numbers else statement.count("?"))


@pytest.mark.parametrize("name", PLANS)
def test_plan(db: apsw.Connection, name: str) -> None:
    """The statement searches by the key or index it was written for, scans no table, and sorts nothing."""
    statement, wanted = PLANS[name]
    plan = _plan(db, statement)
    assert any(wanted in step for step in plan), plan
    tables = ("message", "m", "e", "c", "r", "k", "i", "p", "event", "body", "b")
    assert not [step for step in plan if step.startswith("SCAN") and step.split()[1] in tables], plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_the_plan_check_finds_a_scan(db: apsw.Connection) -> None:
    """A query without an index would be seen."""
    assert _plan(db, "SELECT id FROM message WHERE due_at < 5 ORDER BY segments") == [
        "SCAN message",
        "USE TEMP B-TREE FOR ORDER BY",
    ]


def test_sending_touches_no_index(db: apsw.Connection) -> None:
    """The step to SENDING, which every message takes, opens no index for writing: only the table's own tree."""
    statement = claiming.SEND.text(20)
    opened = [row[3] for row in db.execute(f"EXPLAIN {statement}", _unset(statement)) if row[1] == "OpenWrite"]
    ((root,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message'").fetchall()
    assert opened == [root]
