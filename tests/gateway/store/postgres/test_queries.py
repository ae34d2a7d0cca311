"""Query plans: each statement goes through a key or an index, on tables with rows in them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.store.engine.statements import Value
from gateway.store.postgres import claiming, reading, schema, transaction
from gateway.store.postgres.bulk import Lookup, Plain, Write
from gateway.store.postgres.session import Session
from gateway.store.postgres.statements import STATEMENTS
from gateway.store.postgres.target import Deadlines, open_session
from tests.gateway.store.all_statements import every
from tests.postgres.server import shared

_ROWS = 20_000
_FILL = f"""
INSERT INTO tenant (name) SELECT 'tenant-' || n FROM generate_series(1, 5) AS n;
INSERT INTO message (tenant_no, id, due_at, expires_at, state, queue, category, attempts, carrier_no, segments,
    recipient_hash, part_states, carrier_ids, reason_code, reason_text, network_error)
    SELECT n % 5 + 1, decode(md5(n::text), 'hex'), n, n + 100, CASE WHEN n % 10 = 0 THEN 1 ELSE 4 END,
    CASE WHEN n % 10 = 0 THEN 11 + n % 3 WHEN n % 97 = 0 THEN 40 END, 1 + n % 3, 0, 0, 1, decode(md5(n::text), 'hex'),
    '', '', '', '', '' FROM generate_series(1, {_ROWS}) AS n;
INSERT INTO body SELECT tenant_no, id, 1, 1, 'ACME', '+49', 'owner', 'DE', '', '' FROM message;
INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no)
    SELECT tenant_no, due_at, 1, id, 1, 0 FROM message;
INSERT INTO carrier_ref SELECT 0, due_at::text, tenant_no, id, 0 FROM message;
INSERT INTO carrier_ref_older SELECT 0, due_at::text, tenant_no, id, 0 FROM message;
INSERT INTO idempotency (key_hash, content_hash, tenant_no, message_id, created_at, expires_at)
    SELECT id, id, tenant_no, id, 1, due_at FROM message;
INSERT INTO kept_receipt
    (carrier_no, carrier_id, part_state, stat, recipient_hash, at, network_error, parts_rule, sent_by)
    SELECT 0, due_at::text, 'D', 'x', '', due_at, '', 0, 0 FROM message;
INSERT INTO noted_receipt SELECT 1, due_at, due_at, 0, 'x', 1, id, '', '', NULL FROM message;
INSERT INTO inbound_held SELECT tenant_no, id, 1, '', due_at FROM message;
INSERT INTO inbound_seen SELECT id, due_at FROM message;
INSERT INTO inbound_part SELECT tenant_no, id, 1, '' FROM message;
INSERT INTO usage SELECT n % 5 + 1, n / 5, 1, 'DE', 0, '', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
    FROM generate_series(1, {_ROWS}) AS n;
"""  # noqa: S608 - a constant
# A message has four events, as a rule: it matters to what the server guesses.
_MORE_EVENTS = f"""
INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no)
    SELECT tenant_no, due_at + n * {_ROWS}, 1, id, 1, 0 FROM message, generate_series(1, 3) AS n;
"""  # noqa: S608 - a constant
_BIG = frozenset(
    [
        "message",
        "body",
        "event",
        "carrier_ref",
        "carrier_ref_older",
        "idempotency",
        "kept_receipt",
        "noted_receipt",
        "inbound_held",
        "inbound_seen",
        "inbound_part",
        "audit_commit",
        "usage",
    ]
)
PLANS: dict[str, Write | Lookup | Plain] = {**every(STATEMENTS), "events: write": transaction.PLAIN_EVENTS}


@contextlib.contextmanager
def _filled() -> Iterator[Session]:
    """Give a session with a database that has rows in all tables, and no statistics."""
    with shared().database() as name:
        opened = open_session(shared().target(name), Deadlines(), reads=False)
        schema.migrate(opened, name, schema.migrations())
        opened.script("".join(f"ALTER TABLE {table} SET (autovacuum_enabled = off);" for table in sorted(_BIG)))
        opened.script(_FILL)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """Give a session with a database whose statistics are as they should be."""
    with _filled() as opened:
        opened.script("ANALYZE")
        yield opened


@pytest.fixture(scope="module")
def unknown() -> Iterator[Session]:
    """Give a session with a database of which the server has no statistics: it is new, or crashes again and again."""
    with _filled() as opened:
        opened.script(_MORE_EVENTS)
        yield opened


def _bindings(statement: Write | Lookup | Plain, session: Session, limit: int = 20) -> list[Any]:
    """Return values for a statement: those the server would take as any. `limit`: what numbers are."""
    if isinstance(statement, Plain):
        numbers = [int(number) for number in re.findall(r"\$(\d+)", statement.text)]
        session.connection.pgconn.prepare(b"", statement.text.encode())
        types = session.connection.pgconn.describe_prepared(b"")
        samples: dict[int, Value] = {20: limit, 21: limit, 23: limit, 25: "1", 17: b"\x01" * 16}
        return [samples[types.param_type(number)] for number in range(max(numbers, default=0))]
    samples_of: dict[str, Value] = {"_Bigints": 1, "_Byteas": b"\x01" * 16, "_Texts": "1"}
    row = tuple(samples_of[kind.__name__] for kind, _ in statement._packers)
    return list(statement.bindings([row] * 20))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _plan(session: Session, statement: Write | Lookup | Plain, limit: int = 20) -> list[dict[str, Any]]:
    bindings = _bindings(statement, session, limit)
    ((found,),) = session.fetch(f"EXPLAIN (FORMAT JSON) {statement.text}", bindings)
    plans = json.loads(found) if isinstance(found, str) else found
    return list(_nodes(plans[0]["Plan"]))


# Those that read a large table, or its index, from an end or as a whole, and what bounds that.
_READING = {
    "transaction.kept": "unmatched receipts are at most `kept_limit`",
    "transaction.held": "parts that wait for others are at most `held_limit`",
    "auditing.bounds": "the key, from its ends, one row each",
    "closing.purge_expired.0": "the key, from its old end, as far as the limit",
    "keeping.oldest": "the index, from its old end, as far as the limit",
    "noting.noted": "the index, from its new end, as far as the limit",
    "reading.unmatched": "unmatched receipts are at most `kept_limit`",
    "erasing.held": "parts that wait for others are at most `held_limit`",
    "erasing.kept": "unmatched receipts are at most `kept_limit`",
    "erasing.noted": "of each oddity the newest are kept",
    "erasing.erase_noted": "of each oddity the newest are kept",
}
# Those that sort, and how much.
_SORTING = {
    "retaining.delete_inbound": "the ids of one step",
    "accepting.keys": "the rows of the batch",
    "receiving.older": "what one id has led to: at most nine",
    "reading.inbound_parts": "what one look-up finds",
    "reading.in_memory": "what is claimed: at most what lanes and windows hold",
    "usage.sums": "the days of a report",
    "reading.backlog": "the tenants that it finds",
    "usage.add": "the rows of the commit",
    "holding.messages": "what operators hold back: bounded in number",
    "indexing.first": "one hash of each tenant",
}

# Those that take long ways as long as there are no statistics, or begin at an end of what a tenant has.
_GUESSING = {
    "retaining.refs": "work in the background, a step at a time",
    "indexing.count": "work in the background, a step at a time",
    "indexing.oldest_part": "the key, from its old end, one row",
    "inbound.oldest_group": "the key, from its old end, one row",
    "reading.bounds": "the key, from its ends, one row each",
    "retaining.events": "the key, from its old end, as far as the limit",
}
_WHOLE_TENANT = re.compile(r"\(tenant_no = [^()]*(\([^()]*\)[^()]*)*\)")


def _scans(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes that read a large table, or its index, from end to end."""
    return [
        node for node in nodes if node.get("Relation Name") in _BIG and not {"Index Cond", "Recheck Cond"} & node.keys()
    ]


@pytest.mark.parametrize("name", PLANS)
def test_plan(session: Session, name: str) -> None:
    """No statement reads a table that grows from end to end, or sorts it."""
    nodes = _plan(session, PLANS[name])
    written = [node for node in nodes if node["Node Type"] not in {"ModifyTable", "LockRows"}]
    assert name in _READING or not _scans(written), nodes
    assert name in _SORTING or not [node for node in nodes if node["Node Type"] == "Sort"], nodes


@pytest.mark.parametrize("name", PLANS)
def test_plan_without_statistics(unknown: Session, name: str) -> None:
    """Nor where the server has to guess how many rows there are; and it goes through no tenant's messages for each row
    of something else."""
    nodes = _plan(unknown, PLANS[name], limit=500)
    read = [node for node in nodes if node["Node Type"] not in {"ModifyTable", "LockRows"}]
    assert name in {*_READING, *_GUESSING} or not _scans(read), nodes
    assert not [node for node in nodes if node["Node Type"] == "Materialize"], nodes
    assert name in _GUESSING or not [node for node in nodes if _WHOLE_TENANT.fullmatch(node.get("Index Cond", ""))], (
        nodes
    )


def test_the_backlog_is_read_from_the_index(session: Session) -> None:
    """Counting who waits opens no row of a message that is seen by all."""
    session.script("VACUUM message")
    nodes = _plan(session, reading.BACKLOG)
    (read,) = [node for node in nodes if node.get("Relation Name") == "message"]
    assert (read["Node Type"], read["Index Name"]) == ("Index Only Scan", "message_queue")


def test_the_plan_check_finds_a_scan(session: Session) -> None:
    """A query without an index would be seen."""
    nodes = _plan(session, Plain("SELECT id FROM message WHERE segments = 5"))
    assert _scans(nodes) == nodes


def test_sending_touches_no_index(session: Session) -> None:
    """The step to SENDING, which every message takes, is written on the message's own page: no index changes."""
    session.script("BEGIN")
    rows = session.fetch("SELECT tenant_no, id FROM message WHERE queue = 11 ORDER BY due_at LIMIT 50")
    claiming.SEND.run(session, [(tenant_no, id_, 0, 1, "") for tenant_no, id_ in rows])
    counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'message'"
    ((updated, hot),) = session.fetch(counts)
    session.script("ROLLBACK")
    assert updated == len(rows) == 50
    assert hot == updated
