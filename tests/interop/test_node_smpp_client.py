"""node-smpp is a client of our simulator, over TLS: every request that an ESME has, and what it reads in answers."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.appliance import PASSWORD, SMSGW, Appliance, Running
from tests.interop.conftest import SCRIPTS

pytestmark = pytest.mark.interop

SCRIPT = f"""
system_id: smsgw
password: {PASSWORD}
message_ids: hex
first_id: 1
operations: {{query: answer, cancel: answer, replace: answer, data: answer, multi: answer}}
receipts: {{delay_s: 1.5, variants: [{{every: 3, times: 1, delay_s: 1.5, by: data_sm}}]}}
responses: {{tlvs: [{{tag: 0x1500, text: unknown}}]}}
"""
ENROUTE, DELETED, DELIVERED = 1, 4, 2  # SMPP 3.4 §5.2.28


def played(appliance: Appliance, environment: dict[str, str], kind: str) -> tuple[list[Any], list[Any]]:
    """Run the simulator and the client; its answers and its deliveries."""
    script = appliance.folder / "script.yaml"
    script.write_text(SCRIPT)
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    command = [SMSGW, "simulator", *keys, "--listen", "127.0.0.1:0", "--script", str(script), "--json", "--quiet"]
    with Running(command, log=appliance.folder / "simulator.log") as simulator:
        port = json.loads(simulator.line())["port"]
        orders = {"port": port, "ca": str(appliance.carrier_ca), "password": PASSWORD, "as": kind}
        done = subprocess.run(
            ["node", str(SCRIPTS / "smpp_client.js"), json.dumps(orders)],
            capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin", **environment},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line for line in lines if line["event"] == "error"] == []
    assert lines[-1] == {"event": "done"}
    return (
        [line for line in lines if line["event"] == "answer"],
        [line for line in lines if line["event"] == "delivery"],
    )


@pytest.mark.parametrize(
    ("kind", "binds"), [("transceiver", ["bind_transceiver"]), ("pair", ["bind_transmitter", "bind_receiver"])]
)
def test_every_request_is_answered_as_it_reads_it(
    appliance: Appliance, node_environment: dict[str, str], kind: str, binds: list[str]
) -> None:
    """Ids, states and versions; unknown TLVs in responses disturb nothing; receipts come to whoever may receive."""
    answers, deliveries = played(appliance, node_environment, kind)
    requests = [
        "submit_sm", "submit_sm", "data_sm", "submit_multi", "query_sm", "replace_sm", "cancel_sm", "query_sm",
        "enquire_link",
    ]  # fmt: skip
    assert [answer["to"] for answer in answers] == [*binds, *requests, *["unbind"] * len(binds)]
    assert {answer["status"] for answer in answers} == {0}
    assert [answer["kind"] for answer in answers] == [answer["to"] + "_resp" for answer in answers]
    assert {(answer["system"], answer["version"]) for answer in answers[: len(binds)]} == {("smsgw-simulator", 0x34)}
    asked = answers[len(binds) :]
    assert [answer["id"] for answer in asked[:3]] == ["1", "2", "3"]
    assert [answer["state"] for answer in asked if answer["to"] == "query_sm"] == [ENROUTE, DELETED]
    told = {(each["kind"], each["id"], each["state"]) for each in deliveries}
    assert told == {("deliver_sm", "1", DELIVERED), ("deliver_sm", "2", DELETED), ("data_sm", "3", DELIVERED)}
    assert {each["esm_class"] for each in deliveries} == {0x04}
    assert all(each["text"].startswith(f"id:{each['id']} sub:001 ") for each in deliveries)
