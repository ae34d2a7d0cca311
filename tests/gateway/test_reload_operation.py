"""`smsgw reload` and SIGHUP on running nodes: carriers that are not changed keep their connections."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from gateway.audit.records import ConfigLoaded
from smsgw.v1 import carrier_service_pb2 as pb
from tests.appliance import SMSGW, Appliance, CarrierSpec, Running
from tests.gateway.operation import (
    Operation,
    configure,
    fresh,
    operating,
    rewrite,
    server_context,
    simulators,
)


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("reload") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run three carriers; the node is configured for the first two of them."""
    fresh(appliance)
    (appliance.folder / "carrier.password").write_text("secret08")
    async with simulators(appliance, ("acme", "beta", "later"), "receipts: {delay_s: 0.05}") as running:
        configure(appliance, {name: running[name] for name in ("acme", "beta")})
        yield running


@pytest.fixture
async def operation(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node, bound to both."""
    async with operating(appliance, carriers) as running:
        await running.until(lambda: carriers["acme"].stats()["bound"] == carriers["beta"].stats()["bound"] == 1)
        yield running


def connections(carriers: dict[str, Simulator]) -> dict[str, int]:
    """Return how many connections each carrier has seen."""
    return {name: simulator.stats()["connections"] for name, simulator in carriers.items()}


async def test_carriers_come_change_and_go(operation: Operation) -> None:
    """One is added, one changed, one removed, with messages under way: no other connection is touched, none is lost."""
    appliance, carriers = operation.appliance, operation.carriers
    later = {**CarrierSpec(port=carriers["later"].port, ca_file=appliance.carrier_ca).section(), "name": "later"}

    sent = await operation.send(20)
    rewrite(appliance, lambda document: document["carriers"].append(later))
    assert await operation.command("reload") == [{"changes": ["carrier later: added"]}]
    await operation.until(lambda: carriers["later"].stats()["bound"] == 1)
    assert connections(carriers) == {"acme": 1, "beta": 1, "later": 1}

    sent += await operation.send(20)
    rewrite(appliance, lambda document: document["carriers"][0].update(window=7))
    text = await operation.shown("reload", "--reason", "they allow seven")
    assert text == "reloaded carrier acme: changed, bound anew\n"
    await operation.until(lambda: carriers["acme"].stats()["bound"] == 1)
    assert connections(carriers) == {"acme": 2, "beta": 1, "later": 1}
    acme, *_ = (await operation.operator.GetCarriers(pb.GetCarriersRequest())).carriers
    assert acme.binds[0].window == 7

    sent += await operation.send(20)
    rewrite(appliance, lambda document: document["carriers"].pop(0))
    assert await operation.command("reload") == [{"changes": ["carrier acme: removed"]}]
    assert carriers["acme"].stats()["bound"] == 0
    assert connections(carriers) == {"acme": 2, "beta": 1, "later": 1}
    sent += await operation.send(20)
    for message_id in sent:
        await operation.reach(message_id, "DELIVERED")
    assert await operation.command("reload") == [{"changes": []}]
    digests = [record.digest for record in await operation.records()
               if isinstance(record, ConfigLoaded) and record.what == "configuration"]  # fmt: skip
    assert len(set(digests)) == 4
    acts = [(act.what, act.reason) for act in await operation.acts()]
    assert acts == [("configuration reloaded", text) for text in ("", "they allow seven", "")]


async def test_how_texts_are_written_changes_on_the_same_connection(operation: Operation) -> None:
    """A setting that no bind goes by is in force for the next message, and no link is made anew for it."""
    rewrite(operation.appliance, lambda document: document["carriers"][0].update(text={"latin1": True}))
    assert await operation.command("reload") == [{"changes": ["carrier acme: changed"]}]
    assert connections(operation.carriers) == {"acme": 1, "beta": 1, "later": 0}
    (sent,) = await operation.send(text="ê")
    await operation.reach(sent, "DELIVERED")
    (arrived,) = operation.carriers["acme"].received
    assert (arrived.text, arrived.submit.data_coding) == ("ê", 3)


async def test_a_new_password(appliance: Appliance, carriers: dict[str, Simulator], operation: Operation) -> None:
    """A carrier that changes the password is bound with the new one; the other keeps its connection."""
    port = carriers["acme"].port
    await carriers["acme"].stop()
    carriers["acme"] = Simulator(parse_script("password: newpass8"), server_context(appliance), port=port)
    await carriers["acme"].start()
    (appliance.folder / "new.password").touch(mode=0o600)
    (appliance.folder / "new.password").write_text("newpass8")
    rewrite(appliance, lambda document: document["carriers"][0].update(password_file="new.password"))
    assert await operation.command("reload") == [{"changes": ["carrier acme: changed, bound anew"]}]
    await operation.until(lambda: carriers["acme"].stats()["bound"] == 1)
    assert carriers["beta"].stats()["connections"] == 1


async def test_a_bad_file_changes_nothing(operation: Operation) -> None:
    """What is wrong, and what needs a restart, is told with file, line and key; everything goes on as before."""
    rewrite(operation.appliance, lambda document: document["carriers"][0].update(windwo=7))
    (failed,) = await operation.command("reload", code=2)
    assert failed["error"]["reason"] == "CONFIGURATION_REFUSED"
    assert "carriers[0].windwo" in failed["error"]["message"]
    assert "did you mean window?" in failed["error"]["message"]

    def limit(document: dict[str, Any]) -> None:
        del document["carriers"][0]["windwo"]
        document["api"]["max_message_bytes"] = 70_000

    rewrite(operation.appliance, limit)
    text = await operation.shown("reload", code=2)
    assert "smsgw.yaml:" in text
    assert "is changed, and needs a restart (api.max_message_bytes)" in text
    assert connections(operation.carriers) == {"acme": 1, "beta": 1, "later": 0}
    (sent,) = await operation.send()
    await operation.reach(sent, "DELIVERED")
    assert await operation.acts() == []


async def test_a_pause_outlives_a_reload(operation: Operation) -> None:
    """A paused carrier that is changed, or removed and added again, is still paused."""
    await operation.operator.PauseCarrier(pb.PauseCarrierRequest(carrier="acme", reason="wait"))
    rewrite(operation.appliance, lambda document: document["carriers"][0].update(window=7))
    await operation.command("reload")
    section = yaml.safe_load((operation.appliance.folder / "smsgw.yaml").read_text())["carriers"][0]
    rewrite(operation.appliance, lambda document: document["carriers"].pop(0))
    await operation.command("reload")
    rewrite(operation.appliance, lambda document: document["carriers"].insert(0, section))
    await operation.command("reload")
    acme, beta = (await operation.operator.GetCarriers(pb.GetCarriersRequest())).carriers
    assert (acme.mode, acme.held_because) == (pb.CARRIER_MODE_PAUSED, "wait")
    (sent,) = await operation.send()
    await operation.reach(sent, "DELIVERED")
    assert not operation.carriers["acme"].received
    assert beta.mode == pb.CARRIER_MODE_OPEN


async def test_sighup(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """SIGHUP reloads: a carrier is added without a word on the command line; a bad file is logged, and nothing ends."""
    log = appliance.folder / "sighup.log"
    with Running([SMSGW, "serve", "--config", str(appliance.folder / "smsgw.yaml")], log=log) as node:
        await asyncio.to_thread(node.line_with, "ready")
        later = {**CarrierSpec(port=carriers["later"].port, ca_file=appliance.carrier_ca).section(), "name": "later"}
        rewrite(appliance, lambda document: document["carriers"].append(later))
        node.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while not carriers["later"].stats()["bound"]:
                await asyncio.sleep(0.02)
        rewrite(appliance, lambda document: document["node"].update(name="other"))
        node.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while "node.name: " not in log.read_text():
                await asyncio.sleep(0.02)
        assert node.process.poll() is None
        assert carriers["later"].stats()["connections"] == 1
    assert "configuration_not_reloaded" in log.read_text()
