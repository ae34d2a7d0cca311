"""Query plans: every statement goes through a key or an index, and sorts nothing; those of the hot path through the
one that was meant. What may read a table from end to end is named here, with why that stays small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from gateway.store.sqlite import (
    awaiting,
    blocks,
    claiming,
    closing,
    holding,
    inbound,
    indexing,
    keeping,
    key_filters,
    key_runs,
    keys,
    noting,
    purging,
    reading,
    receiving,
    runs,
    schema,
    settling,
    transaction,
    usage,
)
from gateway.store.sqlite.bulk import Lookup, Write
from gateway.store.sqlite.statements import STATEMENTS
from tests.gateway.store.all_statements import every

_MESSAGE_KEY = "message USING PRIMARY KEY (tenant_no=? AND id=?)"
_M_KEY = "m USING PRIMARY KEY (tenant_no=? AND id=?)"

# A statement, and what its plan must say.
PLANS = {
    "usage: facts": (usage.FACTS.sized(20), _M_KEY),
    "claim: soonest": (
        claiming.SOONEST.text,
        "message USING COVERING INDEX message_soonest (queue=? AND expires_at>?)",
    ),
    "claim: due": (claiming.DUE.text, "m USING INDEX message_queue (queue=? AND due_at<?)"),
    "claim: content": (claiming.DUE.text, "b USING PRIMARY KEY (tenant_no=? AND id=?)"),
    "claim: take": (claiming.TAKE.text(20), _MESSAGE_KEY),
    "sending": (claiming.SEND.text(20), _MESSAGE_KEY),
    "settle": (settling.SETTLE.text(20), _MESSAGE_KEY),
    "settle: submitted": (settling.SUBMITTED.text(20), _MESSAGE_KEY),
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
    "keys: live": (keys.Holders(keys.Keys()).sized(20), "i USING INTEGER PRIMARY KEY (rowid=?)"),
    "keys: live, old": (keys.OLD_HOLDERS.sized(20), "i USING INDEX sqlite_autoindex_idempotency_1 (key_hash=?)"),
    "keys: old": (keys.OLD.sized(20), "i USING COVERING INDEX sqlite_autoindex_idempotency_1 (key_hash=?)"),
    "keys: in runs": (keys.IN_RUNS.sized(20), "e USING PRIMARY KEY (run=? AND key_hash=?)"),
    "keys: which runs": (keys.IN_RUNS.sized(20), "k USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "keys: delete": (keys.DELETE, "key_record USING INTEGER PRIMARY KEY (rowid=?)"),
    "keys: delete old": (keys.DELETE_OLD, "idempotency USING INDEX sqlite_autoindex_idempotency_1 (key_hash=?)"),
    "keys: newest": (keys.NEWEST, "key_record USING INTEGER PRIMARY KEY (rowid>?)"),
    "keys: bounds": (keys.BOUNDS, "key_record"),
    "keys: write a run": (key_runs.WRITE.text(20), "r USING INTEGER PRIMARY KEY (rowid=?)"),
    "keys: of a generation": (key_filters.HASHES, "key_record USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "keys: a filter": (key_filters.PARTS, "key_filter USING INDEX sqlite_autoindex_key_filter_1 (generation=?)"),
    "keys: of a filter": (
        key_filters.COUNT,
        "key_filter USING COVERING INDEX sqlite_autoindex_key_filter_1 (generation=?)",
    ),
    "keys: of a run": (key_filters.HAS_ENTRIES, "key_entry USING PRIMARY KEY (run=?)"),
    "keys: runs of a generation": (key_filters.ANY_RUN, "key_run USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
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
    "counts: head": (reading.HEAD, "message USING COVERING INDEX message_queue (queue=?)"),
    "counts: slice": (
        reading.SLICE_END,
        "message USING COVERING INDEX message_queue (queue=? AND (due_at,tenant_no,id)>(?,?,?))",
    ),
    "counts: rest": (
        reading.SLICE_REST,
        "message USING COVERING INDEX message_queue (queue=? AND (due_at,tenant_no,id)>(?,?,?))",
    ),
    "next due": (reading.NEXT_DUE, "message USING COVERING INDEX message_queue (queue=?)"),
    "get": (reading.ONE, _M_KEY),
    "list": (reading.LIST.text, "m USING PRIMARY KEY (tenant_no=? AND id>? AND id<?)"),
    "list: reach": (reading.REACH, "message USING PRIMARY KEY (tenant_no=? AND id<?)"),
    "list by recipient": (
        reading.LIST_RECIPIENT.text,
        "m USING INDEX message_block (block=? AND tenant_no=? AND recipient_hash=? AND id>? AND id<?)",
    ),
    "list by recipient: blocks": (reading.LIST_RECIPIENT.text, "k USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "list by recipient: runs": (
        reading.LIST_RECIPIENT.runs.text,
        "r USING PRIMARY KEY (run=? AND tenant_no=? AND hash=? AND id>? AND id<?)",
    ),
    "list by recipient: which runs": (
        reading.LIST_RECIPIENT.runs.text,
        "k USING INDEX run_asked (last>? AND last<?)",
    ),
    "list by recipient: in any run": (
        reading.LIST_RECIPIENT.any_run,
        "r USING PRIMARY KEY (run=? AND tenant_no=? AND hash=? AND id>? AND id<?)",
    ),
    "list by recipient: any old": (
        reading.LIST_RECIPIENT.any_old,
        "m USING INDEX message_recipient (tenant_no=? AND recipient_hash=?)",
    ),
    "list by recipient: old": (
        reading.LIST_RECIPIENT.old.text,
        "m USING INDEX message_recipient (tenant_no=? AND recipient_hash=? AND id>? AND id<?)",
    ),
    "hashed: page": (
        indexing.PAGE.text,
        "m USING COVERING INDEX message_block (block=? AND tenant_no=? AND recipient_hash>?",
    ),
    "hashed: old page": (indexing.PAGE.old.text, "m USING INDEX message_recipient (tenant_no=?"),
    "block: newest": (blocks.NEWEST, "block"),
    "block: filled": (blocks.FILLED, "message USING COVERING INDEX message_block (block=?)"),
    "block: of a message": (blocks.OF_MESSAGE, _MESSAGE_KEY),
    "block: open": (blocks.OPEN, "block USING COVERING INDEX sqlite_autoindex_block_1 (from_id<?)"),
    "runs: up to which block": (runs.MERGED, "run USING COVERING INDEX run_asked"),
    "runs: full blocks": (runs.FULL, "block USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "runs: a stretch of a block": (
        runs.IN_BLOCK,
        "m USING COVERING INDEX message_block (block=? AND (tenant_no,recipient_hash,id)>(?,?,?))",
    ),
    "runs: a stretch of a run": (runs.IN_RUN, "m USING PRIMARY KEY (run=? AND (tenant_no,hash,id)>(?,?,?))"),
    "runs: delete": (runs.DELETE, "recipient USING PRIMARY KEY (run=? AND (tenant_no,hash,id)<(?,?,?))"),
    "block: of an id": (blocks.OF_ID, "block USING COVERING INDEX sqlite_autoindex_block_1 (from_id<?)"),
    "events": (reading.EVENTS.text, "e USING PRIMARY KEY (tenant_no=? AND seq>?)"),
    "events: messages": (reading.EVENTS.text, _M_KEY),
    "events: inbound": (reading.INBOUND_PARTS.text, "p USING PRIMARY KEY (tenant_no=? AND id=?)"),
    "bounds": (reading.BOUNDS, "event USING PRIMARY KEY (tenant_no=?)"),
}


# Those that read a table or an index from end to end, or sort, and what bounds that.
_KEPT = "unmatched receipts are at most `kept_limit`"
_NOTED = "of each oddity the newest are kept"
_BLOCKS = "tenants are in the configuration, and a block is some thousand messages"
_HOLDS = "what operators hold back is bounded in number (gateway.store.engine.holding)"
SMALL = {
    "transaction.tenants.all": "tenants are in the configuration",
    "transaction.carriers.all": "carriers are in the configuration",
    "transaction.kept": _KEPT,
    "transaction.held": "parts that wait for others are at most `held_limit`",
    "claiming.soonest": "what the index has given, as far as the limit",
    "closing.purge_expired.0": "the key, from its old end, as far as the limit",
    "closing.purge_expired.1": "the key, from its old end, as far as the limit",
    "indexing.keys": "runs are some ten thousand keys each, and behind them there are those of a few",
    "holding.carriers": _HOLDS,
    "holding.number_carriers": _HOLDS,
    "holding.messages": _HOLDS,
    "holding.number_messages": _HOLDS,
    "holding.number_owners": _HOLDS,
    "keeping.oldest": "the index, from its old end, as far as the limit",
    "noting.noted": "the index, from its new end, as far as the limit",
    "reading.in_memory": "what is claimed is at most what lanes and windows hold",
    "reading.unmatched": _KEPT,
    "reading.counters": "a counter is named in the code",
    "reading.backlog": "the index alone, as far as the limit",
    "usage.sums": "tenants are in the configuration; of each the days that are asked for",
    "erasing.held": "parts that wait for others are at most `held_limit`",
    "erasing.kept": _KEPT,
    "erasing.noted": _NOTED,
    "erasing.erase_noted": _NOTED,
    "erasing.retiring": "keys go from there when they are destroyed",
    "indexing.first": _BLOCKS,
    "indexing.count": _BLOCKS,
    "indexing.all": "a row for each index key that there ever was",
    "retaining.marks": "a few for each tenant",
    "retaining.delete_inbound": "sorts the ids of one step",
}
_ROWS = re.compile(r"SCAN (v\b|CONSTANT ROW|\d+ CONSTANT ROWS|\d+-ROW VALUES CLAUSE|\(subquery-\d+\))")


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


def _text(statement: Any) -> str:
    if isinstance(statement, Write):
        return statement.text(20)
    return statement.sized(20) if isinstance(statement, Lookup) else str(statement.text)


def _costly(plan: list[str]) -> list[str]:
    return [step for step in plan if (step.startswith("SCAN") and not _ROWS.match(step)) or "TEMP B-TREE" in step]


@pytest.mark.parametrize("name", every(STATEMENTS))
def test_no_statement_grows_with_the_table(db: apsw.Connection, name: str) -> None:
    """It reads no table from end to end and sorts nothing, but for those that stay small."""
    costly = _costly(_plan(db, _text(every(STATEMENTS)[name])))
    assert bool(costly) == (name in SMALL), costly


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        (runs.COPY_BLOCKS, "m USING COVERING INDEX message_block (block=? AND"),
        (runs.COPY_RUNS, "m USING PRIMARY KEY (run=? AND"),
    ],
)
def test_a_step_of_merging_reads_its_stretch_alone(db: apsw.Connection, statement: str, wanted: str) -> None:
    """Between two entries in each of what is merged; that is sorted."""
    entry = "(tenant_no,recipient_hash,id)" if "block" in wanted else "(tenant_no,hash,id)"
    plan = _plan(db, statement)
    assert f"SEARCH {wanted} {entry}>(?,?,?) AND {entry}<(?,?,?))" in plan
    assert _costly(plan) == ["USE TEMP B-TREE FOR ORDER BY"]


_TRIGGERS = ("block_empty", "recipient_gone", "recipient_changed", "key_entry_gone")


def _triggered(db: apsw.Connection, name: str) -> list[str]:
    """Return the statements of a trigger, with what it takes from the row as parameters."""
    ((text,),) = db.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?", (name,)).fetchall()
    body = str(text).partition("BEGIN")[2].rpartition("END")[0]
    return [re.sub(r"\b(OLD|NEW)\.\w+", "?", one) for one in body.split(";") if one.strip()]


@pytest.mark.parametrize("name", _TRIGGERS)
def test_what_follows_from_a_change_goes_through_keys(db: apsw.Connection, name: str) -> None:
    """The plan of a statement does not tell those of its triggers: each reads no table from end to end."""
    for statement in _triggered(db, name):
        assert not _costly(_plan(db, statement)), statement


def test_all_triggers_are_known(db: apsw.Connection) -> None:
    """One that is added to messages or keys is looked at above."""
    found = db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN ('message', 'key_record')"
    ).fetchall()
    assert {name for (name,) in found} == set(_TRIGGERS)


def test_a_report_reads_the_days_that_are_asked_for(db: apsw.Connection) -> None:
    """The usage of a tenant is a range of its key."""
    wanted = "SEARCH u USING PRIMARY KEY (tenant_no=? AND day>? AND day<?)"
    assert wanted in _plan(db, usage.SUMS.text)


def test_the_backlog_is_read_from_the_index(db: apsw.Connection) -> None:
    """Counting who waits opens no row of a message."""
    wanted = "SEARCH message USING COVERING INDEX message_queue (queue=?)"
    assert wanted in _plan(db, reading.BACKLOG.text)


def test_the_last_numbers_are_read_from_the_ends(db: apsw.Connection) -> None:
    """What a transaction counts on from after a start, or a failed commit, costs the same at any size."""
    for statement in (transaction._LAST_SEQ, transaction._LAST_AUDIT_SEQ):
        assert set(_costly(_plan(db, statement))) <= {"SCAN tenant"}


def test_the_plan_check_finds_a_scan(db: apsw.Connection) -> None:
    """A query without an index would be seen."""
    steps = ["SCAN message", "USE TEMP B-TREE FOR ORDER BY"]
    assert _plan(db, "SELECT id FROM message WHERE due_at < 5 ORDER BY segments") == steps == _costly(steps)


def test_sending_touches_no_index(db: apsw.Connection) -> None:
    """The step to SENDING, which every message takes, opens no index for writing: only the table's own tree."""
    statement = claiming.SEND.text(20)
    opened = [row[3] for row in db.execute(f"EXPLAIN {statement}", _unset(statement)) if row[1] == "OpenWrite"]
    ((root,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message'").fetchall()
    assert opened == [root]
