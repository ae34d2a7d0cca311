"""The contract: any order of steps does what the model in memory does, restarts included."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.states import Category, PartsRule, State
from gateway.store.contract import ListFilter, MessageRow, NewMessage, Queue, Settlement, Store, waiting_queue
from gateway.store.postgres import PostgresStore
from gateway.store.receipts import ANY_TIME, UNKNOWN_STAT, NewReceipt, Source
from gateway.store.sqlite import SqliteStore
from gateway.store.usage import Bill, By
from tests.gateway.audit.agreement import check, records_of
from tests.gateway.store.model import Model
from tests.gateway.store.samples import HOUR, NOW, SECOND, digest, key, learned, message, receipt, sending, submitted
from tests.gateway.store.usage_agreement import EACH, EVER, told_by_events, told_by_usage
from tests.postgres.server import shared

TENANTS = ("acme", "other")
CARRIERS = ("one", "two")
IDS = ("a", "b", "c", "d")
RESEND = frozenset({Category.OTP, Category.TRANSACTIONAL})

_news = st.builds(
    lambda tenant, category, claimed, validity, recipient, name, content, segments, reserved: message(
        tenant=tenant,
        category=category,
        claimed=claimed,
        expires_at=NOW + validity * SECOND,
        recipient_hash=digest(recipient),
        idempotency=key(name, content, expires_at=NOW + 20 * SECOND) if name else None,
        segments=segments,
        reserved=reserved,
    ),
    st.sampled_from(TENANTS),
    st.sampled_from(Category),
    st.booleans(),
    st.sampled_from((5, 30, 3600)),
    st.sampled_from("pq"),
    st.sampled_from(("", "", "k", "l")),
    st.sampled_from(("x", "y")),
    st.integers(1, 3),
    st.sampled_from((0, 1000)),
)
_receipts = st.builds(
    receipt,
    st.sampled_from(IDS),
    st.sampled_from(("D", "D", "U", "E", "", UNKNOWN_STAT)),
    carrier=st.sampled_from(CARRIERS),
    recipient_hash=st.sampled_from((b"", digest("p"), digest("q"))),
    operator_done_at=st.sampled_from((None, NOW)),
    parts_rule=st.sampled_from(PartsRule),
    sent_by=st.sampled_from((ANY_TIME, ANY_TIME, NOW + 10 * SECOND, -1)),
)


class Comparison(RuleBasedStateMachine):
    """Does everything twice."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.known: list[NewMessage] = []
        self.now = NOW
        self._runner = asyncio.Runner()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.store: Store

    def _open(self) -> None:
        # Not in __init__: Hypothesis also makes machines that it never runs or tears down.
        new = self._folder is None
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory()
        self.store = self._make(Path(self._folder.name), new)
        self._runner.run(self.store.open())

    def _make(self, folder: Path, new: bool) -> Store:
        """Return a store, on a new database or on that of before."""
        del new  # the folder is
        return SqliteStore(folder / "smsgw.db", receipt_grace=HOUR)

    def teardown(self) -> None:
        """Close everything."""
        if self._folder is not None:
            try:
                self._compare_audit()
            finally:
                self._runner.run(self.store.close())
                self._folder.cleanup()
        self._runner.close()

    def _compare_audit(self) -> None:
        """The audit tells the same as the events, and leads each message to the state that it has."""
        events = {tenant: self._runner.run(self.store.events(tenant, 0, 100_000)) for tenant in TENANTS}
        states = check(events, self._runner.run(records_of(self.store)))
        assert states == {key: record.state for key, record in self.model.messages.items()}
        rows = self._runner.run(self.store.usage(EVER, EACH))
        assert told_by_usage(rows) == told_by_events(events)

    def _some(self, data: st.DataObject, most: int = 6) -> list[NewMessage]:
        return data.draw(st.lists(st.sampled_from(self.known), min_size=1, max_size=most))

    def _tick(self) -> int:
        self.now += SECOND
        return self.now

    @initialize(batch=st.lists(_news, min_size=3, max_size=8))
    def start(self, batch: list[NewMessage]) -> None:
        """Begin with some messages."""
        self._open()
        self.accept(batch)

    @rule(batch=st.lists(_news, min_size=1, max_size=5))
    def accept(self, batch: list[NewMessage]) -> None:
        """Accept messages, some with keys that are in use."""
        now = self._tick()
        # An example may be used twice: each message needs an id of its own.
        # Times differ: which of two that are due at the same time goes first is up to the engine.
        batch = [
            new._replace(accepted_at=now, due_at=now + number, id=message().id) for number, new in enumerate(batch)
        ]
        self.known += batch
        expected = [self.model.accept(new) for new in batch]
        assert self._runner.run(self.store.accept(batch)) == expected

    @rule(category=st.sampled_from(Category), limit=st.integers(1, 4))
    def claim(self, category: Category, limit: int) -> None:
        """Claim what is due."""
        now = self._tick()
        expected = self.model.claim(category, limit, now)
        assert [new.id for new in self._runner.run(self.store.claim(category, limit, now))] == expected

    @rule(data=st.data(), carrier=st.sampled_from(CARRIERS))
    def send(self, data: st.DataObject, carrier: str) -> None:
        """Commit messages to a carrier."""
        batch = [sending(new, carrier=carrier, at=self._tick()) for new in self._some(data)]
        expected = [self.model.sending(step) for step in batch]
        assert self._runner.run(self.store.sending(batch)) == expected

    def _settlement(self, data: st.DataObject, new: NewMessage) -> Settlement:
        record = self.model.messages.get((new.tenant, new.id))
        carrier = record.carrier if record and record.carrier else CARRIERS[0]
        at = self._tick()
        state = data.draw(st.sampled_from((State.SUBMITTED, State.UNKNOWN, State.ACCEPTED, State.REJECTED)))
        ids = data.draw(st.lists(st.sampled_from(IDS), min_size=new.segments, max_size=new.segments))
        if state is not State.SUBMITTED:
            ids = [carrier_id if data.draw(st.booleans()) else "" for carrier_id in ids]
        reserved = record.reserved if record else 0
        queue: int | None = Queue.AWAITING
        if state is State.REJECTED:
            queue = None
        elif state is not State.SUBMITTED:
            queue = waiting_queue(new.category)
        return submitted(
            new,
            "\n".join(ids),
            state=state,
            at=at,
            carrier=carrier,
            part_states="".join("S" if carrier_id else "-" for carrier_id in ids),
            queue=queue,
            due_at=at + 9 * SECOND if queue == Queue.AWAITING else at,
            reason_code="" if state is State.SUBMITTED else "SOMETHING",
            cause="a.cause",
            bill=Bill(new.category, new.country, reserved, 7) if data.draw(st.booleans()) else None,
            parts_rule=data.draw(st.sampled_from(PartsRule)),
            only_from=data.draw(st.sampled_from((0, 0, State.UNKNOWN))),
        )

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Settle messages one call each: of a call with several, kept receipts are applied after all of them."""
        for new in self._some(data, most=3):
            settlement = self._settlement(data, new)
            expected = self.model.settle(settlement)
            assert self._runner.run(self.store.settle([settlement])) == [expected]

    @rule(batch=st.lists(_receipts, min_size=1, max_size=6), refusals=st.sampled_from((0, 0, 2)))
    def receive(self, batch: list[NewReceipt], refusals: int) -> None:
        """Apply receipts. A carrier's are refused or not: within one call all are."""
        batch = [new._replace(at=self._tick(), refusals=refusals) for new in batch]
        expected = [self.model.receipt(new) for new in batch]
        assert self._runner.run(self.store.receipts(batch)) == expected

    @rule(data=st.data(), parts=st.sets(st.integers(0, 2), min_size=1), carrier=st.sampled_from(CARRIERS))
    def learn(self, data: st.DataObject, parts: set[int], carrier: str) -> None:
        """Take what carriers said when they were asked."""
        source, part_state = data.draw(
            st.sampled_from(((Source.CANCEL, "C"), (Source.QUERY, "D"), (Source.QUERY, "U"), (Source.QUERY, "")))
        )
        rule_ = data.draw(st.sampled_from(PartsRule))
        batch = [
            learned(new, sorted(parts), part_state, source=source, carrier=carrier, parts_rule=rule_, at=self._tick())
            for new in self._some(data, most=3)
        ]
        # Those about one message work together: the state of each is that after all of them.
        for new in batch:
            self.model.learned(new)
        records = [self.model.messages.get((new.tenant, new.message_id)) for new in batch]
        expected = [record.state if record else 0 for record in records]
        assert self._runner.run(self.store.learned(batch)) == expected

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a message."""
        (new,) = self._some(data, most=1)
        now = self._tick()
        expected = self.model.cancel((new.tenant, new.id), now)
        assert self._runner.run(self.store.cancel(new.tenant, new.id, now))[0] is expected

    @rule(later=st.sampled_from((0, 5, 40)))
    def close_due(self, later: int) -> None:
        """Let time pass, and end what is due."""
        self.now += later * SECOND
        now = self._tick()
        expected = self.model.close_due(now)
        assert self._runner.run(self.store.close_due(now, 1000)) == expected

    @rule()
    def restart(self) -> None:
        """Close, open again, recover."""
        self._runner.run(self.store.close())
        self._open()
        now = self._tick()
        expected = self.model.recover(now, RESEND, HOUR)
        assert self._runner.run(self.store.recover(now, RESEND)) == expected

    @invariant()
    @precondition(lambda self: self.known)
    def same_messages(self) -> None:
        """Each message stands as in the model."""
        expected = {
            key: (
                record.state,
                record.attempts,
                record.carrier,
                record.carrier_ids,
                record.parts,
                record.submitted_at,
                record.done_at,
                record.operator_done_at,
                record.reason,
            )
            for key, record in self.model.messages.items()
        }
        rows = [row for tenant in TENANTS for row in self._listed(tenant)]
        found = {
            (row.tenant, row.id): (
                row.state,
                row.attempts,
                row.carrier,
                row.carrier_ids,
                row.part_states,
                row.submitted_at,
                row.done_at,
                row.operator_done_at,
                row.reason_code,
            )
            for row in rows
        }
        assert found == expected

    @invariant()
    @precondition(lambda self: self.known)
    def same_evidence(self) -> None:
        """The same receipts are kept and noted."""
        noted = self._runner.run(self.store.noted(1000))
        expected = sorted((oddity, new.at, new.carrier, new.carrier_id) for oddity, new in self.model.noted)
        assert sorted((row.oddity, row.at, row.carrier, row.carrier_id) for row in noted) == expected
        unmatched = self._runner.run(self.store.unmatched(self.now + 1, 1000))
        refused = sorted(self.model.refused.values())
        kept = sorted((new.at, new.carrier, new.carrier_id, bool(new.recipient_hash)) for new in self.model.kept)
        assert sorted((row.at, row.carrier, row.carrier_id, row.addressed) for row in unmatched) == kept
        assert sorted(row.refused for row in unmatched) == refused

    @invariant()
    @precondition(lambda self: self.known)
    def same_costs(self) -> None:
        """Carriers have taken and cost the same, and as much is left of what was reserved."""
        rows = self._runner.run(self.store.usage(EVER, By(tenant=True, carrier=True)))
        for carrier in CARRIERS:
            mine = [row for row in rows if row.carrier == carrier]
            assert sum(row.submitted_segments for row in mine) == self.model.taken[carrier]
            assert sum(row.spent for row in mine) == self.model.spent[carrier]
        for tenant in TENANTS:
            mine = [row for row in rows if row.tenant == tenant]
            assert sum(row.committed for row in mine) == self.model.committed[tenant]
            assert sum(row.released for row in mine) == self.model.released[tenant]

    def _listed(self, tenant: str) -> list[MessageRow]:
        return self._runner.run(self.store.list_messages(tenant, ListFilter((), ()), None, 1000))

    @invariant()
    @precondition(lambda self: self.known)
    def same_events(self) -> None:
        """Each tenant is told the same, in the order of what happened to each message."""
        for tenant in TENANTS:
            events = self._runner.run(self.store.events(tenant, 0, 10_000))
            for new in self.known:
                told = [state for name, id_, state in self.model.events if (name, id_) == (tenant, new.id)]
                assert [event.state for event in events if event.message_id == new.id] == told

    @invariant()
    @precondition(lambda self: self.known)
    def same_counts(self) -> None:
        """Queues and counters are of the same size."""
        counts = self._runner.run(self.store.counts())
        queues = Counter(record.queue for record in self.model.messages.values())
        assert {queue: counts[f"queue.{queue.name}"] for queue in Queue} == {queue: queues[queue] for queue in Queue}
        assert counts.pop("receipts.unmatched") == len(self.model.kept)
        counted = {name: count for name, count in counts.items() if not name.startswith(("queue.", "oldest_due_at."))}
        assert counted == {name: count for name, count in self.model.counted.items() if count}


class PostgresComparison(Comparison):
    """The same on PostgreSQL."""

    def _make(self, folder: Path, new: bool) -> Store:
        server = shared()
        return PostgresStore(server.emptied() if new else server.target("postgres"), receipt_grace=HOUR)


TestComparison = Comparison.TestCase
TestComparison.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPostgresComparison = PostgresComparison.TestCase
TestPostgresComparison.settings = settings(
    max_examples=5, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
