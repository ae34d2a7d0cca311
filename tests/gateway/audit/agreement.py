"""Does the audit say what happened? Its records against the events, and each message's way through its states."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import apsw

from gateway.audit.codec import decode, split
from gateway.audit.records import (
    InboundReceived,
    MessageAccepted,
    MessagesRouted,
    MessagesSending,
    MessageStored,
    Record,
    StateChanged,
)
from gateway.states import State, may_follow
from gateway.store.contract import AuditCommit, EventRow, Store
from gateway.store.engine.auditing import read_commits
from gateway.store.engine.database import View
from gateway.store.engine.reading import read_events
from gateway.store.engine.usage import read_usage
from gateway.store.sqlite.statements import STATEMENTS
from tests.gateway.store.usage_agreement import EACH, EVER, told_by_usage
from tests.gateway.store.usage_agreement import told_by_events as told_by_events_of_all

# What an event and its record both say: message, time, state, carrier, reason, SMPP status.
Told = tuple[bytes, int, int, str, str, int | None]


async def records_of(store: Store) -> list[Record]:
    """Return all records, in order; the commits are numbered from 1 without a gap, and hold what they say."""
    commits: list[AuditCommit] = []
    while page := await store.audit_read(commits[-1].seq if commits else 0, 1000):
        commits += page
    assert await store.audit_bounds() == (0, len(commits))
    return _records(commits)


def _records(commits: Sequence[AuditCommit]) -> list[Record]:
    assert [commit.seq for commit in commits] == list(range(1, len(commits) + 1))
    records: list[Record] = []
    for commit in commits:
        found = [decode(octets) for octets in split(commit.records)]
        assert len(found) == commit.number > 0
        records += found
    return records


def told_by_events(events: Iterable[EventRow]) -> list[Told]:
    """Return what events tell."""
    return [
        (event.message_id, event.at, event.state, event.carrier, event.reason_code, event.smpp_status)
        for event in events
    ]


def told_by_records(records: Iterable[Record], tenant: str) -> list[Told]:
    """Return what the events of a tenant must be, by the records."""
    told: list[Told] = []
    for record in records:
        if isinstance(record, MessageStored) and record.tenant == tenant:
            told.append((record.message_id, record.at, State.ACCEPTED, "", "", None))
        elif isinstance(record, InboundReceived) and record.tenant == tenant:
            told.append((record.inbound_id, record.at, 0, record.carrier, "", None))
        elif isinstance(record, StateChanged) and record.tenant == tenant and record.state != State.ACCEPTED:
            change = (record.state, record.carrier, record.reason, record.smpp_status)
            told.append((record.message_id, record.at, *change))
    return told


def last_states(records: Iterable[Record]) -> dict[tuple[str, bytes], int]:
    """Return where each message stands by the records alone; each step begins where the one before it ended."""
    states: dict[tuple[str, bytes], int] = {}
    ids: set[bytes] = set()
    for record in records:
        if isinstance(record, MessageStored):
            assert record.message_id not in ids
            ids.add(record.message_id)
            states[record.tenant, record.message_id] = State.ACCEPTED
        elif isinstance(record, MessageAccepted):
            # Keys are hashed with their tenant; where a test shares one among tenants, the first one has the message.
            assert record.replayed
            assert record.message_id in ids
        elif isinstance(record, MessagesSending | MessagesRouted):
            for message_id in record.message_ids:
                _step(states, (record.tenant, message_id), None, State.SENDING)
        elif isinstance(record, StateChanged):
            _step(states, (record.tenant, record.message_id), record.before, record.state)
    return states


def _step(states: dict[tuple[str, bytes], int], key: tuple[str, bytes], before: int | None, state: int) -> None:
    assert before in (None, states[key])
    assert may_follow(State(states[key]), State(state))
    states[key] = state


def check(events: Mapping[str, Sequence[EventRow]], records: Sequence[Record]) -> dict[tuple[str, bytes], int]:
    """Hold the events of all tenants against the records, in order; returns the last state of each message."""
    for tenant, rows in events.items():
        assert told_by_records(records, tenant) == told_by_events(rows)
    return last_states(records)


def check_database(path: Path) -> dict[str, int]:
    """Hold a whole database against its audit; how many events, records and messages it has."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        commits: list[AuditCommit] = []
        while page := read_commits(View(db, STATEMENTS), commits[-1].seq if commits else 0, 1000):
            commits += page
        records = _records(commits)
        events = {str(name): _events(db, str(name)) for (name,) in db.execute("SELECT name FROM tenant").fetchall()}
        states = check(events, records)
        select = "SELECT t.name, m.id, m.state FROM message AS m JOIN tenant AS t ON t.no = m.tenant_no"
        stored = {(name, id_): state for name, id_, state in db.execute(select).fetchall()}
        assert states == stored
        assert told_by_usage(read_usage(View(db, STATEMENTS), EVER, EACH)) == told_by_events_of_all(events)
        return {"events": sum(map(len, events.values())), "records": len(records), "messages": len(states)}
    finally:
        db.close()


def commits_in(path: Path) -> list[AuditCommit]:
    """Return all commits of a database that no node has open."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        commits: list[AuditCommit] = []
        while page := read_commits(View(db, STATEMENTS), commits[-1].seq if commits else 0, 1000):
            commits += page
        return commits
    finally:
        db.close()


def _events(db: apsw.Connection, tenant: str) -> list[EventRow]:
    events: list[EventRow] = []
    while page := read_events(View(db, STATEMENTS), tenant, events[-1].seq if events else 0, 2000):
        events += page
    return events


def by_kind(records: Iterable[Record]) -> dict[type[Record], list[Record]]:
    """Return records by their type."""
    found: dict[type[Record], list[Record]] = defaultdict(list)
    for record in records:
        found[type(record)].append(record)
    return found
