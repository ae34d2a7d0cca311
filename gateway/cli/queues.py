"""`smsgw queues|pause|resume|purge|find`: messages that wait, by what they have in common."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import Misused, console, emit, json_option, print_table, shown
from gateway.cli.render import as_json as to_json
from gateway.cli.render import state_text
from gateway.client import CALL_TIMEOUT_S, explained, open_channel
from gateway.config.client_file import ClientSettings
from gateway.states import Category, State
from smsgw.v1 import carrier_service_pb2 as carriers_pb
from smsgw.v1 import message_pb2
from smsgw.v1 import queue_service_pb2 as pb
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceStub
from smsgw.v1.queue_service_pb2_grpc import QueueServiceStub

if TYPE_CHECKING:
    from smsgw.v1.queue_service_pb2_grpc import QueueServiceAsyncStub  # known to the stubs' types only

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")

_PURGE_TIMEOUT_S = 3600.0
_SELECTORS = ("tenant", "category", "carrier", "recipient", "owner")


def selection_options(command: _F) -> _F:
    """Give a command the options that select messages."""
    options = (
        click.option("--tenant", default="", help="Of this tenant."),
        click.option(
            "--category",
            type=click.Choice([category.name.lower() for category in Category], case_sensitive=False),
            help="Of this category.",
        ),
        click.option("--carrier", default="", help="Last tried by this carrier; for pauses: the carrier itself."),
        click.option("--recipient", default="", help="To this number, in E.164."),
        click.option("--owner", default="", metavar="SPIFFE_ID", help="Sent by this identity."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _selection(options: dict[str, Any]) -> pb.MessageSelection:
    """Take the selection out of `options`. Raises Misused when nothing is selected."""
    tenant, category, carrier, recipient, owner = (options.pop(name) for name in _SELECTORS)
    if not (tenant or category or carrier or recipient or owner):
        text = "say which messages: --tenant, --category, --carrier, --recipient, --owner, or several of them"
        raise Misused(text, reason="SELECTION_EMPTY")
    number = int(Category[category.upper()]) if category else 0
    return pb.MessageSelection(
        tenant=tenant, category=number, carrier=carrier, recipient=recipient, owner=owner,  # type: ignore[arg-type]  # a number will do
    )  # fmt: skip


@contextlib.asynccontextmanager
async def _queues(settings: ClientSettings) -> AsyncIterator[QueueServiceAsyncStub]:
    async with open_channel(settings) as channel:
        with explained(settings):
            yield QueueServiceStub(channel)


def _call(options: dict[str, Any], call: Callable[[QueueServiceAsyncStub], Awaitable[_T]]) -> _T:
    settings = operator_settings(options)

    async def work() -> _T:
        async with _queues(settings) as stub:
            return await call(stub)

    return run(work())


def _only_carrier(selection: pb.MessageSelection) -> bool:
    return bool(selection.carrier) and not (
        selection.tenant or selection.category or selection.recipient or selection.owner
    )


_REASON = click.option("--reason", required=True, help="Why, for those who come after. It is recorded.")


@click.command(short_help="Show how many messages wait, and what operators hold back.")
@connection_options
@json_option
def queues(as_json: bool, **options: Any) -> None:
    """Show how many messages wait of each category, since when, and what is held back by `smsgw pause`.

    HELD is put away by a pause; WAITING is in the database, due now or later; MEMORY is ready to be sent. What is
    paused counts as HELD when its turn to be sent has come, and as WAITING before.

    \b
    Example:
      smsgw queues
    """

    async def call(stub: QueueServiceAsyncStub) -> pb.GetQueuesResponse:
        return await stub.GetQueues(pb.GetQueuesRequest(), timeout=CALL_TIMEOUT_S)

    found = _call(options, call)
    if as_json:
        emit(to_json(found, whole=True))
        return
    table = Table("CATEGORY", "HELD", "WAITING", "MEMORY", "OLDEST DUE", box=None, pad_edge=False)
    for size in found.sizes:
        oldest = _when(size.oldest_due_at) if size.HasField("oldest_due_at") else ""
        numbers = (str(size.held), str(size.waiting), str(size.in_memory))
        table.add_row(Category(size.category).name, *numbers, oldest)
    print_table(table)
    for pause in found.pauses:
        console().print(_pause_line(pause))


@click.command(short_help="Hold messages back, by tenant, category, recipient or carrier.")
@selection_options
@_REASON
@connection_options
@json_option
def pause(reason: str, as_json: bool, **options: Any) -> None:
    """Hold back the messages that have all that is given in common, those that come later too, until `smsgw resume`
    with the same options. It holds after a restart.

    They are accepted as before, and keep their validity: what is not resumed in time expires. What is with a carrier
    already is not affected. --carrier alone pauses the carrier (`smsgw carrier pause`).

    \b
    Examples:
      smsgw pause --category promotional --reason 'complaints, ticket 4711'
      smsgw pause --tenant shop --category promotional --reason 'a loop in their mailing'
      smsgw pause --recipient +4915112345678 --reason 'asked us to stop'
    """
    selection = _selection(options)
    if _only_carrier(selection):
        _carrier_paused(options, selection.carrier, reason, as_json)
        return

    async def call(stub: QueueServiceAsyncStub) -> pb.MessagePause:
        request = pb.PauseMessagesRequest(selection=selection, reason=reason)
        return (await stub.PauseMessages(request, timeout=CALL_TIMEOUT_S)).pause

    made = _call(options, call)
    if as_json:
        emit(to_json(made))
    else:
        console().print(_pause_line(made))


def _carrier_paused(options: dict[str, Any], name: str, reason: str, as_json: bool) -> None:
    settings = operator_settings(options)

    async def work() -> carriers_pb.Carrier:
        async with open_channel(settings) as channel:
            with explained(settings):
                request = carriers_pb.PauseCarrierRequest(carrier=name, reason=reason)
                return (await CarrierServiceStub(channel).PauseCarrier(request, timeout=CALL_TIMEOUT_S)).carrier

    paused = run(work())
    if as_json:
        emit(to_json(paused, whole=True))
    else:
        console().print(f"carrier {shown(paused.name)} is paused; `smsgw carrier status` shows it")


@click.command(short_help="Let messages go on that were paused.")
@selection_options
@click.option("--reason", default="", help="Why; may be left out. It is recorded.")
@connection_options
@json_option
def resume(reason: str, as_json: bool, **options: Any) -> None:
    """Let the messages go on that were paused with the same options. `smsgw queues` shows what is paused.

    \b
    Example:
      smsgw resume --tenant shop --category promotional
    """
    selection = _selection(options)
    settings = operator_settings(options)

    async def work() -> None:
        async with open_channel(settings) as channel:
            with explained(settings):
                if _only_carrier(selection):
                    carrier = carriers_pb.ResumeCarrierRequest(carrier=selection.carrier, reason=reason)
                    await CarrierServiceStub(channel).ResumeCarrier(carrier, timeout=CALL_TIMEOUT_S)
                else:
                    request = pb.ResumeMessagesRequest(selection=selection, reason=reason)
                    await QueueServiceStub(channel).ResumeMessages(request, timeout=CALL_TIMEOUT_S)

    run(work())
    if as_json:
        emit({"resumed": True})
    else:
        console().print("resumed")


@click.command(short_help="Withdraw messages that have not left, by tenant, category, recipient or carrier.")
@selection_options
@_REASON
@click.option("--dry-run", is_flag=True, help="Count only, change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection_options
@json_option
def purge(reason: str, dry_run: bool, yes: bool, as_json: bool, **options: Any) -> None:
    """Withdraw the messages that have all that is given in common, and have not left: they become CANCELLED, with the
    reason PURGED, and their callers see it as an event.

    What may have left stays: what is with a carrier, and what waits to be sent again since its outcome is in doubt.
    There is no way back. Without --yes it counts, and asks. --carrier means messages whose last attempt was there;
    those that were not tried yet have none.

    \b
    Examples:
      smsgw purge --tenant shop --category promotional --reason 'sent twice, ticket 4711' --dry-run
      smsgw purge --recipient +4915112345678 --reason 'asked us to stop' --yes
    """
    selection = _selection(options)

    async def call(stub: QueueServiceAsyncStub, dry: bool) -> pb.PurgeMessagesResponse:
        request = pb.PurgeMessagesRequest(selection=selection, reason=reason, dry_run=dry)
        return await stub.PurgeMessages(request, timeout=_PURGE_TIMEOUT_S)

    if not (dry_run or yes):
        if as_json:
            raise Misused("nobody can be asked under --json: give --yes, or --dry-run", reason="NOT_CONFIRMED")
        counted = _call(dict(options), lambda stub: call(stub, True))
        click.confirm(f"withdraw {counted.cancelled} messages, for good?", abort=True)
    done = _call(options, lambda stub: call(stub, dry_run))
    if as_json:
        emit({**to_json(done, whole=True), "dry_run": dry_run})
        return
    console().print(f"{done.cancelled} messages {'would be ' if dry_run else ''}withdrawn")
    if done.doubtful:
        console().print(f"{done.doubtful} may have left, and stay")


@click.command(short_help="Find messages by recipient or tenant, masked.")
@selection_options
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.name.lower() for state in State], case_sensitive=False),
    help="In this state; may be given several times.",
)
@click.option("--limit", type=click.IntRange(min=1, max=10_000), default=50, show_default=True, help="At most so many.")
@connection_options
@json_option
def find(states: tuple[str, ...], limit: int, as_json: bool, **options: Any) -> None:
    """Find messages, newest first: to a recipient, or of a tenant. Recipients are masked, and contents are not shown.

    What was looked for, and how many were shown, is recorded; the recipient is not.

    \b
    Examples:
      smsgw find --recipient +4915112345678
      smsgw find --tenant shop --carrier acme --state undeliverable --limit 20 --json
    """
    selection = _selection(options)
    wanted = [message_pb2.MessageState.Value(f"MESSAGE_STATE_{state.upper()}") for state in states]

    async def call(stub: QueueServiceAsyncStub) -> list[pb.FoundMessage]:
        found: list[pb.FoundMessage] = []
        token = ""
        while len(found) < limit:
            size = min(500, limit - len(found))
            request = pb.FindMessagesRequest(selection=selection, states=wanted, page_size=size, page_token=token)
            response = await stub.FindMessages(request, timeout=CALL_TIMEOUT_S)
            found += response.messages
            token = response.next_page_token
            if not token:
                break
        return found

    messages = _call(options, call)
    if as_json:
        for message in messages:
            emit(to_json(message))
        return
    if not messages:
        console().print("no such message")
        return
    table = Table("MESSAGE", "ACCEPTED", "STATE", "TENANT", "CATEGORY", "TO", "FROM", "CARRIER", "WHY", box=None,
                  pad_edge=False)  # fmt: skip
    for each in messages:
        words = (each.tenant, Category(each.category).name, each.masked_recipient, each.sender, each.carrier)
        why = " ".join(text for text in (each.reason_code, each.reason_text) if text)
        accepted = _when(each.accepted_at)
        table.add_row(each.message_id, accepted, state_text(each.state), *map(shown, words), shown(why))
    print_table(table)


def _when(moment: Timestamp) -> str:
    return f"{moment.ToDatetime(dt.UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def _pause_line(pause: pb.MessagePause) -> str:
    selection = pause.selection
    what = [f"tenant {selection.tenant}"] if selection.tenant else []
    what += [Category(selection.category).name] if selection.category else []
    what += [f"to {selection.recipient}"] if selection.recipient else []
    what += [f"sent by {selection.owner}"] if selection.owner else []
    what += [f"until {_when(pause.accepted_until)}"] if pause.HasField("accepted_until") else []
    line = f"paused: {', '.join(what)}; by {pause.held_by} since {_when(pause.held_at)}: {pause.held_because}"
    return shown(line)
