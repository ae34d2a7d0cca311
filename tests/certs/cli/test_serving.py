"""`smsgw ca serve`, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.svid import X509Svid
from tests.certs.cli.conftest import done, run

SVIDS = """\
- spiffe_id: spiffe://example.org/gateway
  dns: gateway.example.org
  out: tls/gateway
- spiffe_id: spiffe://example.org/billing
  ttl: 5m
  out: tls/billing
"""


@pytest.fixture
def serving(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `ca serve` on a list of two, and end it whatever happens."""
    path = directory.parent / "svids.yaml"
    path.write_text(SVIDS)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from certs.cli import ca; ca()",
            "serve",
            "--dir",
            directory,
            "--svids",
            path,
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"},
    )
    killer = threading.Timer(30, process.kill)  # bounds every wait below
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


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
