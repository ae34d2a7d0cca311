"""Alerts of a running node, from real conditions: in `smsgw status`, on its page, in the audit, and over again."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from carrier.simulator.simulator import Simulator
from gateway.audit.records import AlertChanged, Decision
from gateway.errors import InvalidRequest
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import OPERATOR, Appliance
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, rewrite, simulators

FAILING = "+4915112345699"  # the first three attempts for this recipient are answered with an error
_SCRIPT = f"errors: [{{destination_prefix: '{FAILING[1:]}', status: ESME_RSYSERR, times: 3}}]"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("alerts") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run one carrier, whose breaker opens soon."""
    fresh(appliance)
    async with simulators(appliance, ("acme",), _SCRIPT) as running:
        configure(appliance, running, breaker={"failures": 3, "open_for": "2s", "probes": 1})
        yield running


@pytest.fixture
async def operation(
    appliance: Appliance, carriers: dict[str, Simulator], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Operation]:
    """Run the node."""
    caplog.set_level(logging.INFO)
    async with operating(appliance, carriers) as running:
        yield running


async def active(operation: Operation) -> dict[str, dict[str, Any]]:
    """Return the alerts of the node's status, by name."""
    snapshot = json.loads(json.dumps(await operation.node.snapshot()))
    return {alert["alert"]: alert for alert in snapshot["alerts"]}


async def until(operation: Operation, names: set[str]) -> dict[str, dict[str, Any]]:
    """Wait until exactly these alerts are active; return them."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            found = await active(operation)
            if set(found) == names:
                return found
            await asyncio.sleep(0.02)


async def scrape(caplog: pytest.LogCaptureFixture) -> dict[tuple[str, str], float]:
    """Read the node's page over HTTP; the values of `smsgw_alert` by name and labels."""
    (port,) = [vars(record)["port"] for record in caplog.get_records("setup") if record.message == "metrics_page"]

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            return str(response.read().decode())

    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(await asyncio.to_thread(read)):
        for sample in family.samples:
            if sample.name == "smsgw_alert":
                rest = [
                    value for name, value in sorted(sample.labels.items()) if value and name not in ("name", "severity")
                ]
                found[sample.labels["name"], " ".join(rest)] = sample.value
    return found


async def test_a_node_that_is_well(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    """It says so: no alert is active, and each without labels shows as 0."""
    assert await active(operation) == {}
    page = await scrape(caplog)
    assert ("store_failing", "") in page
    assert set(page.values()) == {0.0}
    shown = await operation.shown("status")
    assert "runbook" not in shown


async def test_a_configuration_that_is_refused(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    """A reload that is refused is an alert until one is taken over; everything that shows alerts shows it."""
    rewrite(operation.appliance, lambda document: document["api"].update(max_metadata_bytes=20000))
    with pytest.raises(InvalidRequest):
        await operation.node.reload()
    alert = (await active(operation))["configuration_refused"]
    assert alert["severity"] == "ticket"
    assert "is changed, and needs a restart" in alert["why"]
    assert (await scrape(caplog))["configuration_refused", ""] == 1
    shown = await operation.shown("status")
    assert "configuration_refused" in shown
    assert "docs/runbook.md#configuration_refused" in shown
    rewrite(operation.appliance, lambda document: document.update(made_up=1))
    assert "configuration_refused" in await operation.shown("status")  # also by a file that cannot be loaded
    rewrite(operation.appliance, lambda document: document.pop("made_up"))
    rewrite(operation.appliance, lambda document: document["api"].pop("max_metadata_bytes"))
    await operation.node.reload()
    assert await active(operation) == {}
    assert (await scrape(caplog))["configuration_refused", ""] == 0
    logged = [vars(record)["alert"] for record in caplog.records if record.message.startswith("alert_")]
    assert logged == ["configuration_refused"] * 2


async def test_a_damaged_deny_list(operation: Operation) -> None:
    """It is an alert for as long as the file is damaged, and both ends are in the audit."""
    path = operation.appliance.folder / "data" / "deny-list"
    good = path.read_bytes()
    path.write_text("damaged")
    alerts = await until(operation, {"deny_list_unreadable"})
    assert alerts["deny_list_unreadable"]["severity"] == "page"
    path.write_bytes(good)
    await until(operation, set())
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            changes = [record for record in await operation.records() if isinstance(record, AlertChanged)]
            if len(changes) == 2:
                break
            await asyncio.sleep(0.05)
    assert [(change.name, change.active) for change in changes] == [
        ("deny_list_unreadable", True), ("deny_list_unreadable", False),
    ]  # fmt: skip


async def test_certificates_that_cannot_be_used(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged SVID file leaves the old one in force, and is an alert until it is whole again."""
    document = yaml.safe_load((operation.appliance.folder / "smsgw.yaml").read_text())
    path = operation.appliance.folder / document["api"]["svid_file"]
    good = path.read_bytes()
    try:
        path.write_bytes(b"damaged")
        alerts = await until(operation, {"certificates_unreadable"})
        assert alerts["certificates_unreadable"]["labels"] == {"what": "svid"}
        assert (await scrape(caplog))["certificates_unreadable", "svid"] == 1
    finally:
        path.write_bytes(good)
    await until(operation, set())


async def test_a_carrier_that_fails(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    """Errors open its breaker, which is an alert that names the carrier, and ends when it answers well again."""
    await operation.send(3, recipient=FAILING)
    alerts = await until(operation, {"carrier_failing"})
    assert alerts["carrier_failing"]["labels"] == {"carrier": "acme"}
    await until(operation, set())
    assert (await scrape(caplog))["carrier_failing", "acme"] == 0


async def test_somebody_tries_doors(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    """Calls of an identity without a tenant are a ticket; metrics have the reason, and the audit has the name."""
    stub = MessageServiceStub(operation.channel("operator", operation.node.api_address))
    for _ in range(12):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetMessage(api.GetMessageRequest(message_id="0"), timeout=TIMEOUT_S)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    alerts = await until(operation, {"calls_refused"})
    (reason,) = alerts["calls_refused"]["labels"].values()
    assert (await scrape(caplog))["calls_refused", reason] == 1
    refusals = [record for record in await operation.records() if isinstance(record, Decision) and not record.allowed]
    assert len(refusals) == 10  # the others of these ten seconds are counted
    assert {(refusal.caller, refusal.reason, refusal.address) for refusal in refusals} == {
        (OPERATOR, reason, "127.0.0.1")
    }


async def test_nothing_personal(operation: Operation) -> None:
    """What an alert says has passed through the redaction: a number in a reason is hidden."""
    rewrite(operation.appliance, lambda document: document.update({"+4915112345678": 1}))
    with pytest.raises(InvalidRequest):
        await operation.node.reload()
    (alert,) = (await active(operation)).values()
    assert "4915112345678" not in json.dumps(alert)
    assert alert["why"].startswith("+49XXXXXXX5678")
    rewrite(operation.appliance, lambda document: document.pop("+4915112345678"))
    await operation.node.reload()
