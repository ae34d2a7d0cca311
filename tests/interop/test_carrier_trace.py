"""tshark reads what `smsgw carrier trace` writes of a running node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carrier.smpp.constants import CommandId
from carrier.trace import CARRIER_PORT
from tests.appliance import Appliance
from tests.gateway.operation import configure, operating, simulators
from tests.interop.captures import dissected, faults

pytestmark = pytest.mark.interop


async def test_tshark_reads_a_trace_of_a_node(tmp_path: Path) -> None:
    """Messages, receipts and their responses over two binds are dissected as SMPP, and nothing is malformed."""
    appliance, out = Appliance.create(tmp_path / "site", operator=True), tmp_path / "acme.pcap"
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as carriers:
        configure(appliance, carriers, binds=2)
        async with operating(appliance, carriers) as operation:
            await operation.until(lambda: carriers["acme"].stats()["bound"] == 2)
            arguments = ("carrier", "trace", "acme", "--for", "15s", "--out", str(out), "--reason", "a judge wants it")
            command = asyncio.create_task(operation.command(*arguments))
            async with asyncio.timeout(30):
                while not await operation.acts():
                    await asyncio.sleep(0.02)
            for message_id in await operation.send(10):
                await operation.reach(message_id, "DELIVERED")
            (summary,) = await command
    frames = dissected(out, CARRIER_PORT, "smpp.command_id", "tcp.stream")
    commands = [int(command, 16) for command, _ in frames]
    assert len(frames) == summary["pdus"]
    for wanted in (CommandId.SUBMIT_SM, CommandId.SUBMIT_SM_RESP, CommandId.DELIVER_SM, CommandId.DELIVER_SM_RESP):
        assert commands.count(wanted) == 10
    assert faults(out, CARRIER_PORT) == []
