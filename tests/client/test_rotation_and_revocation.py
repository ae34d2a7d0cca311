"""The judge of rotation and revocation together: a node and an authority under load, seen from workloads alone.

Good workloads renew again and again, from files and from a Workload API, while others are revoked under the same load.
No call, stream or watch of a good one fails; of a revoked one none passes after its revocation is in force.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.ca.authority import Authority
from certs.ca.profile import LeafRequest
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid, publish
from smsgw.client import (
    AsyncClient,
    IdentityFiles,
    IdentitySource,
    Message,
    NotRecognised,
    Sent,
    StateChanged,
    WorkloadIdentity,
)
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub
from tests.appliance import TENANT, TRUST_DOMAIN, Appliance
from tests.certs.workload.spire import Identity, Spire, der, response, serving
from tests.client.callers import otp
from tests.gateway.operation import Operation, configure, fresh, operating, simulators

SERVER_ID = f"spiffe://{TRUST_DOMAIN}/gateway"
GOOD = 8
CALLS_A_SECOND = 200
MAX_OPEN = 400  # calls: a slow machine makes them late, not many
BOUND_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of it."""

    rotations: int
    revocations: int
    seconds: float
    share: float  # of the calls asked for that have to be made: a slow machine may make fewer


SHORT = Plan(rotations=24, revocations=6, seconds=4.0, share=0.25)
WHOLE = Plan(rotations=100, revocations=20, seconds=60.0, share=0.9)


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("judge") / "site", operator=True)


@dataclass(slots=True)
class Workload:
    """One workload: an identity that the authority issues, and what became of its calls."""

    name: str
    authority: Authority
    folder: Path
    spire: Spire | None = None  # None: its identity is in files
    client: AsyncClient | None = None
    sent: list[str] = field(default_factory=list)
    began: list[tuple[float, str]] = field(default_factory=list)  # when each call began, and how it ended

    @property
    def spiffe_id(self) -> str:
        """Whose calls they are."""
        return f"spiffe://{TRUST_DOMAIN}/{TENANT}/{self.name}"

    def rotate(self) -> None:
        """Have the authority issue a new SVID, and hand it over as an agent does."""
        svid = self.authority.issue(LeafRequest(spiffe_id=SpiffeId.parse(self.spiffe_id)), dt.datetime.now(dt.UTC))
        if self.spire is None:
            publish(svid, self.folder / f"{self.name}.pem", self.folder / f"{self.name}.key")
        else:
            self.spire.say(self._state(svid))

    def _state(self, svid: X509Svid) -> bytes:
        key = svid.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        chain, bundle = der(*svid.chain), der(*x509.load_pem_x509_certificates(self.authority.bundle.to_pem()))
        return response(Identity(spiffe_id=self.spiffe_id, chain=chain, key=key, bundle=bundle))

    async def open(self, stack: AsyncExitStack, address: str) -> None:
        """Get the first identity, and make the client."""
        self.rotate()
        source: IdentitySource
        if self.spire is None:
            pem, key = (self.folder / f"{self.name}{suffix}" for suffix in (".pem", ".key"))
            source = IdentityFiles(pem, key, self.folder.parent / "pki" / "bundle.pem", look_every_s=0.05)
        else:
            source = WorkloadIdentity(await stack.enter_async_context(serving(self.spire, self.folder / self.name)))
        self.client = await stack.enter_async_context(AsyncClient(address, server_id=SERVER_ID, identity=source))

    async def call(self, number: int) -> None:
        """Send one message, and note how it went."""
        assert self.client is not None
        began = time.monotonic()
        try:
            self.sent.append((await self.client.send(otp(number, to=f"+4915{number:09d}"), timeout_s=BOUND_S)).id)
        except NotRecognised as refused:
            self.began.append((began, refused.reason))
        else:
            self.began.append((began, "OK"))


@dataclass(slots=True)
class Flow:
    """A stream of messages and a watch of events of one workload, which go on until they are ended."""

    workload: Workload
    ended: asyncio.Event
    following: asyncio.Event = field(default_factory=asyncio.Event)
    seen: Counter[str] = field(default_factory=Counter)  # message id → how often it was ACCEPTED

    async def _messages(self) -> AsyncIterator[Message]:
        number = 0
        while not self.ended.is_set():
            yield otp(number, to=f"+4916{number:09d}")
            number += 1
            await asyncio.sleep(0.05)

    async def stream(self) -> None:
        """Send until ended."""
        assert self.workload.client is not None
        async for _, outcome in self.workload.client.stream(self._messages()):
            assert isinstance(outcome, Sent)
            self.workload.sent.append(outcome.id)

    async def watch(self) -> None:
        """Follow for ever."""
        assert self.workload.client is not None
        async with self.workload.client.events() as events:
            self.following.set()
            async for event in events:
                if isinstance(event, StateChanged) and event.state.name == "ACCEPTED":
                    self.seen[event.message_id] += 1


async def load(workloads: Sequence[Workload], ended: asyncio.Event) -> None:
    """Begin so many calls a second, of one workload after the other, until ended; wait for all."""
    room = asyncio.Semaphore(MAX_OPEN)
    began, number = time.monotonic(), 0
    async with asyncio.TaskGroup() as calls:
        while not ended.is_set():
            await room.acquire()
            task = calls.create_task(workloads[number % len(workloads)].call(number))
            task.add_done_callback(lambda _: room.release())
            number += 1
            await asyncio.sleep(max(0.0, began + number / CALLS_A_SECOND - time.monotonic()))


@asynccontextmanager
async def node(appliance: Appliance) -> AsyncIterator[Operation]:
    """Run a node and a carrier."""
    fresh(appliance)
    async with simulators(appliance, ["acme"]) as carriers:
        configure(appliance, carriers)
        async with operating(appliance, carriers) as operation:
            yield operation


async def revoke(operation: Operation, spiffe_id: str) -> None:
    """Revoke an identity as an operator does: the answer comes when that is in force."""
    target = pb.RevocationTarget(identity=pb.IdentityTarget(spiffe_id=spiffe_id))
    stub = RevocationServiceStub(operation.channel("operator", operation.node.admin_address))
    await stub.Revoke(pb.RevokeRequest(targets=[target], reason="the judge"), timeout=BOUND_S)


async def spread(plan: Plan, count: int) -> AsyncIterator[int]:
    """Yield numbers, evenly over the plan's time."""
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + plan.seconds * (number + 0.5) / count - time.monotonic()))
        yield number


@dataclass(slots=True)
class Judged:
    """A node under load, and its workloads."""

    operation: Operation
    plan: Plan
    good: list[Workload]
    bad: list[Workload]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    in_force: dict[str, float] = field(default_factory=dict)  # workload → when its revocation was

    async def rotate(self) -> None:
        """Renew the good workloads, one after the other, each time until the new identity is in use."""
        async for number in spread(self.plan, self.plan.rotations):
            workload = self.good[number % GOOD]
            before = rotations(workload)
            workload.rotate()
            await until(lambda: rotations(workload) > before)  # noqa: B023 -- it is awaited here

    async def revoke(self) -> None:
        """Revoke the bad workloads, one after the other."""
        async for number in spread(self.plan, self.plan.revocations):
            await revoke(self.operation, self.bad[number].spiffe_id)
            self.in_force[self.bad[number].name] = time.monotonic()

    async def under_load(self) -> None:
        """Do both under load, and go on until each workload has begun and ended a call after all of it."""
        workloads = [*self.good, *self.bad]
        async with asyncio.timeout(self.plan.seconds + BOUND_S), asyncio.TaskGroup() as group:
            group.create_task(load(workloads, self.ended))
            await asyncio.gather(self.rotate(), self.revoke())
            after = time.monotonic()
            await until(lambda: all(any(began > after for began, _ in workload.began) for workload in workloads))
            self.ended.set()

    async def judge(self) -> None:
        """Run it with a stream and a watch for two workloads of each sort, and look at what each workload saw."""
        flows = [Flow(workload, self.ended) for workload in self.good[:2]]
        doomed = [Flow(workload, asyncio.Event()) for workload in self.bad[:2]]
        watches = [asyncio.create_task(flow.watch()) for flow in flows + doomed]
        for flow in flows + doomed:
            await flow.following.wait()
        streams = [asyncio.create_task(flow.stream()) for flow in flows + doomed]
        try:
            await self.under_load()
            async with asyncio.timeout(BOUND_S):
                await asyncio.gather(*streams[:2])
                refused = await asyncio.gather(*streams[2:], *watches[2:], return_exceptions=True)
                await until(lambda: all(set(flow.workload.sent) <= set(flow.seen) for flow in flows))
            assert not any(watch.done() for watch in watches[:2])
        finally:
            for task in watches + streams:
                task.cancel()
            await asyncio.gather(*watches, *streams, return_exceptions=True)
        assert [getattr(error, "reason", error) for error in refused] == ["REVOKED"] * len(refused)
        calls = sum(len(workload.began) for workload in [*self.good, *self.bad])
        print(f"{calls} calls in {self.plan.seconds:g} s, {CALLS_A_SECOND} a second asked for")
        assert calls >= self.plan.seconds * CALLS_A_SECOND * self.plan.share
        check_good(self.good, flows)
        check_bad(self.bad, self.in_force)


async def judge(appliance: Appliance, folder: Path, plan: Plan) -> None:
    """Run a node, and judge it."""
    authority = Authority.open(appliance.folder / "ca")
    place = appliance.folder / folder.name
    place.mkdir(mode=0o700)
    good = [Workload(f"good-{n}", authority, place, Spire() if n % 2 else None) for n in range(GOOD)]
    bad = [Workload(f"bad-{n}", authority, place) for n in range(plan.revocations)]
    async with AsyncExitStack() as stack:
        stack.callback(authority.close)
        operation = await stack.enter_async_context(node(appliance))
        for workload in good + bad:
            await workload.open(stack, operation.node.api_address)
        await Judged(operation, plan, good, bad).judge()


def rotations(workload: Workload) -> int:
    """Return how often a workload has taken a new identity into use."""
    assert workload.client is not None
    return workload.client.rotations


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not true():
        await asyncio.sleep(0.02)


def check_good(good: Sequence[Workload], flows: Sequence[Flow]) -> None:
    """No call of a good workload failed; what its stream sent came by its watch, each message once."""
    assert {how for workload in good for _, how in workload.began} == {"OK"}
    for workload in good:
        assert len(set(workload.sent)) == len(workload.sent)
    for flow in flows:
        assert set(flow.seen.values()) == {1}


def check_bad(bad: Sequence[Workload], in_force: dict[str, float]) -> None:
    """Each revoked workload was served before, and no call that began when its revocation was in force passed."""
    for workload in bad:
        assert "OK" in {how for _, how in workload.began}
        after = [how for began, how in workload.began if began > in_force[workload.name]]
        assert after
        assert set(after) == {"REVOKED"}


async def test_rotations_and_revocations_under_load(appliance: Appliance, tmp_path: Path) -> None:
    """A short form of it, for each run of the tests."""
    await judge(appliance, tmp_path, SHORT)


@pytest.mark.soak
async def test_a_hundred_rotations_and_twenty_revocations(appliance: Appliance, tmp_path: Path) -> None:
    """100 rotations and 20 revocations under 200 calls/s for a minute."""
    await judge(appliance, tmp_path, WHOLE)
