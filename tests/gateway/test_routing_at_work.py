"""A node of two carriers with routes, from outside: messages go their ways, and it says why; a reload counts."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, SMSGW, Appliance, CarrierSpec, Running

TO_GERMANY, TO_FRANCE = "+4915112345678", "+33612345678"
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """A running node, and the logs of what its carriers accepted."""

    appliance: Appliance
    node: Running
    client: Any

    def send(self, recipient: str) -> str:
        """Send an OTP; its id."""
        message = message_pb2.OutboundMessage(
            recipient=recipient,
            sender="ACME",
            category=message_pb2.CATEGORY_OTP,
            content=message_pb2.Content(text="Your code is 123456"),
        )
        return str(self.client.SendMessage(pb.SendMessageRequest(message=message), timeout=20).accepted.message_id)

    def carrier_of(self, message_id: str) -> str:
        """Wait until a message is delivered; the carrier that took it."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            found = self.client.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=20).message
            if found.state == message_pb2.MESSAGE_STATE_DELIVERED:
                return str(found.carrier)
            time.sleep(0.02)
        raise AssertionError("it was not delivered in time")

    def explained(self, recipient: str) -> Any:
        """Ask which carrier an OTP would go by."""
        command = [SMSGW, "carrier", "explain", "--dir", str(self.appliance.folder), "--to", recipient]
        done = subprocess.run(
            [*command, "--category", "OTP", "--text", "hello", "--json"], capture_output=True, timeout=60, check=False
        )
        return json.loads(done.stdout)

    def until_explained(self, recipient: str, carrier: str) -> Any:
        """Wait until an OTP would go by this carrier; the answer."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            answer = self.explained(recipient)
            if answer["carrier"] == carrier:
                return answer
            time.sleep(0.1)
        raise AssertionError(f"it would not go by {carrier}")


def routes(first: str, second: str) -> list[dict[str, object]]:
    """Return routes that prefer one carrier for Germany, and the other for everything else."""
    return [
        {
            "name": "germany",
            "prefixes": ["+4915"],
            "targets": [{"carrier": first, "sender": "ACMEDE"}, {"carrier": second, "priority": 2}],
        },
        {"name": "rest", "targets": [{"carrier": second}]},
    ]


def change(file: Path, **sections: object) -> None:
    """Change sections of a configuration."""
    document = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(document | sections, sort_keys=False))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run it."""
    appliance = Appliance.create(tmp_path_factory.mktemp("routing") / "site")
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    with ExitStack() as stack:
        sections = []
        for name in ("one", "two"):
            command = [SMSGW, "simulator", *keys, "--listen", "127.0.0.1:0", "--quiet"]
            simulator = stack.enter_context(Running(command, log=appliance.folder / f"{name}.log"))
            port = int(simulator.line_with(r"127\.0\.0\.1:(\d+)").group(1))
            sections.append(CarrierSpec(port=port, ca_file=appliance.carrier_ca).section() | {"name": name})
        file = appliance.configure(None)
        change(file, carriers=sections, routes=routes("one", "two"))
        node, port = stack.enter_context(appliance.node())
        who = appliance.callers[0]
        credentials = grpc.ssl_channel_credentials(
            who.bundle.read_bytes(), who.key.read_bytes(), who.certificate.read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        channel = stack.enter_context(grpc.secure_channel(f"127.0.0.1:{port}", credentials, options))
        yield Site(appliance, node, MessageServiceStub(channel))


def test_messages_go_their_ways_and_a_reload_changes_them(site: Site) -> None:
    """By prefix and by default; the node explains the same; new routes count after a reload, without a restart."""
    germany = site.until_explained(TO_GERMANY, "one")
    assert (germany["running"], germany["route"], germany["why"]) == (True, "germany", "the number begins with +4915")
    assert (germany["targets"][0]["sender"], germany["targets"][0]["content"]["segments"]) == ("ACMEDE", 1)
    assert site.until_explained(TO_FRANCE, "two")["route"] == "rest"
    assert site.carrier_of(site.send(TO_GERMANY)) == "one"
    assert site.carrier_of(site.send(TO_FRANCE)) == "two"

    change(site.appliance.folder / "smsgw.yaml", routes=routes("two", "one"))
    site.node.process.send_signal(signal.SIGHUP)
    site.until_explained(TO_GERMANY, "two")
    assert site.carrier_of(site.send(TO_GERMANY)) == "two"
    assert site.carrier_of(site.send(TO_FRANCE)) == "one"
    tail = subprocess.run(
        [SMSGW, "audit", "tail", "--dir", str(site.appliance.folder), "--json",
         "--kind", "messages-routed", "-n", "100"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    routed = [json.loads(line) for line in tail.stdout.splitlines()]
    assert {(record["route"], record["carrier"], record["sender"]) for record in routed} == {
        ("germany", "one", "ACMEDE"), ("rest", "two", ""), ("germany", "two", "ACMEDE"), ("rest", "one", ""),
    }  # fmt: skip
