"""The benchmark's node without policies, limits, sealing, traces and audit."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import apsw
import grpc
import pytest

from bench import sink
from bench.bare import bare_parts, refuse_off_loopback
from gateway import composition, servers
from gateway.config.loader import load
from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from smsgw.v1 import message_service_pb2_grpc as rpc
from tests.appliance import SERVER_NAME, Appliance, Caller, CarrierSpec
from tests.plaintext import Search, files_of

_TEXT = "Quartz vex 731942 jumbles"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make a site whose carrier does not answer."""
    made = Appliance.create(tmp_path_factory.mktemp("bare") / "site")
    made.configure(CarrierSpec(port=1, ca_file=made.carrier_ca))
    return made


def send(port: int, caller: Caller) -> str:
    """Send a message; its id."""
    files = caller.bundle, caller.key, caller.certificate
    credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    message = m.OutboundMessage(recipient="+4915112345678", sender="ACME", category=m.CATEGORY_TRANSACTIONAL)
    message.content.text = _TEXT
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        reply = rpc.MessageServiceStub(channel).SendMessage(s.SendMessageRequest(message=message), timeout=20)
    return reply.accepted.message_id


def audited(appliance: Appliance) -> int:
    """Return how many commits the audit has."""
    database = apsw.Connection(str(appliance.folder / "data" / "smsgw.db"), apsw.SQLITE_OPEN_READONLY)
    ((commits,),) = database.execute("SELECT count(*) FROM audit_commit")
    database.close()
    return int(commits)


def test_it_sends_messages_and_does_nothing_else(appliance: Appliance) -> None:
    """A message goes its way to its receipt, is stored in the clear, and leaves no record."""
    command = [sys.executable, "-m", "bench.bare", *appliance.serve_command()[-2:]]
    with sink.own(appliance) as carrier:
        appliance.configure(carrier.carrier())
        with appliance.node(command, wrapped=False) as (node, port):
            assert send(port, appliance.callers[0])
            deadline = time.monotonic() + 30
            while carrier.settled(appliance, 1) < 1:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert node.end() == 0
    assert audited(appliance) == 0
    assert Search({"text": _TEXT}).leaks(files_of(appliance.folder / "data"))


@pytest.mark.parametrize(
    ("old", "new"),
    [("api:\n  listen: 127.0.0.1:0", "api:\n  listen: 0.0.0.0:7443"), ("host: 127.0.0.1", "host: 10.0.0.1")],
)
def test_it_refuses_to_serve_others(appliance: Appliance, tmp_path: Path, old: str, new: str) -> None:
    """Off loopback it does not start, whichever end of it is meant."""
    file = appliance.folder / "elsewhere.yaml"
    text = (appliance.folder / "smsgw.yaml").read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match="loopback only"):
        refuse_off_loopback(load(file))
    command = [sys.executable, "-m", "bench.bare", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert re.search("loopback only", done.stderr)


def test_the_product_is_as_it_was(appliance: Appliance) -> None:
    """The parts are only in place while the benchmark's node is built."""
    before = composition.compose
    names = ("SealingBox", "SqliteStore", "message_limits", "build_telemetry")
    places = [*((composition, name) for name in names), (servers, "guards"), (servers, "CallAudit")]
    kept = [getattr(module, name) for module, name in places]
    with bare_parts():
        assert all(getattr(*place) is not part for place, part in zip(places, kept, strict=True))
    assert [getattr(module, name) for module, name in places] == kept
    assert composition.compose is before
