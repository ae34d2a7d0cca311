"""The parts that come across a condition while they work: each raises its alert, and says when it is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import cedarpy
import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from gateway.api.telemetry import TelemetryGuard
from gateway.audit.journal import Journal
from gateway.audit.recorder import Recorder
from gateway.audit.records import AlertChanged
from gateway.errors import NotFound, StoreCorrupt, StoreUnavailable, Unavailable
from gateway.policy.engine import Engine
from gateway.policy.requests import Question
from gateway.sealing.data_keys import DataKeys, Use
from gateway.sealing.keyring import KeyringUnavailable
from gateway.sealing.openers import Openers
from gateway.sealing.providers import ProviderUnavailable
from gateway.store.sqlite import SqliteStore, schema
from gateway.telemetry.export import Collector
from gateway.telemetry.meters import Meters
from gateway.telemetry.tracing import Tracing
from tests.certificates import TestAuthority
from tests.gateway.audit.samples import AT, decision
from tests.gateway.audit.stores import MemoryStore
from tests.gateway.policy.sets import policies
from tests.gateway.sealing.boxes import MemoryKeyring, PlainProvider
from tests.gateway.store.samples import message
from tests.gateway.telemetry.receiver import collector_credentials, listening, otlp_settings
from visibility.alerts import Alert, Alerts
from visibility.catalogue import AUDIT_FAILING, CARRIER_DOWN, NODE

SECOND = 1_000_000
FULL = StoreUnavailable("the disk is full")


class Told:
    """Alerts under a clock that the test moves."""

    def __init__(self, *listeners: Callable[[Alert], None]) -> None:
        self.now = AT
        self.alerts = Alerts(NODE, lambda: self.now, listeners=listeners)

    @property
    def active(self) -> list[str]:
        """What is active, with labels."""
        return [" ".join((alert.kind.name, *alert.values)) for alert in self.alerts.active()]


async def test_decisions_that_cannot_be_recorded() -> None:
    """From the first that fails, to the first flush that does not."""
    told, store = Told(), MemoryStore()
    recorder = Recorder(store, alerts=told.alerts)
    store.failure = FULL
    with pytest.raises(Unavailable):
        await recorder.record([decision(at=AT, since=AT)])
    assert told.active == ["audit_failing decisions"]
    assert told.alerts.active()[0].why == "the disk is full"
    store.failure = None
    await recorder.finish()
    assert told.active == []


async def test_a_journal_that_cannot_be_written() -> None:
    """It raises, and notes that it did: the record of the alert comes when records come again."""
    store, told = MemoryStore(), Told()
    journal = Journal(store, "node-1", lambda: AT, alerts=told.alerts)
    told.alerts.listen(journal.alerted)
    store.failure = FULL
    await journal.stopped()
    assert told.active == ["audit_failing journal"]
    told.now += SECOND
    store.failure = None
    await journal.stopped()
    await journal.stopped()
    assert told.active == []
    assert [record for record in store.records if isinstance(record, AlertChanged)] == [
        AlertChanged(AT, "node-1", "audit_failing", "what=journal", True),
        AlertChanged(AT + SECOND, "node-1", "audit_failing", "what=journal", False),
    ]


async def test_only_security_is_on_record() -> None:
    """An alert about a carrier is no record."""
    store = MemoryStore()
    journal = Journal(store, "node-1", lambda: AT)
    told = Told(journal.alerted)
    told.alerts.raise_alert(AUDIT_FAILING, "decisions")
    for _ in range(2):
        told.alerts.raise_alert(CARRIER_DOWN, "acme")
        told.now += 60 * SECOND
    assert told.active == ["audit_failing decisions", "carrier_down acme"]
    await journal.stopped()
    assert [record.name for record in store.records if isinstance(record, AlertChanged)] == ["audit_failing"]


def test_keys_that_cannot_be_made_or_opened() -> None:
    """A keyring or a provider that is away raises, and the next key that is made or opened resolves."""
    told, keyring, provider = Told(), MemoryKeyring(), PlainProvider()
    keys = DataKeys(node="n", provider=provider, keyring=keyring, alerts=told.alerts)
    openers = Openers(provider=provider, keyring=keyring, alerts=told.alerts)
    keyring.failure = KeyringUnavailable("the folder is away")
    with pytest.raises(Unavailable):
        keys.make([Use("acme", "content")])
    assert told.active == ["keys_failing making"]
    keyring.failure = None
    spares = keys.make([Use("acme", "content")])
    assert told.active == []
    provider.failure = ProviderUnavailable("the provider is away")
    with pytest.raises(Unavailable):
        openers.get(spares[Use("acme", "content")].key_id)
    assert told.active == ["keys_failing opening"]
    provider.failure = None
    openers.get(spares[Use("acme", "content")].key_id)
    assert told.active == []


@pytest.mark.parametrize("breaks", [True, False])
def test_policies_that_cannot_be_evaluated(monkeypatch: pytest.MonkeyPatch, breaks: bool) -> None:
    """An engine that breaks, and a policy that errs, are an alert until ten minutes after the last time."""
    told = Told()
    overflow = "context.minute + 9223372036854775807 > 0"
    text = f'@id("boom") permit(principal, action, resource) when {{ {overflow} }};'
    engine = Engine(policies(text), alerts=told.alerts)
    if breaks:
        monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: 1 / 0)
    engine.decide(Question("SendOtp", "spiffe://example.org/a", "acme", sender="A", category=1, country="DE", minute=1))
    assert told.active == ["policy_failing"]
    assert told.alerts.active()[0].why == f"SendOtp: {'ZeroDivisionError' if breaks else 'boom'}"
    told.now += 600 * SECOND
    told.alerts.look()
    assert told.active == []


async def test_a_database_that_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is refused raises, and the next one that is on disk resolves."""
    monkeypatch.setattr(schema, "_BUSY_MS", 20)
    told, path = Told(), tmp_path / "smsgw.db"
    store = SqliteStore(path)
    store.alert(told.alerts)
    await store.open()
    try:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await store.accept([message()])
        assert told.active == ["store_failing"]
        assert "holds it locked" in told.alerts.active()[0].why
        other.execute("ROLLBACK")
        other.close()
        await store.accept([message()])
        assert told.active == []
    finally:
        await store.close()


def test_a_collector_that_is_away(tmp_path: Path) -> None:
    """Two minutes of failures are a ticket for their signal; what is exported ends it."""
    told, authority = Told(), TestAuthority("example.org")
    with listening(collector_credentials(authority)) as (receiver, port):
        collector = Collector(otlp_settings(tmp_path, authority, port), alerts=told.alerts)
        collector.finish()  # one attempt each
        receiver.failure = grpc.StatusCode.INVALID_ARGUMENT
        for _ in range(2):
            assert not collector.send("spans", 1, TraceServiceStub, ExportTraceServiceRequest())
            assert told.active == []
            told.now += 60 * SECOND
        assert not collector.send("spans", 1, TraceServiceStub, ExportTraceServiceRequest())
        assert told.active == ["telemetry_not_exported spans"]
        receiver.failure = None
        assert collector.send("spans", 1, TraceServiceStub, ExportTraceServiceRequest())
        assert told.active == []
        collector.close()


@pytest.mark.parametrize(
    ("error", "active"),
    [
        (StoreCorrupt("a key is missing"), ["stored_data_corrupt"]),
        (RuntimeError("+4915112345678"), ["unexpected_error"]),
        (NotFound("no such message"), []),
        (None, []),
    ],
)
def test_answers_that_nobody_should_get(error: Exception | None, active: list[str]) -> None:
    """DATA_LOSS and INTERNAL are alerts, with the method and the class of the error, and nothing of its text."""
    told = Told()
    call: Any = SimpleNamespace(name="/smsgw.v1.MessageService/GetMessage", began=0.0, trace=None)
    TelemetryGuard(Tracing.off(), Meters(()), told.alerts).leave(call, error)
    assert told.active == active
    for alert in told.alerts.active():
        assert alert.why == f"/smsgw.v1.MessageService/GetMessage: {type(error).__name__}"
