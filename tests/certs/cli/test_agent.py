"""`smsgw agent` as its operators see it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from certs.cli.agent import agent
from smsgw.spiffe import workload_pb2 as pb
from smsgw.spiffe import workload_pb2_grpc as workload
from tests.certs.agent.rig import METADATA, TWO
from tests.certs.service.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Run a certificate service."""
    service = Rig.start(tmp_path)
    service.register(TWO)
    yield service
    service.server.stop()


def arguments(tmp_path: Path, rig: Rig | None = None) -> list[str]:
    """Return the command's arguments."""
    port, join_port = (1, 1) if rig is None else (rig.port, rig.join_port)
    return [
        *("--trust-domain", "example.org", "--ca", f"127.0.0.1:{port}", "--ca-join", f"127.0.0.1:{join_port}"),
        *("--bundle", str(tmp_path / "ca" / "root.pem"), "--join-token-file", str(tmp_path / "join.token")),
        *("--state", str(tmp_path / "state"), "--socket", str(tmp_path / "api.sock"), "--json"),
        *("--metrics-listen", "127.0.0.1:0"),
    ]


def test_ready_away_and_done(rig: Rig, tmp_path: Path) -> None:
    """It says when it serves, when the authority is away and how long that lasts, and ends with 0 when told to."""
    (tmp_path / "join.token").touch(mode=0o600)
    (tmp_path / "join.token").write_text(rig.token())
    process = subprocess.Popen(
        [sys.executable, "-c", "from certs.cli.agent import agent; agent()", *arguments(tmp_path, rig)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"},
    )
    killer = threading.Timer(90, process.kill)  # bounds every wait below
    killer.start()
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert (ready["event"], ready["identities"], ready["socket"]) == ("ready", 3, str(tmp_path / "api.sock"))
        page = page_of(ready["metrics_port"])
        assert 'smsgw_agent_identities{state="served"} 3.0' in page
        with grpc.insecure_channel(f"unix:{tmp_path / 'api.sock'}") as channel:
            stub = workload.SpiffeWorkloadAPIStub(channel)
            assert next(iter(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=30))).svids
            with pytest.raises(grpc.RpcError):
                next(iter(stub.FetchX509SVID(pb.X509SVIDRequest(), timeout=30)))
        page = page_of(ready["metrics_port"])
        assert 'smsgw_agent_served_total{method="FetchX509SVID"} 1.0' in page
        assert 'smsgw_agent_refused_total{code="INVALID_ARGUMENT",method="FetchX509SVID"} 1.0' in page
        rig.server.stop()
        away = json.loads(process.stdout.readline())
        assert away["event"] == "away"
        assert away["lasts_until"].startswith("20")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        killer.cancel()
        process.kill()
        process.communicate()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "api.sock").exists()


def page_of(port: int) -> str:
    """Read the metrics page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        return str(response.read().decode())


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "localhost:0", "127.0.0.1", "10.0.0.1:80"])
def test_metrics_are_for_loopback(tmp_path: Path, listen: str) -> None:
    """Plain text leaves the host under no option."""
    assert CliRunner().invoke(agent, [*arguments(tmp_path), "--metrics-listen", listen]).exit_code == 2


def test_without_a_bundle(tmp_path: Path) -> None:
    """Without the bundle to know the authority by, it ends with 1 and says what is missing."""
    result = CliRunner().invoke(agent, arguments(tmp_path))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["reason"] == "SVID_FILE"


@pytest.mark.parametrize("left_out", ["--ca", "--socket", "--state", "--bundle", "--trust-domain"])
def test_wrong_usage(tmp_path: Path, left_out: str) -> None:
    """What is needed and not given is wrong usage."""
    given = arguments(tmp_path)
    at = given.index(left_out)
    result = CliRunner().invoke(agent, given[:at] + given[at + 2 :])
    assert result.exit_code == 2
    assert f"'{left_out}'" in result.stderr
