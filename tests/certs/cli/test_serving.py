"""`smsgw ca serve`, as a process."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from certs.cli.serving import _until_told
from certs.svid import X509Svid
from certs.tls import server_name_option
from smsgw.v1 import certificate_service_pb2 as pb
from smsgw.v1 import certificate_service_pb2_grpc as rpc
from tests.certs.ca.requests import csr
from tests.certs.cli.conftest import done, run

SVIDS = """\
- spiffe_id: spiffe://example.org/gateway
  dns: gateway.example.org
  out: tls/gateway
- spiffe_id: spiffe://example.org/billing
  ttl: 5m
  out: tls/billing
"""


@contextmanager
def served(directory: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run `ca serve` as a process, and end it whatever happens."""
    program = [sys.executable, "-c", "from certs.cli import ca; ca()", "serve", "--json", "--dir", directory]
    process = subprocess.Popen(
        [str(word) for word in (*program, *arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"},
    )
    killer = threading.Timer(60, process.kill)  # bounds every wait of the tests
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


@pytest.fixture
def serving(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `ca serve` on a list of two."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    with served(directory, "--svids", path) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve(serving: subprocess.Popen[str], directory: Path, number: signal.Signals) -> None:
    """`ca serve` issues what is missing, says that it is ready, and ends with 0 when told to."""
    assert serving.stdout is not None
    said = [json.loads(serving.stdout.readline()) for _ in range(3)]
    assert [line["event"] for line in said] == ["issued", "issued", "ready"]
    assert said[2]["svids"] == 2
    for line, name in zip(said, ("gateway", "billing"), strict=False):
        svid = X509Svid.load(directory.parent / "tls" / f"{name}.pem", directory.parent / "tls" / f"{name}.key")
        assert (line["serial"], str(svid.spiffe_id)) == (svid.serial, f"spiffe://example.org/{name}")
    serving.send_signal(number)
    assert serving.wait(20) == 0


def test_signals_that_interrupt_each_other() -> None:
    """Signals that come while one is handled, or while their end is waited for, are no trap: the wait ends."""
    with _until_told() as stop:
        sender = subprocess.Popen(["sh", "-c", "while kill -TERM $0; do :; done", str(os.getpid())])
        try:
            assert all(stop.wait(20) for _ in range(50_000))
        finally:
            sender.kill()
            sender.wait()


def test_serve_that_cannot_issue(directory: Path) -> None:
    """A list whose first round fails ends with 1 instead of a line that says ready."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    (directory.parent / "tls").write_bytes(b"")
    before = signal.getsignal(signal.SIGTERM)
    result = run("serve", "--dir", directory, "--svids", path)
    assert result.exit_code == 1
    assert signal.getsignal(signal.SIGTERM) is before
    assert "ready" not in result.output
    assert "[SVID_FILE]" in result.stderr


def test_serve_takes_up_a_taint(serving: subprocess.Popen[str], directory: Path) -> None:
    """A tainted intermediate is replaced under a running `ca serve`, which issues every SVID anew at once."""
    assert serving.stdout is not None
    before = [json.loads(serving.stdout.readline()) for _ in range(3)]
    taken = done("taint", "--dir", directory, before[0]["authority_key_id"])
    after = [json.loads(serving.stdout.readline()) for _ in range(2)]
    assert {line["why"] for line in after} == {"from another intermediate"}
    assert {line["authority_key_id"] for line in after} == {taken["active"]} != {before[0]["authority_key_id"]}


ENTRIES = "nodes:\n  - spiffe_id: spiffe://example.org/node/web1\n"


def test_serve_nodes(directory: Path, tmp_path: Path) -> None:
    """With --entries, a token makes a node over the network; a mistake in the file is told, and survived."""
    entries = tmp_path / "entries.yaml"
    entries.write_text(ENTRIES)
    token = done("token", "--dir", directory, "--spiffe-id", "spiffe://example.org/node/web1")["token"]
    assert run("token", "--dir", directory, "--spiffe-id", "spiffe://example.org/node/web1").stdout.startswith("smsgw-")
    arguments = ["--entries", entries, "--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0"]
    with served(directory, *arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = json.loads(process.stdout.readline())
        credentials = grpc.ssl_channel_credentials((directory / "root.pem").read_bytes())
        options = [server_name_option("ca.example.org")]
        with grpc.secure_channel(f"127.0.0.1:{ready['join_port']}", credentials, options) as channel:
            request = pb.JoinNodeRequest(token=token, csr=csr())
            reply = rpc.CertificateServiceStub(channel).JoinNode(request, timeout=30)
        assert reply.certificate.spiffe_id == "spiffe://example.org/node/web1"
        entries.write_text("node: []")
        log = map(json.loads, process.stderr)
        assert "did you mean `nodes`" in next(line["why"] for line in log if line["event"] == "refused")
        alert = next(line for line in log if line["event"] == "alert_raised")
        assert (alert["alert"], "did you mean `nodes`" in alert["why"]) == ("entries_refused", True)
        entries.write_text(ENTRIES)
        assert next(line["alert"] for line in log if line["event"] == "alert_resolved") == "entries_refused"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_nothing_to_serve(directory: Path) -> None:
    """Without a list and without entries there is nothing to do, and the usage says so."""
    result = run("serve", "--dir", directory)
    assert result.exit_code == 2
    assert "--svids" in result.stderr


def test_entries(directory: Path, tmp_path: Path) -> None:
    """`ca entries` lists what a file registers, and refuses a mistake with file and line."""
    path = tmp_path / "entries.yaml"
    path.write_text(ENTRIES + (
        "entries:\n  - {spiffe_id: spiffe://example.org/a, node: spiffe://example.org/node/web1, unix: {uid: 5}}\n"
    ))  # fmt: skip
    said = done("entries", "--dir", directory, "--file", path)
    assert said["nodes"] == ["spiffe://example.org/node/web1"]
    assert (said["entries"][0]["unix"]["uid"], said["entries"][0]["ttl_s"]) == (5, 3600)
    assert "workload  spiffe://example.org/a at 1 node(s)" in run("entries", "--dir", directory, "--file", path).stdout
    path.write_text(ENTRIES + "    tll: 5m\n")
    refused = run("entries", "--dir", directory, "--file", path)
    assert refused.exit_code == 1
    assert f"{path}, line 3: unknown key `tll`; did you mean `ttl`?" in refused.stderr


def test_serve_publishes_lists(directory: Path, tmp_path: Path) -> None:
    """With --crl-dir and --crl-listen, a revocation by another process is in the file and over HTTP at once."""
    serial = done("issue", "--dir", directory, "--spiffe-id", "spiffe://example.org/x", "--out", tmp_path / "x")[
        "serial"
    ]
    folder = tmp_path / "crl"
    with served(directory, "--crl-dir", folder, "--crl-listen", "127.0.0.1:0") as process:
        assert process.stdout is not None
        said = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [line["event"] for line in said] == ["crl", "crl", "ready"]
        done("revoke", "--dir", directory, "--serial", serial, "--reason", "stolen")
        made = json.loads(process.stdout.readline())
        assert (made["event"], made["why"], made["revoked"]) == ("crl", "something is revoked", 1)
        der = (folder / f"{made['key_id']}.crl").read_bytes()
        assert [f"{entry.serial_number:x}" for entry in x509.load_der_x509_crl(der)] == [serial]
        with urllib.request.urlopen(
            f"http://127.0.0.1:{said[2]['crl_port']}/{made['key_id']}.crl", timeout=30
        ) as reply:
            assert reply.read() == der
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_serve_rotates_by_schedule(tmp_path: Path) -> None:
    """With the root's key at hand, a missing standby is signed, and issues after a taint, while serving."""
    directory, root = tmp_path / "ca", tmp_path / "root"
    done("init", "--dir", directory, "--trust-domain", "example.org", "--root-dir", root)
    first = done("rotate", "activate", "--dir", directory)["authority"]["key_id"]
    path = tmp_path / "svids.yaml"
    path.write_text(SVIDS)
    with served(directory, "--svids", path, "--root-dir", root, "--rotate-before", "30d") as process:
        assert process.stdout is not None
        said = [json.loads(process.stdout.readline()) for _ in range(4)]
        assert [line["event"] for line in said] == ["prepared", "issued", "issued", "ready"]
        taken = done("taint", "--dir", directory, first)
        assert taken["active"] == said[0]["key_id"]
        after = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert sorted(line["event"] for line in after) == ["issued", "issued", "prepared"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--rotate-before", "1h"),
        ("--rotate-before", "400d"),
        ("--root-token", "x"),
        ("--caller-rate", "0/s"),
        ("--crl-lifetime", "5m"),
    ],
)
def test_schedules_and_rates_out_of_bounds(directory: Path, words: tuple[str, str]) -> None:
    """What cannot be meant is wrong usage."""
    assert run("serve", "--dir", directory, "--crl-dir", directory.parent / "crl", *words).exit_code == 2


def page_of(port: int, context: ssl.SSLContext | None = None, path: str = "/metrics") -> tuple[int, str]:
    """Read the metrics page; the status and the page."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        if context is not None:
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname="ca.example.org"))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: ca\r\n\r\n".encode())
        with contextlib.closing(http.client.HTTPResponse(connection)) as response:
            response.begin()
            return response.status, response.read().decode()


def test_metrics_and_alerts(directory: Path) -> None:
    """The page counts what this process and others do; a standby that is gone, and entries that are wrong, show."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    arguments = ("--svids", path, "--metrics-listen", "127.0.0.1:0", "--metrics-insecure")
    with served(directory, *arguments) as process:
        assert process.stdout is not None
        ready = [json.loads(process.stdout.readline()) for _ in range(3)][2]
        _, page = page_of(ready["metrics_port"])
        assert 'smsgw_ca_events_total{event="CERTIFICATE_ISSUED",reason="local"} 2.0' in page
        assert "smsgw_alert{" in page
        out = directory.parent / "other"
        done("issue", "--dir", directory, "--spiffe-id", "spiffe://example.org/other", "--out", out)
        while 'event="CERTIFICATE_ISSUED",reason="local"} 3.0' not in page_of(ready["metrics_port"])[1]:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    events = [line for line in lines if line["event"] == "ca_event"]
    assert [line["subject"] for line in events][-1] == "spiffe://example.org/other"


def test_metrics_over_tls(directory: Path, tmp_path: Path) -> None:
    """With readers, the page is served by an SVID of the authority's own, to those who are named and nobody else."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    reader = "spiffe://example.org/prometheus"
    with served(directory, "--svids", path, "--metrics-listen", "127.0.0.1:0", "--metrics-reader", reader) as process:
        assert process.stdout is not None
        port = [json.loads(process.stdout.readline()) for _ in range(3)][2]["metrics_port"]
        for spiffe_id, status in ((reader, 200), ("spiffe://example.org/billing", 403)):
            out = tmp_path / spiffe_id.rpartition("/")[2]
            done("issue", "--dir", directory, "--spiffe-id", spiffe_id, "--out", out)
            context = ssl.create_default_context(cafile=directory / "root.pem")
            context.load_cert_chain(f"{out}.pem", f"{out}.key")
            assert page_of(port, context)[0] == status
        with pytest.raises((OSError, http.client.HTTPException)):
            page_of(port, ssl.create_default_context(cafile=directory / "root.pem"))


@pytest.mark.parametrize(
    "options",
    [
        ("--metrics-listen", "127.0.0.1:0"),
        ("--metrics-listen", "0.0.0.0:0", "--metrics-insecure"),
        ("--metrics-listen", "localhost:0", "--metrics-insecure"),
        ("--metrics-listen", "127.0.0.1:0", "--metrics-insecure", "--metrics-reader", "spiffe://example.org/x"),
        ("--metrics-listen", "127.0.0.1"),
    ],
)
def test_metrics_that_would_be_open_to_all(directory: Path, options: tuple[str, ...]) -> None:
    """Plain text is for loopback, and said; over a network readers are named."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    assert run("serve", "--dir", directory, "--svids", path, *options).exit_code == 2
