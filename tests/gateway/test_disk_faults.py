"""Whole nodes on disks that fail them: full, slow, read-only, failing, and cut off in the middle of a write.

The judges stand outside of the node, as in `tests.gateway.test_kill`: what was acknowledged is in the load's log, what
arrived in the carrier's.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has no stubs

from gateway import composition
from gateway.config.loader import load
from gateway.node import Node
from gateway.status_socket import read_status
from gateway.store.sqlite import SqliteStore, checkpoint
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, Appliance, CarrierSpec, Running
from tests.gateway import kill_load
from tests.gateway.audit.agreement import check_database
from tests.gateway.store.tracing_vfs import TracingVFS
from tests.gateway.test_kill import RATE, Carrier, drained, judge, lines, simulator
from tests.small_disk import SmallDisk, small_disk

MIB = 1 << 20
_WITHIN_S = 90.0
WINDOW = 250
_FRAME = 24 + 4096  # of SQLite's log: a header and a page


def _alerts(appliance: Appliance) -> dict[str, str]:
    alerts = read_status(appliance.folder / "data" / "status.sock")["alerts"]
    assert isinstance(alerts, list)
    return {alert["alert"]: alert["why"] for alert in alerts}


def _until_full(appliance: Appliance, acknowledged: Path) -> str:
    """Wait until the node says that its disk is full and acknowledges nothing more; what it says."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        before = lines(acknowledged)
        time.sleep(1.0)
        why = _alerts(appliance).get("store_failing", "")
        if why and lines(acknowledged) == before:
            return why
    raise AssertionError("the disk did not get full")


def _until_acknowledged(acknowledged: Path, number: int) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while lines(acknowledged) < number:
        assert time.monotonic() < deadline, f"only {lines(acknowledged)} of {number} acknowledgements came"
        time.sleep(0.1)


@pytest.mark.timeout(300)
def test_a_node_whose_disk_gets_full_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Under load: it refuses and says why, and runs on; with room again, it sends all that it acknowledged before and
    after, none of it twice, and the audit agrees."""
    appliance = Appliance.create(tmp_path / "appliance")
    acknowledged = tmp_path / "acknowledged.log"
    with simulator(appliance) as (carrier, smpp_port), small_disk(appliance.folder / "data", 160 * MIB) as disk:
        disk.take(144 * MIB)
        spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=WINDOW, rate=5000.0)
        config = appliance.configure(spec)
        small = "audit:\n  reserve_bytes: 1048576\n  least_bytes: 1048576\n"
        config.write_text(config.read_text().replace("audit:\n", small, 1))
        with appliance.node() as (node, port):
            _fill_and_free(appliance, disk, port, acknowledged)
            counts = drained(appliance)
            assert node.process.poll() is None
            assert "store_failing" not in _alerts(appliance)
        _judge(acknowledged, carrier, counts)
        check_database(appliance.folder / "data" / "smsgw.db")


def _fill_and_free(appliance: Appliance, disk: SmallDisk, port: int, acknowledged: Path) -> None:
    pki = str(appliance.folder / "pki")
    command = [sys.executable, "-m", "tests.gateway.kill_load", str(port), pki, str(acknowledged), str(RATE)]
    with Running(command, log=acknowledged.with_suffix(".err")) as load_process:
        assert "the disk is full: free some space" in _until_full(appliance, acknowledged)
        before = lines(acknowledged)
        assert before > 300
        disk.free()
        _until_acknowledged(acknowledged, before + 1000)
        assert load_process.end() == 0


def _judge(acknowledged: Path, carrier: Carrier, counts: dict[str, int]) -> None:
    tokens, arrived = acknowledged.read_text().split(), carrier.arrived()
    assert [token for token in tokens if not arrived[token]] == []
    doubled = sum(count - 1 for count in arrived.values())
    assert doubled == 0, f"{doubled} duplicates, and the node knew of {counts}"


def _retry_after_s(error: grpc.aio.AioRpcError) -> float:
    """Return when to come again, as a refusal says it."""
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    told = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(told) for detail in status.details)
    return float(told.retry_delay.ToTimedelta().total_seconds())


class Callers:
    """Calls at once, each made again when it is refused, after the time that the refusal names."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.refused: Counter[grpc.StatusCode] = Counter()
        self.ids: set[str] = set()

    async def send(self, number: int) -> None:
        """Send ten messages."""
        tokens = [f"T{number * 10 + n:09d}" for n in range(10)]
        request = pb.SendMessagesRequest(messages=[kill_load.message(token) for token in tokens])
        while True:
            try:
                reply = await self._stub.SendMessages(request, timeout=60)
            except grpc.aio.AioRpcError as error:
                self.refused[error.code()] += 1
                await asyncio.sleep(_retry_after_s(error))
                continue
            self.ids.update(result.accepted.message_id for result in reply.results)
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFailingDisk:
    """A node in this process, and what stands between it and its disk."""

    appliance: Appliance
    node: Node
    vfs: TracingVFS
    callers: Callers

    async def waiting(self) -> int:
        """Return how many messages its database has."""
        counts = await self.node.store.counts()
        return sum(number for name, number in counts.items() if name.startswith("queue."))


@asynccontextmanager
async def on_failing_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OnFailingDisk]:
    """Run a node without a carrier on a disk that can fail, with room for 300 new messages in its queue."""
    vfs = TracingVFS("failing-disk")
    small = {"vfs": vfs.name, "queue_limit": 400}
    monkeypatch.setattr(composition, "SqliteStore", lambda *args, **keys: SqliteStore(*args, **{**keys, **small}))
    appliance = await asyncio.to_thread(Appliance.create, folder / "appliance")
    node = Node(load(appliance.configure(CarrierSpec(port=1, ca_file=appliance.carrier_ca))))
    await node.start()
    caller = appliance.callers[0]
    credentials = grpc.ssl_channel_credentials(
        caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
    )
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    try:
        async with grpc.aio.secure_channel(node.api_address, credentials, options) as channel:
            callers = Callers(MessageServiceStub(channel))
            yield OnFailingDisk(appliance=appliance, node=node, vfs=vfs, callers=callers)
    finally:
        vfs.sync_takes_s, vfs.failing_write = 0.0, None
        await node.stop()
        vfs.close()


async def test_a_node_on_a_slow_disk_refuses_what_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sync takes 100 ms: what is beyond the queue is refused with RESOURCE_EXHAUSTED and a time to come again, and
    nothing else; who comes again is served, and each message is stored once."""
    async with on_failing_disk(tmp_path, monkeypatch) as site:
        site.vfs.sync_takes_s = 0.1
        await asyncio.gather(*[site.callers.send(number) for number in range(100)])
        assert set(site.callers.refused) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(site.callers.ids) == 1000
        assert await site.waiting() == 1000


_FAULTS = (
    (apsw.FullError, "the disk is full: free some space, writes go on by themselves"),
    (apsw.ReadOnlyError, "it is read-only"),
    (apsw.IOError, "reading or writing failed: check the disk"),
)


async def test_a_node_whose_disk_fails_goes_on_when_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk gets full, then read-only, then does not write at all, under calls: each is answered UNAVAILABLE with a
    time to come again, the alert says why, and nothing of it is stored. When the disk works the alert ends by itself,
    and who comes again is served, once."""
    async with on_failing_disk(tmp_path, monkeypatch) as site:
        for round_, (fault, why) in enumerate(_FAULTS):
            site.vfs.failing_write = fault
            calls = [asyncio.create_task(site.callers.send(round_ * 10 + number)) for number in range(10)]
            alerts = await _alerts_once(site, lambda alerts: "store_failing" in alerts)
            assert why in alerts["store_failing"]
            async with asyncio.timeout(_WITHIN_S):
                while site.callers.refused.total() < 10 * (round_ + 1):
                    await asyncio.sleep(0.02)
            assert await site.waiting() == len(site.callers.ids) == 100 * round_
            site.vfs.failing_write = None
            await asyncio.gather(*calls)
            await _alerts_once(site, lambda alerts: "store_failing" not in alerts)
        assert set(site.callers.refused) == {grpc.StatusCode.UNAVAILABLE}
        assert await site.waiting() == len(site.callers.ids) == 100 * len(_FAULTS)


async def _alerts_once(site: OnFailingDisk, wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Wait for the node to say of its alerts what is wanted; what it says."""
    async with asyncio.timeout(_WITHIN_S):
        while not wanted(alerts := await asyncio.to_thread(_alerts, site.appliance)):
            await asyncio.sleep(0.02)
    return alerts


def _torn(log: Path) -> None:
    """Leave the log as a machine does that loses power while it writes a commit that nobody was told of: some frames of
    it are there, one in part, and zeroes where the rest was to go."""
    octets = log.read_bytes()
    assert (
        32 + 3 * _FRAME < len(octets) < checkpoint.START_PAGES * _FRAME
    )  # it has not begun again: its end is its last
    first = len(octets) - (len(octets) - 32) % _FRAME  # where a frame may begin
    with log.open("r+b") as file:
        file.seek(first)
        file.write(octets[32 : 32 + 2 * _FRAME] + octets[32 : 32 + _FRAME // 3] + bytes(3 * _FRAME))


@pytest.mark.timeout(240)
def test_a_node_that_lost_power_while_it_wrote(tmp_path: Path) -> None:
    """Killed under load, with a torn commit at the end of its log: it starts, and all that was acknowledged arrives.
    With damage before what was acknowledged it does not start, and says where; brought back, it does."""
    appliance, acknowledged = Appliance.create(tmp_path / "appliance"), tmp_path / "acknowledged.log"
    with simulator(appliance) as (carrier, smpp_port):
        spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=WINDOW, rate=5000.0)
        appliance.configure(spec)
        _killed_under_load(appliance, acknowledged)
        log = appliance.folder / "data" / "smsgw.db-wal"
        _torn(log)
        whole = log.read_bytes()
        log.write_bytes(whole[: 32 + 100] + bytes([whole[32 + 100] ^ 0x41]) + whole[32 + 101 :])  # in its first page
        with Running(appliance.serve_command(), log=tmp_path / "refused.err") as refused:
            assert refused.process.wait(60) == 1
        told = (tmp_path / "refused.err").read_text()
        assert re.search(rf"{log} is damaged at octet \d+", told), told
        log.write_bytes(whole)
        with appliance.node():
            counts = drained(appliance)
        judge(acknowledged, carrier.arrived(), counts, 1)
        check_database(appliance.folder / "data" / "smsgw.db")


def _killed_under_load(appliance: Appliance, acknowledged: Path) -> None:
    with appliance.node() as (node, port):
        command = [sys.executable, "-m", "tests.gateway.kill_load"]
        arguments = [str(port), str(appliance.folder / "pki"), str(acknowledged), str(RATE)]
        with Running([*command, *arguments], log=acknowledged.with_suffix(".err")) as load_process:
            _until_acknowledged(acknowledged, 1000)
            node.end(signal.SIGKILL)
            load_process.end()
