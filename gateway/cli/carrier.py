"""`smsgw carrier`: the carriers as they stand, and what an operator does to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.live import Live

from gateway.cli.carrier_explain import explain
from gateway.cli.carrier_picture import picture
from gateway.cli.carrier_probe import probe
from gateway.cli.carrier_trace import trace
from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import console, emit, json_option, print_table
from gateway.cli.render import as_json as to_json
from gateway.client import CALL_TIMEOUT_S, explained, open_channel
from gateway.config.client_file import ClientSettings
from smsgw.v1 import carrier_service_pb2 as pb
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceStub

if TYPE_CHECKING:
    from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceAsyncStub  # known to the stubs' types only

_F = TypeVar("_F", bound=Callable[..., Any])

_DRAIN_TIMEOUT_S = 900.0  # api.drain_timeout is at most ten minutes, for each bind


@click.group(short_help="Show, pause, drain, resume and rebind carriers.")
def carrier() -> None:
    """Carriers: how they stand, and what an operator does to them.

    `smsgw carrier explain` says which carrier a message would go by, and why; it needs no more than the configuration.
    `smsgw carrier probe` finds out what a carrier does, and proposes its settings; it sends test messages by itself.
    The other commands call the node's administrative address (admin.listen in smsgw.yaml) as an operator: client.yaml
    says where that is and with which certificate, in its section admin. What is changed here is on record (`smsgw audit
    tail`), with who did it and why, and stays so after a restart of the node.

    \b
    To stop sending by a carrier and keep its binds, so that receipts still come in:
      smsgw carrier pause acme --reason 'they ask us to, ticket 4711'
      smsgw carrier resume acme
    """


carrier.add_command(explain)
carrier.add_command(probe)
carrier.add_command(trace)


@contextlib.asynccontextmanager
async def carriers(settings: ClientSettings) -> AsyncIterator[CarrierServiceAsyncStub]:
    """Return what CarrierService is called by. Raises IdentityUnusable and CallFailed."""
    async with open_channel(settings) as channel:
        with explained(settings):
            yield CarrierServiceStub(channel)


@carrier.command(short_help="Show all carriers and their binds.")
@click.argument("names", nargs=-1, metavar="[CARRIER]...")
@click.option("--watch", is_flag=True, help="Show it again each second, until interrupted.")
@connection_options
@json_option
def status(names: tuple[str, ...], watch: bool, as_json: bool, **options: Any) -> None:
    """Show carriers in the order of the configuration: whether they take messages, and each of their binds.

    Of a carrier: how many messages wait for it in memory, and since when; submit_sm a second (mean of ten seconds) of
    how many may go now; the time to an answer. Below, where there is something to say: who holds it and why, that its
    breaker is not closed or its pace is reduced, and how it answered. Of a bind: WINDOW is how many PDUs are written
    and unanswered, of how many there may be; IN DOUBT how many would be in doubt if the node ended now.

    \b
    Examples:
      smsgw carrier status
      smsgw carrier status acme --watch
      smsgw carrier status --json
    """
    settings = operator_settings(options)

    async def once(stub: CarrierServiceAsyncStub) -> list[pb.Carrier]:
        with explained(settings):
            response = await stub.GetCarriers(pb.GetCarriersRequest(), timeout=CALL_TIMEOUT_S)
        return [carrier for carrier in response.carriers if not names or carrier.name in names]

    async def work() -> None:
        async with carriers(settings) as stub:
            await _show_again_and_again(lambda: once(stub), as_json) if watch else _show(await once(stub), as_json)

    run(work())


async def _show_again_and_again(once: Callable[[], Awaitable[list[pb.Carrier]]], as_json: bool) -> None:
    if as_json:
        while True:
            _show(await once(), as_json)
            await asyncio.sleep(1)
    with Live(picture(await once()), console=console(wrap=True), auto_refresh=False) as live:
        while True:
            await asyncio.sleep(1)
            live.update(picture(await once()), refresh=True)


def _show(found: list[pb.Carrier], as_json: bool) -> None:
    if as_json:
        for each in found:
            emit(to_json(each, whole=True))
    elif found:
        print_table(picture(found))
    else:
        console().print("no carrier: smsgw.yaml names none, or none of these")


def _carrier_command(command: _F) -> _F:
    """Give a command a carrier, the connection's options and --json."""
    return click.argument("name", metavar="CARRIER")(connection_options(json_option(command)))


_REASON = click.option("--reason", required=True, help="Why, for those who come after. It is recorded.")


def _do(
    options: dict[str, Any], as_json: bool, call: Callable[[CarrierServiceAsyncStub], Awaitable[pb.Carrier]]
) -> None:
    settings = operator_settings(options)

    async def work() -> pb.Carrier:
        async with carriers(settings) as stub:
            return await call(stub)

    _show([run(work())], as_json)


@carrier.command(short_help="Give a carrier nothing new; its binds stay up.")
@_carrier_command
@_REASON
def pause(name: str, reason: str, as_json: bool, **options: Any) -> None:
    """Give a carrier nothing new. Its binds stay up: what it has is answered, receipts and inbound messages come in.

    Messages go by other carriers where they may, and wait otherwise. It stays so until `smsgw carrier resume`, also
    after a restart.

    \b
    Example:
      smsgw carrier pause acme --reason 'their receipts are wrong, ticket 4711'
    """

    async def call(stub: CarrierServiceAsyncStub) -> pb.Carrier:
        request = pb.PauseCarrierRequest(carrier=name, reason=reason)
        return (await stub.PauseCarrier(request, timeout=CALL_TIMEOUT_S)).carrier

    _do(options, as_json, call)


@carrier.command(short_help="Give a carrier nothing new, wait for its answers, and unbind.")
@_carrier_command
@_REASON
def drain(name: str, reason: str, as_json: bool, **options: Any) -> None:
    """Give a carrier nothing new, wait for the answers to what it has (api.drain_timeout), and unbind.

    What is not answered by then is in doubt, as at any lost connection. Receipts do not come in while there is no bind:
    carriers keep them, and deliver them after `smsgw carrier resume`. It stays so after a restart.

    \b
    Example:
      smsgw carrier drain acme --reason 'they move to another data centre tonight'
    """

    async def call(stub: CarrierServiceAsyncStub) -> pb.Carrier:
        request = pb.DrainCarrierRequest(carrier=name, reason=reason)
        return (await stub.DrainCarrier(request, timeout=_DRAIN_TIMEOUT_S)).carrier

    _do(options, as_json, call)


@carrier.command(short_help="Let a carrier take messages again.")
@_carrier_command
@click.option("--reason", default="", help="Why; may be left out. It is recorded.")
def resume(name: str, reason: str, as_json: bool, **options: Any) -> None:
    """End a pause or a drain: the carrier is bound again if need be, and takes messages.

    \b
    Example:
      smsgw carrier resume acme
    """

    async def call(stub: CarrierServiceAsyncStub) -> pb.Carrier:
        request = pb.ResumeCarrierRequest(carrier=name, reason=reason)
        return (await stub.ResumeCarrier(request, timeout=CALL_TIMEOUT_S)).carrier

    _do(options, as_json, call)


@carrier.command(short_help="End binds in order, and bind anew at once.")
@_carrier_command
@_REASON
@click.option("--bind", type=click.IntRange(min=0), help="The number of one bind; left out: all, one after the other.")
def rebind(name: str, reason: str, bind: int | None, as_json: bool, **options: Any) -> None:
    """End one bind or all binds of a carrier in order, and bind anew at once. The others carry on meanwhile.

    A bind that is ended gets nothing more, waits for its answers (api.drain_timeout), and unbinds. A paused carrier
    stays paused.

    \b
    Examples:
      smsgw carrier rebind acme --reason 'receipts stopped coming on this bind' --bind 1
      smsgw carrier rebind acme --reason 'they put a new server behind their address'
    """

    async def call(stub: CarrierServiceAsyncStub) -> pb.Carrier:
        request = pb.RebindCarrierRequest(carrier=name, reason=reason, bind=bind)
        return (await stub.RebindCarrier(request, timeout=_DRAIN_TIMEOUT_S)).carrier

    _do(options, as_json, call)
