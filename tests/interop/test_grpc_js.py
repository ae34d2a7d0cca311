"""grpc-js is the caller: another implementation of gRPC and TLS, with the .proto files as they stand in the tree."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import google.rpc  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.appliance import SERVER_NAME, Appliance
from tests.interop.conftest import ROOT, SCRIPTS
from tests.interop.test_node_smpp import node_smpp, told

pytestmark = pytest.mark.interop


def call(appliance: Appliance, port: int, environment: dict[str, str], *, identity: Appliance | None = None) -> Any:
    """Run the client against the node, as a caller of `identity` (default: of the node's own authority); its report."""
    caller = (identity or appliance).callers[0]
    orders = {
        "address": f"127.0.0.1:{port}",
        "server_name": SERVER_NAME,
        "bundle": str(appliance.callers[0].bundle),
        "certificate": str(caller.certificate),
        "key": str(caller.key),
        "include": [str(ROOT / "protos"), str(Path(google.rpc.__path__[0]).parent.parent)],
        "recipient": "+4915112345678",
    }
    command = ["node", str(SCRIPTS / "grpc_client.js"), json.dumps(orders)]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_a_client_in_another_language_sends_over_mutual_tls(
    appliance: Appliance, node_environment: dict[str, str]
) -> None:
    """SendMessage, SendMessages, WatchEvents and GetMessage from grpc-js, up to the receipts, with rich errors."""
    with node_smpp(appliance, node_environment) as (carrier, spec):
        appliance.configure(spec)
        with appliance.node() as (_, port):
            told(carrier, "bound")
            report = call(appliance, port, node_environment)
    assert "error" not in report, report
    first, bad, last = report["results"]
    assert report["one"]["state"] == "MESSAGE_STATE_ACCEPTED"
    assert report["one"]["masked_recipient"] == "+49XXXXXXX5678"
    assert first["accepted"]["segments"] == last["accepted"]["segments"] == 1
    assert bad["error"]["message"].startswith("messages[1].recipient")
    assert bad["error"]["code"] == 3, "INVALID_ARGUMENT"
    expected = [f"MESSAGE_STATE_{name}" for name in ("ACCEPTED", "SUBMITTED", "DELIVERED")]
    assert len(report["states"]) == 3
    assert all(states == expected for states in report["states"].values())
    assert report["read"]["state"] == "MESSAGE_STATE_DELIVERED"
    assert report["refused"]["code"] == "INVALID_ARGUMENT"
    assert report["refused"]["rich"], "google.rpc details came with it"


def test_a_client_of_a_strange_authority_is_refused(
    appliance: Appliance, node_environment: dict[str, str], tmp_path: Path
) -> None:
    """A certificate for the same SPIFFE ID, from another authority of the same name, gets nowhere."""
    stranger = Appliance.create(tmp_path / "stranger")
    with node_smpp(appliance, node_environment) as (_, spec):
        appliance.configure(spec)
        with appliance.node() as (_, port):
            report = call(appliance, port, node_environment, identity=stranger)
    assert set(report) == {"error"}
    assert "UNAVAILABLE" in report["error"] or "UNAUTHENTICATED" in report["error"], report
