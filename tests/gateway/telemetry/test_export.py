"""OTLP: over TLS that is verified on both sides, with certificates that change, and quiet when it fails."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from gateway.telemetry import export
from gateway.telemetry.export import Collector
from tests.certificates import TestAuthority
from tests.gateway.telemetry.receiver import collector_credentials, listening, otlp_settings

AUTHORITY = TestAuthority("example.org")
STRANGER = TestAuthority("example.org")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing between attempts."""
    monkeypatch.setattr(export, "_PAUSE_S", 0.01)


def send(collector: Collector, items: int = 3) -> bool:
    """Send a request without spans."""
    return collector.send("spans", items, TraceServiceStub, ExportTraceServiceRequest())


def test_mutual_tls(tmp_path: Path) -> None:
    """The collector sees who the node is, and the node counts what was taken."""
    with listening(collector_credentials(AUTHORITY)) as (receiver, port):
        collector = Collector(otlp_settings(tmp_path, AUTHORITY, port))
        assert send(collector)
        assert receiver.peers == ["spiffe://example.org/gateway"]
        assert collector.exported == {("spans", "exported"): 3}
        collector.close()


@pytest.mark.parametrize("change", ["ca_file", "server_name", "certificate_file", "plain"])
def test_nothing_goes_to_a_stranger(tmp_path: Path, change: str) -> None:
    """Other roots, another name, a certificate that the collector does not know, plain text: nothing is sent."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    theirs = otlp_settings(stranger, STRANGER, 1)
    variants: dict[str, dict[str, Any]] = {
        "ca_file": {"ca_file": theirs.ca_file},
        "server_name": {"server_name": "other.example.org"},
        "certificate_file": {"certificate_file": theirs.certificate_file, "key_file": theirs.key_file},
        "plain": {"insecure": True},
    }
    changes = variants[change]
    with listening(collector_credentials(AUTHORITY)) as (receiver, port):
        collector = Collector(otlp_settings(tmp_path, AUTHORITY, port, **changes))
        assert not send(collector)
        assert receiver.calls == 0
        assert collector.exported == {("spans", "failed"): 3}
        collector.close()


def test_new_certificates_are_taken_up(tmp_path: Path) -> None:
    """After the node's SVID was renewed by another authority, the next batch goes with the new one."""
    with listening(collector_credentials(AUTHORITY, clients=STRANGER)) as (receiver, port):
        collector = Collector(otlp_settings(tmp_path, AUTHORITY, port))
        assert not send(collector)
        STRANGER.svid("/gateway").write(tmp_path, "node")
        assert send(collector)
        assert receiver.calls == 1
        collector.close()


def test_a_missing_file_is_a_failure_and_no_error(tmp_path: Path) -> None:
    """A file that is gone costs a batch, and the next one is tried again."""
    with listening(collector_credentials(AUTHORITY)) as (_, port):
        settings = otlp_settings(tmp_path, AUTHORITY, port)
        assert settings.ca_file is not None
        settings.ca_file.rename(tmp_path / "away")
        collector = Collector(settings)
        assert not send(collector)
        (tmp_path / "away").rename(settings.ca_file)
        assert send(collector)
        collector.close()


@pytest.mark.parametrize(
    ("code", "attempts"), [(grpc.StatusCode.UNAVAILABLE, 3), (grpc.StatusCode.INVALID_ARGUMENT, 1)]
)
def test_what_may_pass_is_tried_again(tmp_path: Path, code: grpc.StatusCode, attempts: int) -> None:
    """A collector that is down for a moment gets another attempt, one that refuses does not."""
    with listening(collector_credentials(AUTHORITY)) as (receiver, port):
        receiver.failure = code
        collector = Collector(otlp_settings(tmp_path, AUTHORITY, port))
        assert not send(collector)
        assert receiver.calls == attempts
        collector.finish()
        assert not send(collector)
        assert receiver.calls == attempts + 1
        collector.close()


def test_failures_are_told_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first failure is logged, the others are counted until a minute has passed; no library logs beside it."""
    caplog.set_level(logging.WARNING)
    now = [1000.0]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = otlp_settings(tmp_path, AUTHORITY, nobody.getsockname()[1])
        collector = Collector(settings, clock=lambda: now[0])
        for _ in range(5):
            assert not send(collector)
        now[0] += 61.0
        assert not send(collector)
        collector.close()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in told] == ["telemetry_not_exported"] * 2
    assert [vars(record)["items"] for record in told] == [3, 15]
    assert vars(told[0])["why"].startswith("UNAVAILABLE")
    assert all(len(vars(record)["why"]) <= 200 for record in told)


def test_a_closed_collector_sends_nothing(tmp_path: Path) -> None:
    """After the end nothing is opened again."""
    with listening(collector_credentials(AUTHORITY)) as (receiver, port):
        collector = Collector(otlp_settings(tmp_path, AUTHORITY, port))
        collector.close()
        collector.close()
        assert not send(collector)
        assert receiver.calls == 0


def test_the_environment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the SDK's own exporters obey do not send our spans elsewhere, or in plain text."""
    with listening(collector_credentials(AUTHORITY)) as (receiver, port), listening(None) as (thief, other):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{other}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{other}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
        collector = Collector(otlp_settings(tmp_path, AUTHORITY, port))
        assert send(collector)
        assert (receiver.calls, thief.calls) == (1, 0)
        collector.close()
