"""`smsgw revoke`: refuses an identity on every node from now on, takes that back, or does it at the files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import click

from gateway.api.operating import reason_of
from gateway.api.revocation_requests import MAX_TARGETS, as_entries, as_revocation
from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import Failure, Misused, console, emit, json_option
from gateway.cli.render import as_json as to_json
from gateway.cli.revocation_targets import named, target_options
from gateway.cli.revocations import show
from gateway.cli.revoke_at_ca import ca_of, ca_options, chunks, concerns_ca, revoked_at_ca
from gateway.client import CALL_TIMEOUT_S, explained, open_channel
from gateway.config.client_file import CaSettings, ClientSettings, load_client
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.errors import InvalidRequest
from gateway.revocation.assembly import dating_of, edition_of
from gateway.revocation.errors import BadEntry, DenyListError, UnknownEntry
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub

_QUEUED = {
    "keep": pb.QUEUED_MESSAGES_KEEP,
    "hold": pb.QUEUED_MESSAGES_HOLD,
    "cancel": pb.QUEUED_MESSAGES_CANCEL,
}


class Order(NamedTuple):
    """What is to be done: revoke by `request`, at `ca` too if there is one, or take the entry `undo` back."""

    request: pb.RevokeRequest
    undo: str
    ca: CaSettings | None = None


@click.command(short_help="Refuse an identity from now on, everywhere, and cut its calls.")
@target_options
@ca_options
@click.option("--undo", metavar="ID", default="", help="Take a revocation back, by its id in `smsgw revocations`.")
@click.option("--reason", required=True, help="Why, for those who come after. It is recorded, and every node has it.")
@click.option(
    "--queued",
    type=click.Choice(list(_QUEUED)),
    help="What the identity has waiting: keep sends it, hold puts it aside, cancel withdraws it. Left out: hold, where "
    "the identity is known.",
)
@click.option("--including-me", is_flag=True, help="Also when it refuses the identity that you call with.")
@click.option(
    "--offline", is_flag=True, help="Write into the publisher's data folder, without any node or certificate."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --offline: the publisher's configuration. Left out: smsgw.yaml in the folder of --dir.",
)
@connection_options
@json_option
def revoke(
    undo: str,
    reason: str,
    queued: str | None,
    including_me: bool,
    offline: bool,
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Refuse an identity, a certificate or an authority from now on, on every node. Calls and streams under way are
    cut, new ones refused, with UNAUTHENTICATED and the reason REVOKED. It answers when it is on disk, and in force on
    the node that signs the deny list; the others have it a moment later.

    \b
    What to name:
      --spiffe-id     a workload, with every certificate that it has now. Attested anew, it gets a
                      certificate that is let in again; with --for-good it does not.
      --certificate   one certificate that was stolen. The workload goes on with another one.
      --authority     an authority whose key was stolen: everything below it, whatever it claims.

    What waits of the identity is held back unless --queued says otherwise: `smsgw queues` shows it, `smsgw resume
    --owner` lets it go, `smsgw purge --owner` withdraws it. With --authority nobody's messages are held.

    With --ca, or a section ca in client.yaml, it is revoked at the certificate authority as well, after the gateway: it
    is not renewed any more, and everything that was issued on its word is refused, certificate by certificate.

    --offline works where no node answers and no certificate is left: it writes the signed list into the data folder of
    the node that signs it, as the user of that node. A node that runs there takes it up at once.

    \b
    Examples:
      smsgw revoke --spiffe-id spiffe://example.org/payments/api --reason 'host lost, ticket 4711'
      smsgw revoke --certificate stolen.pem --queued cancel --reason 'key in a public image'
      smsgw revoke --authority intermediate.pem --reason 'CA host taken over' --including-me
      smsgw revoke --undo 5f3a9c2e --reason 'it was the wrong one'
      smsgw revoke --offline --dir /var/lib/smsgw --spiffe-id spiffe://example.org/x --reason 'no admin left'
    """
    order = _order(options, undo, reason, queued, including_me)
    order = order._replace(ca=ca_of(options, None if offline else _known_ca(options["directory"])))
    if offline:
        if order.ca is not None:
            raise Misused("--offline reaches no CA: run `smsgw ca revoke` there", reason="CA_UNUSED")
        revoked, version = _offline(order, config or options["directory"] / "smsgw.yaml")
    else:
        if config is not None:
            raise Misused("--config goes with --offline; --dir says which node to call", reason="CONFIG_UNUSED")
        revoked, version = run(_call(operator_settings(options), order))
    _tell(revoked, version, as_json)


def _order(options: dict[str, Any], undo: str, reason: str, queued: str | None, including_me: bool) -> Order:
    what = named(options)
    if (what is None) == (not undo):
        text = "name what to refuse: --spiffe-id, --certificate, --serial, --authority or --authority-key; or --undo ID"
        raise Misused(text, reason="TARGETS_INVALID")
    if undo and queued:
        raise Misused("--undo changes nothing about what waits: `smsgw resume --owner` does", reason="QUEUED_INVALID")
    request = pb.RevokeRequest(
        targets=[what.target] if what is not None else [],
        reason=reason,
        queued=_QUEUED[queued] if queued else pb.QUEUED_MESSAGES_UNSPECIFIED,
        including_me=including_me,
    )
    return Order(request, undo)


async def _call(settings: ClientSettings, order: Order) -> tuple[list[pb.Revocation], int]:
    async with open_channel(settings) as channel:
        with explained(settings):
            stub = RevocationServiceStub(channel)
            if order.undo:
                request = pb.RestoreRequest(id=order.undo, reason=order.request.reason)
                return [], (await stub.Restore(request, timeout=CALL_TIMEOUT_S)).version
            done = await stub.Revoke(order.request, timeout=CALL_TIMEOUT_S)
            (target,) = order.request.targets
            if order.ca is None or not concerns_ca(target):
                return list(done.revocations), done.version
    issued = await revoked_at_ca(settings, order.ca, target, order.request.reason)
    return await _expanded(settings, order.request, done, issued)


async def _expanded(
    settings: ClientSettings, request: pb.RevokeRequest, done: pb.RevokeResponse, issued: list[pb.RevocationTarget]
) -> tuple[list[pb.Revocation], int]:
    """Refuse what the authority has revoked, certificate by certificate; for an identity that is not revoked for good
    this stands instead of the moment up to which it was refused."""
    revoked, version = list(done.revocations), done.version
    async with open_channel(settings) as channel:
        with explained(settings):
            stub = RevocationServiceStub(channel)
            for some in chunks(issued, MAX_TARGETS):
                more = pb.RevokeRequest(
                    targets=some, reason=request.reason, queued=request.queued, including_me=request.including_me
                )
                found = await stub.Revoke(more, timeout=CALL_TIMEOUT_S)
                revoked += found.revocations
                version = found.version
            (target,) = request.targets
            if issued and target.HasField("identity") and not target.identity.for_good:
                (first,) = done.revocations
                why = f"expanded to the {len(issued)} certificates that the CA has revoked"
                restored = await stub.Restore(pb.RestoreRequest(id=first.id, reason=why), timeout=CALL_TIMEOUT_S)
                revoked, version = revoked[1:], restored.version
    return revoked, version


def _known_ca(directory: Path) -> CaSettings | None:
    """Return the authority that client.yaml names; none without such a file, of which others complain."""
    try:
        return load_client(directory / "client.yaml").ca
    except ConfigError:
        return None


def _offline(order: Order, config: Path) -> tuple[list[pb.Revocation], int]:
    """Do it at the files of the publisher. Raises Failure."""
    try:
        settings = load(config)
        if settings.revocation.publisher is not None:
            text = f"this node follows {settings.revocation.publisher}: --offline is for the node that signs the list"
            raise Misused(text, reason="NOT_THE_PUBLISHER")
        now = time.time_ns() // 1000
        reason = reason_of(order.request.reason)
        edition = edition_of(settings.revocation, settings.node.data_dir)
        dating = dating_of(settings.revocation)
        entries = [] if order.undo else as_entries(order.request, dating, by="", reason=reason, now=now)
        deny = edition.change(entries, [order.undo] if order.undo else [], now)
        edition.remember(deny)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    except (InvalidRequest, BadEntry, UnknownEntry) as error:
        raise Misused(str(error), reason="TARGETS_INVALID") from error
    except DenyListError as error:
        raise Failure(str(error), reason="DENY_LIST_UNAVAILABLE") from error
    ids = {entry.id for entry in entries}
    return [as_revocation(entry) for entry in deny.entries if entry.id in ids], deny.version


def _tell(revoked: list[pb.Revocation], version: int, as_json: bool) -> None:
    if as_json:
        emit({"revocations": [to_json(each) for each in revoked], "version": version})
        return
    out = console()
    out.print(f"{'revoked' if revoked else 'taken back'}; version {version} of the deny list")
    show(revoked)
    if any(each.queued == pb.QUEUED_MESSAGES_HOLD for each in revoked):
        out.print("what waits is held: `smsgw queues` shows it, `smsgw resume --owner` lets it go on")
