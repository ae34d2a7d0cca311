"""`smsgw keys list|rotate|rewrap|destroy`: the keys under which messages are sealed, on the running node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.table import Table

from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import Failure, Misused, console, emit, json_option, print_table, shown
from gateway.cli.render import as_json as to_json
from gateway.client import explained, open_channel
from smsgw.v1 import key_service_pb2 as pb
from smsgw.v1.key_service_pb2_grpc import KeyServiceStub

if TYPE_CHECKING:
    from smsgw.v1.key_service_pb2_grpc import KeyServiceAsyncStub  # known to the stubs' types only

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])

_TIMEOUT_S = 3600.0
_REASON = click.option("--reason", required=True, help="Why, for those who come after. It is recorded.")


@click.group(short_help="List, rotate, rewrap and destroy the keys that messages are sealed with.")
def keys() -> None:
    """List, rotate, rewrap and destroy the keys under which messages are sealed; docs/keys.md explains them.

    To a new key-encryption key, while the node runs: name it in smsgw.yaml, and the one of before among the older ones;
    then

    \b
      smsgw reload                      the node knows both
      smsgw keys rotate --reason R      new data keys are wrapped by the new one
      smsgw keys rewrap --reason R      and those of before, too
      smsgw keys list                   says which key-encryption keys have wrapped nothing any more
    """


def selection_options(command: _F) -> _F:
    """Give a command the options that select keys."""
    options = (
        click.option("--tenant", default="", help="Of this tenant."),
        click.option("--from", "first_day", default="", metavar="DAY", help="Made on this day or later (UTC)."),
        click.option("--to", "last_day", default="", metavar="DAY", help="Made on this day or earlier (UTC)."),
        click.option("--node", default="", metavar="NAME", help="Made by this node."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _selection(options: dict[str, Any]) -> pb.KeySelection:
    return pb.KeySelection(**{name: options.pop(name) for name in ("tenant", "first_day", "last_day", "node")})


def _call(options: dict[str, Any], call: Callable[[KeyServiceAsyncStub], Awaitable[_T]]) -> _T:
    settings = operator_settings(options)

    async def work() -> _T:
        async with open_channel(settings) as channel:
            with explained(settings):
                return await call(KeyServiceStub(channel))

    return run(work())


@keys.command("list", short_help="Show what wraps data keys, and how many there are of each day.")
@selection_options
@connection_options
@json_option
def list_keys(as_json: bool, **options: Any) -> None:
    """Show the key-encryption keys and what each has wrapped, then the data keys of each day and tenant.

    A key-encryption key that is not the newest and has wrapped nothing may be removed from smsgw.yaml, and destroyed.
    One that is not configured has wrapped keys that this node cannot open.

    \b
    Examples:
      smsgw keys list
      smsgw keys list --tenant acme --from 2026-11-01 --json
    """
    request = pb.ListKeysRequest(selection=_selection(options))
    found = _call(options, lambda stub: stub.ListKeys(request, timeout=_TIMEOUT_S))
    if as_json:
        emit(to_json(found, whole=True))
        return
    console().print(f"kept in {shown(found.home)}")
    table = Table("KEY-ENCRYPTION KEY", "DATA KEYS", "", box=None, pad_edge=False)
    for kek in found.key_encryption_keys:
        table.add_row(shown(kek.id), str(kek.keys), _standing(kek))
    print_table(table)
    table = Table("DAY", "TENANT", "KEYS", "DESTROYED", "", box=None, pad_edge=False)
    for day in found.days:
        table.add_row(day.day, shown(day.tenant), str(day.keys), str(day.destroyed), shown(day.destroyed_last))
    print_table(table)
    if found.more:
        console().print("there are more days: select some")


def _standing(kek: pb.KeyEncryptionKey) -> str:
    if kek.newest:
        return "wraps now"
    if not kek.configured:
        return "not configured: what it wrapped cannot be opened here"
    return "older: smsgw keys rewrap" if kek.keys else "has wrapped nothing: may be removed"


@keys.command(short_help="Let new data keys seal from now on.")
@_REASON
@connection_options
@json_option
def rotate(reason: str, as_json: bool, **options: Any) -> None:
    """End the data keys that seal now on this node, for each tenant, and have new ones, wrapped by the newest key.

    It happens by itself every quarter of an hour (keys.data_key_lifetime): this is for a new key-encryption key, or one
    that may have been seen. What was sealed before still opens; smsgw keys rewrap is for that.

    \b
    Example:
      smsgw reload && smsgw keys rotate --reason 'the key of 2027'
    """
    request = pb.RotateKeysRequest(reason=reason)
    done = _call(options, lambda stub: stub.RotateKeys(request, timeout=_TIMEOUT_S))
    if as_json:
        emit(to_json(done, whole=True))
    else:
        console().print(f"{done.made} new data keys, wrapped by {shown(done.newest)}")


@keys.command(short_help="Wrap all data keys by the newest key-encryption key.")
@_REASON
@connection_options
@json_option
def rewrap(reason: str, as_json: bool, **options: Any) -> None:
    """Wrap all data keys anew by the newest key-encryption key; messages are not touched, and the node goes on.

    It may be cut off at any moment, and called again: each key has its old wrap or its new one. Exits 1 when some could
    not be unwrapped; they are as before.

    \b
    Example:
      smsgw keys rewrap --reason 'the key of 2026 ends'
    """
    request = pb.RewrapKeysRequest(reason=reason)
    done = _call(options, lambda stub: stub.RewrapKeys(request, timeout=_TIMEOUT_S))
    if as_json:
        emit(to_json(done, whole=True))
    else:
        console().print(f"{done.rewrapped} data keys are wrapped by {shown(done.newest)} now")
    if done.failed:
        raise Failure(f"{done.failed} could not be unwrapped: {done.why}", reason="KEYS_NOT_UNWRAPPED")


@keys.command(short_help="Destroy data keys: what they sealed is gone for good.")
@selection_options
@_REASON
@click.option("--dry-run", is_flag=True, help="Say what would be destroyed.")
@click.option("--yes", is_flag=True, help="Do it: there is no way back.")
@connection_options
@json_option
def destroy(reason: str, dry_run: bool, yes: bool, as_json: bool, **options: Any) -> None:
    """Destroy the data keys of a tenant, of days, or both. What they sealed cannot be read any more, by nobody.

    It is refused while messages under these keys are not finished, and says how many. The node that is asked ends its
    own keys first, and goes on with new ones; keys of other nodes may still seal for half a day after they were made:
    then it says which nodes, and until when. Ask each of them, with --node. Copies of the wrapped keys undo it: destroy
    them, too (docs/keys.md). Each destroyed key leaves a record of when, by whom and why.

    \b
    Examples:
      smsgw keys destroy --tenant acme --to 2026-08-31 --reason 'contract ended' --dry-run
      smsgw keys destroy --tenant acme --to 2026-08-31 --reason 'contract ended' --yes
      smsgw keys destroy --tenant acme --node edge-1 --reason 'contract ended' --yes
    """
    if not (dry_run or yes):
        raise Misused("say --dry-run to see what would be destroyed, or --yes to destroy it", reason="NOT_CONFIRMED")
    selection = _selection(options)
    if not selection.ByteSize():
        raise Misused("say which: --tenant, --from, --to, --node, or several of them", reason="SELECTION_EMPTY")
    request = pb.DestroyKeysRequest(selection=selection, reason=reason, dry_run=dry_run)
    done = _call(options, lambda stub: stub.DestroyKeys(request, timeout=_TIMEOUT_S))
    if as_json:
        emit(to_json(done, whole=True))
        return
    verb = "would be destroyed" if dry_run else "are destroyed"
    console().print(f"{done.destroyed} data keys {verb}, {done.already} had been before")
