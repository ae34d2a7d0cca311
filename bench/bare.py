"""A node without policies, limits, sealing, traces and audit: what they cost is the difference. For `make bench` only.

It is a composition of the benchmark's own: `gateway.composition` wires the node as ever, with parts from here in the
place of those that decide, count, seal and record. The product has no switch for that, and cannot import this. Callers
are still recognised, and must have a tenant and not be revoked; the metrics are still counted.

    python -m bench.bare --config smsgw.yaml

Whatever its configuration says, it serves on loopback only, and sends nowhere else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import apsw
import uvloop

from gateway import composition, servers
from gateway.api.interceptors import Call, Guard, IdentityGuard, MethodTableGuard, RevocationGuard
from gateway.api.limiting import CallLimits
from gateway.audit.hot import Gathered
from gateway.audit.records import Record
from gateway.cli import logs
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.errors import GatewayError, RateLimited
from gateway.heap import settle_heap
from gateway.identity import Caller
from gateway.node import Node
from gateway.payload import PayloadBox
from gateway.policy.authorizer import Authorizer
from gateway.policy.engine import Decision, Reason
from gateway.store.sqlite import SqliteStore
from gateway.telemetry.assembly import build_telemetry
from gateway.telemetry.telemetry import Telemetry
from gateway.telemetry.tracing import Tracing

_YES = Decision(True, Reason.PERMITTED, ("nobody-asked",))


class NoPolicies(Authorizer):
    """Permits everything."""

    def call(self, caller: Caller, action: str, address: str, now: int) -> Decision:
        """Permit."""
        del caller, action, address, now
        return _YES

    def sending(self, caller: Caller, address: str, now: int, batch: int) -> Any:
        """Permit."""
        del caller, address, now, batch
        return self

    def routing(self, carrier: str, now: int, *, attempt: bool = False) -> Any:
        """Permit."""
        del carrier, now, attempt
        return self

    def decide(self, *question: object) -> Decision:
        """Permit."""
        del question
        return _YES


class NoCallLimits(CallLimits):
    """Lets everybody call."""

    def call(self, caller: Caller, tokens: int) -> None:
        """Take nothing."""

    def certificate(self, peer: str) -> None:
        """Take nothing."""


class NoMessageLimits:
    """Lets everybody send: both the limits and what they hold."""

    def share(self, nodes: int) -> None:
        """There is nothing to have a slice of."""

    def admission(self, tenant: str, caller: str, messages: int, now: int) -> NoMessageLimits:
        """Hold nothing."""
        del tenant, caller, messages, now
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Give nothing back."""

    def hold(self, recipient: str) -> RateLimited | None:
        """There is room."""
        del recipient
        return None

    def settle(self, stored: Iterable[bool], now: int) -> None:
        """Take nothing."""


class NoBox(PayloadBox):
    """Stores payloads as they are."""

    def __init__(self, *keys: object) -> None:
        del keys

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return the payload."""
        del tenant, object_id, field
        return payload

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return the payload."""
        del tenant, object_id, field
        return stored

    def at_hand(self, stored: Iterable[bytes]) -> bool:
        """There is nothing to fetch."""
        del stored
        return True

    async def ready(self, stored: Iterable[bytes]) -> None:
        """Fetch nothing."""


class NoDecisions:
    """What a call has for the audit, and what it waits for: nothing."""

    def take(self, denied: Iterable[GatewayError] = ()) -> list[Record]:
        """Nothing to record."""
        del denied
        return []

    def give_back(self) -> None:
        """Nothing was taken."""

    async def record(self, denied: Iterable[GatewayError]) -> None:
        """Record nothing."""

    async def admitted(self, call: Call) -> None:
        """Wait for nothing."""

    async def answered(self, call: Call) -> None:
        """Wait for nothing."""

    async def refused(self, call: Call, error: Exception) -> Exception:
        """Record nothing."""
        del call
        return error

    def abandoned(self, call: Call) -> None:
        """Record nothing."""


class Permitting:
    """Stands for the guards of limits, authorization and audit."""

    def __init__(self, recognised: Callable[[str], None]) -> None:
        self._recognised = recognised

    def enter(self, call: Call) -> None:
        """Give the call what those would have found out."""
        self._recognised(call.peer)
        call.address, call.decision = "", _YES
        call.audit = _NOTHING  # type: ignore[assignment]  # it does what is asked of it

    def message(self, call: Call) -> None:
        """Let it pass."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do."""


_NOTHING = NoDecisions()


class NoRecords(Gathered):
    """Gathers nothing for a commit."""

    def add(self, records: Sequence[Record]) -> None:
        """Gather nothing."""

    def stored(self, *fields: object, **more: object) -> None:
        """Gather nothing."""

    accepted = changed = changed_alike = inbound = sending = stored


class UnauditedStore(SqliteStore):
    """A store whose commits have no records."""

    def __init__(self, *where: Any, **options: Any) -> None:
        super().__init__(*where, **options)
        make = self._writer._make

        def unaudited(db: apsw.Connection) -> Any:
            tx = make(db)
            tx.records = NoRecords()
            return tx

        self._writer._make = unaudited


def _guards(telemetry: Guard, resolver: Any, clock: Any, revoked: Any, *unused: Any) -> tuple[Guard, ...]:
    _, _, limits, recognised, _ = unused  # in the order of gateway.api.interceptors.guards
    identity = IdentityGuard(resolver, clock, limits)
    return telemetry, identity, RevocationGuard(revoked), MethodTableGuard(), Permitting(recognised)


def _telemetry(*arguments: Any) -> Telemetry:
    telemetry = build_telemetry(*arguments)
    telemetry.tracing = Tracing.off()
    return telemetry


@contextlib.contextmanager
def bare_parts() -> Iterator[None]:
    """Have `gateway.composition` and `gateway.servers` find the parts from here. Raises AttributeError when one of them
    has no such part any more."""
    with (
        patch.multiple(
            composition,
            SealingBox=NoBox,
            SqliteStore=UnauditedStore,
            CallLimits=NoCallLimits,
            message_limits=lambda _: NoMessageLimits(),
            build_telemetry=_telemetry,
        ),
        patch.multiple(servers, CallAudit=lambda *_: _NOTHING, guards=_guards),
        patch("gateway.assembly.Authorizer", NoPolicies),
    ):
        yield


def refuse_off_loopback(settings: Settings) -> None:
    """Raise ValueError for a node that others could reach, or that would reach others."""
    for what, host in (
        ("the API", settings.api.listen.host),
        *((f"the carrier {carrier.name}", carrier.host) for carrier in settings.carriers),
    ):
        if not _is_loopback(host):
            raise ValueError(f"{what} is at {host}: a node without policies is for benchmarks on loopback only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _run(settings: Settings) -> None:
    with bare_parts():
        node = Node(settings)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        await node.start()
        settle_heap()
        print(f"bare node ready: api {node.api_address}", flush=True)
        await node.run_until(stop)
    finally:
        await node.stop()


def main() -> int:
    """Run the node until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bench.bare", description="A node of the benchmark.")
    parser.add_argument("--config", type=Path, required=True)
    settings = load(parser.parse_args().config)
    try:
        refuse_off_loopback(settings)
    except ValueError as error:
        print(f"bench.bare: {error}", file=sys.stderr)
        return 2
    logs.set_up(settings.log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
