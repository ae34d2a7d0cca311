"""An agent on a socket, beside a certificate service."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from certs.agent.keeper import Files, Keeper, Round
from certs.agent.link import Authorities
from certs.agent.server import Agent
from certs.agent.workload_api import HEADER
from smsgw.spiffe import workload_pb2_grpc as rpc
from tests.certs.service.rig import DOMAIN, NAME, Rig, real_now

if TYPE_CHECKING:
    from smsgw.spiffe.workload_pb2_grpc import SpiffeWorkloadAPIAsyncStub  # known to the stubs' types only

METADATA = ((HEADER, "true"),)
BOUND_S = 60.0
NODES = "nodes:\n  - {spiffe_id: spiffe://example.org/node/web1}\nentries:\n"


def entry(path: str, extra: str = "", *, uid: int | None = None, more: str = "") -> str:
    """Return an entry for processes of our own user."""
    return (
        f"  - spiffe_id: spiffe://example.org{path}\n    node: spiffe://example.org/node/web1\n"
        f"    unix: {{uid: {os.getuid() if uid is None else uid}{extra}}}\n{more}"
    )


TWO = (
    NODES
    + entry("/billing", more="    hint: one\n")
    + entry("/second", more="    hint: two\n")
    + entry("/no", uid=54321)
)


@dataclass(kw_only=True)
class RunningAgent:
    """An agent, its rounds, and stubs that call it."""

    keeper: Keeper
    socket: Path
    rounds: list[Round] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def stub(self) -> AsyncIterator[SpiffeWorkloadAPIAsyncStub]:
        """Give a stub with a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"unix:{self.socket}", options=options) as channel:
            yield rpc.SpiffeWorkloadAPIStub(channel)

    async def until(self, condition: Callable[[Round], bool]) -> Round:
        """Wait for a round from now on that is as wanted."""
        seen = len(self.rounds)
        async with asyncio.timeout(BOUND_S):
            while not any(condition(found) for found in self.rounds[seen:]):
                await asyncio.sleep(0.02)
        return next(found for found in self.rounds[seen:] if condition(found))


def keeper_for(rig: Rig, folder: Path) -> Keeper:
    """Return a keeper with a fresh token for web1."""
    token = folder / "join.token"
    if not (folder / "state").exists():
        (folder / "state").mkdir(mode=0o700)
        token.touch(mode=0o600)
        token.write_text(rig.token() + "\n")
    where = Authorities(
        trust_domain=DOMAIN,
        address=f"127.0.0.1:{rig.port}",
        join_address=f"127.0.0.1:{rig.join_port}",
        server_name=NAME,
    )
    return Keeper(
        where, Files(state=folder / "state", bundle=rig.entries.parent / "ca" / "root.pem", token=token), real_now
    )


@contextlib.asynccontextmanager
async def running(rig: Rig, folder: Path) -> AsyncIterator[RunningAgent]:
    """Run an agent until the end of the block."""
    keeper, stop = keeper_for(rig, folder), asyncio.Event()
    agent = RunningAgent(keeper=keeper, socket=folder / "api.sock")

    def told(done: Round) -> None:
        agent.rounds.append(done)

    task = asyncio.create_task(Agent(keeper, agent.socket, real_now).run(stop, told))
    try:
        async with asyncio.timeout(BOUND_S):
            while not agent.socket.exists() and not task.done():
                await asyncio.sleep(0.02)
        yield agent
    finally:
        stop.set()
        await asyncio.wait_for(task, BOUND_S)
