"""`smsgw privacy`: what is kept of one person, exported and erased; and how it stands with what is to go."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
import sys
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any, BinaryIO

import click
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import Exit, Misused, console, emit, json_option, shown
from gateway.cli.render import as_json as to_json
from gateway.client import CALL_TIMEOUT_S, explained, open_channel
from gateway.config.client_file import ClientSettings
from smsgw.v1 import privacy_service_pb2 as pb
from smsgw.v1.privacy_service_pb2_grpc import PrivacyServiceStub

_LONG_S = 3600.0  # all messages of a tenant may have to be gone through
_FORMAT = "smsgw-personal-data/1"

_RECIPIENT = click.option("--recipient", required=True, metavar="NUMBER", help="The person's number, in E.164.")
_TENANT = click.option("--tenant", default="", help="Of this tenant only. Left out: of all.")
_REASON = click.option("--reason", required=True, help="Why: a ticket, not a name or number. It is recorded for good.")


@click.group(short_help="Export or erase what is kept of a person.")
def privacy() -> None:
    """What one person may ask for (GDPR articles 15 and 17, DPDP sections 11 and 12), at a running node.

    Who asked, when, why and how much was found is recorded before it is done; the number is not. docs/privacy.md
    explains what is kept, for how long, and what is not covered.
    """


@privacy.command(short_help="Write all that is kept of a person to a private file.")
@_RECIPIENT
@_TENANT
@_REASON
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    required=True,
    help="A new file, which only you can read; - for standard output.",
)
@connection_options
@json_option
def export(recipient: str, tenant: str, reason: str, out: Path, as_json: bool, **options: Any) -> None:
    """Write messages with their contents as far as they are kept, what the person wrote, events, receipts and holds, as
    one JSON document.

    An existing file is not overwritten. Standard output has to be a pipe, a terminal, or a file that nobody else reads.

    \b
    Example:
      smsgw privacy export --recipient +4915112345678 --reason 'ticket 4711' --out person.json
    """
    settings = operator_settings(options)
    target = _private(out)
    request = pb.ExportRecipientRequest(recipient=recipient, tenant=tenant, reason=reason)
    counts: dict[str, int] = {"messages": 0, "inbound": 0, "receipts": 0, "holds": 0}

    async def work() -> None:
        async with open_channel(settings) as channel:
            with explained(settings):
                call = PrivacyServiceStub(channel).ExportRecipient(request, timeout=_LONG_S)
                await _write(target, recipient, call, counts)

    try:
        run(work())
    except BaseException:
        target.close()
        if str(out) != "-":
            out.unlink(missing_ok=True)  # half of it is no answer
        raise
    target.close()
    if str(out) == "-":
        return
    if as_json:
        emit({"file": str(out), **counts})
    else:
        found = ", ".join(f"{number} {name}" for name, number in counts.items())
        console().print(f"{out}: {found}", style=None)


def _private(out: Path) -> BinaryIO:
    """Return where to write. Raises Misused for a place that others read."""
    if str(out) == "-":
        status = os.fstat(sys.stdout.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            text = "standard output is a file that others can read: name it by --out, or umask 077 first"
            raise Misused(text, reason="FILE_NOT_PRIVATE")
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise Misused(f"{out} is there already, and is not overwritten", reason="FILE_EXISTS") from error
    except OSError as error:
        raise Misused(f"{out}: {error.strerror}", reason="FILE_NOT_WRITABLE") from error
    return os.fdopen(descriptor, "wb")


async def _write(
    target: BinaryIO, recipient: str, call: AsyncIterable[pb.ExportRecipientResponse], counts: dict[str, int]
) -> None:
    """Write the document as it comes: it may be large."""
    names = {"message": "messages", "inbound": "inbound", "receipt": "receipts", "hold": "holds"}
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    head = json.dumps({"format": _FORMAT, "recipient": recipient, "exported_at": now})
    target.write(head[:-1].encode() + b', "items": [')
    separator = b"\n  "
    async for response in call:
        for item in response.items:
            kind = item.WhichOneof("kind") or ""
            counts[names[kind]] += 1
            line = {"kind": kind, **to_json(getattr(item, kind))}
            target.write(separator + json.dumps(line, ensure_ascii=True).encode())
            separator = b",\n  "
    target.write(b"\n]}\n")
    target.flush()


@privacy.command(short_help="Erase what is kept of a person.")
@_RECIPIENT
@_TENANT
@_REASON
@click.option("--cancel-unfinished", is_flag=True, help="Cancel what has not left. Without it, it refuses the whole.")
@click.option("--compact", is_flag=True, help="Write database or tables anew; nothing is stored meanwhile.")
@click.option("--dry-run", is_flag=True, help="Count only, change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection_options
@json_option
def erase(
    recipient: str,
    tenant: str,
    reason: str,
    cancel_unfinished: bool,
    compact: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Take content, number, masked number and index hash from the person's finished messages, and delete what the
    person wrote. The data keys concerned are destroyed, so that no backup opens it: it says whether that is done, and
    else when.

    Exits 1 when something is left: messages that are not finished yet. Exits 5 when all is erased, and keys wait to be
    destroyed, so that backups are not unreadable yet: the node destroys them itself, and `smsgw privacy status` shows
    which wait. There is no way back.

    \b
    Examples:
      smsgw privacy erase --recipient +4915112345678 --reason 'ticket 4711' --dry-run
      smsgw privacy erase --recipient +4915112345678 --reason 'ticket 4711' --cancel-unfinished --compact --yes
    """
    settings = operator_settings(options)

    async def call(dry: bool) -> pb.EraseRecipientResponse:
        request = pb.EraseRecipientRequest(
            recipient=recipient,
            tenant=tenant,
            reason=reason,
            cancel_unfinished=cancel_unfinished,
            dry_run=dry,
            compact=compact,
        )
        async with open_channel(settings) as channel:
            with explained(settings):
                return await PrivacyServiceStub(channel).EraseRecipient(request, timeout=_LONG_S)

    if not (dry_run or yes):
        if as_json:
            raise Misused("nobody can be asked under --json: give --yes, or --dry-run", reason="NOT_CONFIRMED")
        counted = run(call(True))
        found = f"{counted.messages} finished messages and {counted.inbound_parts} parts from the handset"
        click.confirm(f"erase {found}, for good?", abort=True)
    done = run(call(dry_run))
    if as_json:
        emit({**to_json(done, whole=True), "dry_run": dry_run})
    else:
        for line in _told(done, dry_run=dry_run):
            console().print(shown(line))
    if not dry_run:
        raise click.exceptions.Exit(_outcome(done))


def _outcome(done: pb.EraseRecipientResponse) -> Exit:
    if done.unfinished:
        return Exit.FAILED
    return Exit.OK if all(key.destroyed for key in done.keys) else Exit.UNFINISHED


def _told(done: pb.EraseRecipientResponse, *, dry_run: bool) -> list[str]:
    would = "would be " if dry_run else ""
    lines = [f"{done.messages} messages and {done.inbound_parts} parts from the handset {would}erased"]
    if done.unfinished:
        until = f"; the last ends by {_when(done.unfinished_until)}" if done.HasField("unfinished_until") else ""
        lines.append(f"{done.unfinished} messages are not finished and stay{until}: erase again then")
    if dry_run:
        return lines
    if done.receipts:
        lines.append(f"{done.receipts} receipts deleted")
    if done.cancelled:
        lines.append(f"{done.cancelled} messages cancelled")
    waiting = [key for key in done.keys if not key.destroyed]
    if waiting:
        lines.append("backups: NOT unreadable yet")
        lines += [_waits(key) for key in waiting]
    elif done.backups_unreadable:
        lines.append("backups of the database: unreadable from now on, as far as what was erased goes")
    if done.HasField("hashes_until"):
        lines.append(f"keyed hashes of idempotency keys and contents are gone by {_when(done.hashes_until)}")
    lines += [f"left until {left.until}: {left.what}, in {left.where}" for left in done.remains]
    if done.holds:
        lines.append(f"{done.holds} holds of messages to this recipient stay; `smsgw resume --recipient` ends them")
    return lines


def _waits(key: pb.RetiringKey) -> str:
    until = f"; by {_when(key.until)} at the latest" if key.HasField("until") else ""
    return f"  data key {key.key_id} waits: {key.why}{until}"


async def _status(settings: ClientSettings) -> pb.GetPrivacyStatusResponse:
    async with open_channel(settings) as channel:
        with explained(settings):
            return await PrivacyServiceStub(channel).GetPrivacyStatus(
                pb.GetPrivacyStatusRequest(), timeout=CALL_TIMEOUT_S
            )


@privacy.command(short_help="Show what is to go, and what it waits for.")
@connection_options
@json_option
def status(as_json: bool, **options: Any) -> None:
    """Show how far retention is behind, and the data keys that are to be destroyed.

    \b
    Example:
      smsgw privacy status
    """
    settings = operator_settings(options)

    found = run(_status(settings))
    if as_json:
        emit(to_json(found, whole=True))
        return
    late = dt.timedelta(seconds=round(found.retention_late_s))
    console().print(f"retention is {late} behind" if late else "retention: nothing is late")
    if not found.keys:
        console().print("no data key waits to be destroyed")
    for key in found.keys:
        console().print(shown(_waits(key).strip()))
    for index_key in found.index_keys:
        console().print(shown(_index_line(index_key)))


@privacy.command(short_help="Show whether a replaced index key can be removed.")
@connection_options
@json_option
def rekey(as_json: bool, **options: Any) -> None:
    """Show the index keys, and what is still hashed under those that were replaced. The node writes hashes anew by
    itself, after a restart with another key; what it cannot write anew ages out. Exits 1 while one cannot be removed.

    \b
    To replace the index key:
      mv keys/index.key keys/index-2026.key; head -c 32 /dev/urandom > keys/index.key; chmod 600 keys/index.key
      # smsgw.yaml: store.older_index_key_files: [keys/index-2026.key]; then restart the node
      smsgw privacy rekey          # until it says that the old one can be removed
    """
    settings = operator_settings(options)
    keys = run(_status(settings)).index_keys
    for key in keys:
        if as_json:
            emit(to_json(key, whole=True))
        else:
            console().print(shown(_index_line(key)))
    if any(not (key.newest or key.removable) for key in keys):
        raise click.exceptions.Exit(Exit.FAILED)


def _index_line(key: pb.IndexKey) -> str:
    if key.newest:
        return f"index key {key.version}: in use"
    if key.removable:
        return f"index key {key.version}: can be removed from store.older_index_key_files"
    at = f", by {_when(key.removable_at)}" if key.HasField("removable_at") else ""
    kept = f"{key.messages} messages ({key.unrecoverable} without their recipient), {key.others} others"
    return f"index key {key.version}: keep it{at}; {kept}: {key.why}"


def _when(moment: Timestamp) -> str:
    return f"{moment.ToDatetime(dt.UTC).astimezone():%Y-%m-%d %H:%M:%S}"
