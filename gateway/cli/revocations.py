"""`smsgw revocations`: what is revoked, and how fresh the node's list is; and how an entry is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import console, emit, json_option, print_table, shown
from gateway.cli.render import as_json as to_json
from gateway.client import CALL_TIMEOUT_S, explained, open_channel
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub

_PAGE = 500
_QUEUED = {1: "keep", 2: "hold", 3: "cancel"}


@click.command(short_help="Show who is revoked, until when, and by whom.")
@connection_options
@json_option
def revocations(as_json: bool, **options: Any) -> None:
    """Show who is revoked: in the order in which it was done, with the id by which `smsgw revoke --undo` takes it back.

    An entry ends by itself when everything that it names has expired, where that is known; the others stay until they
    are taken back. The last line says which list this is, and how long ago it was signed: the same version and digest
    on two nodes are the same list.

    \b
    Examples:
      smsgw revocations
      smsgw revocations --json
    """
    settings = operator_settings(options)

    async def work() -> tuple[list[pb.Revocation], pb.DenyListStatus]:
        found: list[pb.Revocation] = []
        token = ""
        async with open_channel(settings) as channel:
            with explained(settings):
                while True:
                    request = pb.ListRevocationsRequest(page_size=_PAGE, page_token=token)
                    page = await RevocationServiceStub(channel).ListRevocations(request, timeout=CALL_TIMEOUT_S)
                    found += page.revocations
                    token = page.next_page_token
                    if not token:
                        return found, page.status

    found, status = run(work())
    if as_json:
        for each in found:
            emit(to_json(each))
        emit({"status": to_json(status, whole=True)})
        return
    show(found)
    _show_status(status)


def show(found: Sequence[pb.Revocation]) -> None:
    """Print entries as a table; nothing for none."""
    if not found:
        return
    table = Table("ID", "REFUSES", "SINCE", "ENDS", "QUEUED", "BY", "BECAUSE", box=None, pad_edge=False)
    for each in found:
        ends = when(each.ends_at) if each.HasField("ends_at") else "never"
        by = each.revoked_by or "at the files"
        queued = _QUEUED.get(int(each.queued), "")
        words = (each.id, refuses(each.target), when(each.revoked_at), ends, queued, by, each.reason)
        table.add_row(*map(shown, words))
    print_table(table)


def refuses(target: pb.RevocationTarget) -> str:
    """Return what an entry refuses, in words."""
    if target.HasField("certificate"):
        certificate = target.certificate
        whose = f" of {certificate.spiffe_id}" if certificate.spiffe_id else ""
        return f"certificate {certificate.serial}{whose}, issued by {certificate.authority_key_id}"
    if target.HasField("authority"):
        return f"authority with the key {target.authority.public_key_sha256}"
    identity = target.identity
    if identity.for_good:
        return f"{identity.spiffe_id}, for good"
    return f"{identity.spiffe_id}, certificates from before {when(identity.valid_from_until)}"


def _show_status(status: pb.DenyListStatus) -> None:
    role = "signed here" if status.publisher else "followed"
    signed = f", signed {when(status.signed_at)}" if status.HasField("signed_at") else ""
    out = console()
    out.print(f"{status.entries} revoked; version {status.version}, {status.digest[:12]}, {role}{signed}")
    for name in status.followers:
        out.print(f"followed by {shown(name)}")


def when(moment: Timestamp) -> str:
    """Return a time for people."""
    return f"{moment.ToDatetime(dt.UTC).astimezone():%Y-%m-%d %H:%M:%S}"
