"""`smsgw db backup|restore`."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from gateway.backup.errors import BackupError
from gateway.backup.files import apart
from gateway.backup.keys import take_keys
from gateway.backup.manifest import Manifest
from gateway.backup.restoring import moment
from gateway.backup.restoring import restore as restore_backup
from gateway.backup.taking import take
from gateway.cli.db_place import config_option, settings_of
from gateway.cli.log_inspection import head_in
from gateway.cli.manners import Failure, Misused, emit, json_option, shown
from gateway.errors import ServerFault
from gateway.sealing.folder_keyring import WRAPPED_KEYS
from gateway.store.sqlite.snapshot import MIB
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import parse

_NICE = 10
_NUMBER = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_PG_DUMP_KEYS = (
    "this node keeps its wrapped data keys in PostgreSQL, whose backups are its own, to be taken after that of the "
    "messages: pg_dump --format=custom --schema=smsgw_keys {database} (docs/postgresql.md)"
)
_PG_DUMP = (
    "this node keeps its messages in PostgreSQL, whose backups are its own:"
    " pg_dump --format=custom --schema=smsgw {database} (docs/postgresql.md); --keys alone copies the wrapped data keys"
)


def now_us() -> int:
    """Return the time, in microseconds since the Unix epoch."""
    return time.time_ns() // 1000


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Tell what stands in the way as a failure of the command."""
    try:
        yield
    except BackupError as error:
        raise Failure(str(error), reason=error.reason) from error
    except ServerFault as error:
        raise Failure(str(error), reason=error.reason) from error


@click.command(short_help="Back the database up, while the node runs.")
@config_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="A new folder, for the database.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="A new folder elsewhere, for wrapped data keys.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="MiB copied a second, at most.",
)
@json_option
def backup(config: Path, out: Path | None, keys: Path | None, rate: int, as_json: bool) -> None:
    """Back up the database (--out), the wrapped data keys (--keys), or both. The node may run, and is not held up.

    The backup is the database of one moment, checked by SQLite, with a manifest. It can be read by nobody: the contents
    of messages are sealed by data keys, whose wrapped form is not in it, and that are wrapped by the key of
    keys.kek_file. Keep the three apart. Destroying wrapped keys shreds what they sealed, in all backups too, only if
    every copy of those keys is destroyed: keep few of them, and not longer than messages are to be readable.

    \b
    Examples:
      smsgw db backup --out /backup/db/2026-11-27 --keys /elsewhere/keys/2026-11-27
      smsgw db backup --out /backup/db/hourly-07 --rate 20 --json
    """
    settings = settings_of(config)
    if out is None and keys is None:
        raise Misused("say what to back up: --out for the database, --keys for the wrapped data keys, or both")
    if out is not None and keys is not None and not apart(out, keys):
        raise Misused("--out and --keys have to be apart: together they are what an intruder needs")
    if out is not None and settings.store.postgres is not None:
        raise Misused(_PG_DUMP.format(database=settings.store.postgres.database), reason="USE_PG_DUMP")
    os.nice(_NICE)
    node, data_dir = settings.node.name, settings.node.data_dir
    if keys is not None and settings.keys.wrapped.postgres is not None:
        raise Misused(_PG_DUMP_KEYS.format(database=settings.keys.wrapped.postgres.database))
    with explained():
        if out is not None:
            made = take(settings.store.file, data_dir, out, node=node, rate=rate * MIB, now=now_us)
            _tell(made, out, as_json)
        if keys is not None:  # after the database: see gateway.backup.keys
            _tell(take_keys(data_dir / WRAPPED_KEYS, keys, node=node, now=now_us), keys, as_json)
    if not as_json:
        click.echo("also to be kept, each in a place of its own:")
        if keys is None:
            click.echo("  the wrapped data keys: smsgw db backup --keys; without them no message of a backup opens")
        click.echo("  keys.kek_file and store.index_key_file, never beside either backup")
        click.echo(f"  {config}, policies, certificates and carriers' passwords")


def _tell(made: Manifest, folder: Path, as_json: bool) -> None:
    if as_json:
        emit({"folder": str(folder), **asdict(made)})
        return
    size = sum(digest.size_bytes for digest in made.files.values())
    click.echo(f"{made.kind} of {moment(made.taken_at)} in {folder}: {len(made.files)} files, {size / MIB:.1f} MiB")


@click.command(short_help="Make a data folder of a backup.")
@click.option("--from", "source", type=click.Path(path_type=Path, file_okay=False), required=True, help="The backup.")
@click.option("--keys", type=click.Path(path_type=Path, file_okay=False), help="The copy of the wrapped data keys.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="node.data_dir, still without one.",
)
@click.option("--file", default="smsgw.db", show_default=True, help="The database's name there, as store.file says.")
@json_option
def restore(source: Path, keys: Path | None, data_dir: Path, file: str, as_json: bool) -> None:
    """Make the data folder of a node of a backup, on this host. Nothing is overwritten, and no node may run there.

    The database goes back to the moment of the backup: what was accepted and what happened since is not in it. Messages
    that waited then may have been sent since, and nobody can tell which: they are held back until an operator lets them
    go on (smsgw resume --category ...) or withdraws them (smsgw purge). New messages are not held. Whoever was revoked
    since the backup has to be revoked again.

    \b
    Example:
      smsgw db restore --from /backup/db/2026-11-27 --keys /elsewhere/keys/2026-11-27 --data-dir /var/lib/smsgw
    """
    if file != Path(file).name or file in {".", ".."}:
        raise Misused("--file is a name in the data folder, and no path", reason="BAD_ARGUMENTS")
    with explained():
        made = restore_backup(source, keys, data_dir, file, now=now_us())
    ended, successor = _log_of(made.database)
    if as_json:
        fields = {"database": str(made.database), "taken_at": made.backup.taken_at, "held": made.waited}
        log = {"log_ended": ended, "log_origin": successor}
        keys_are = {"keys": made.keys is not None, "keys_too_old": made.keys_too_old}
        emit({**fields, "node": made.backup.node, **keys_are, **log})
        return
    click.echo(f"{made.database} is the database of {shown(made.backup.node)} of {moment(made.backup.taken_at)}")
    if made.keys is None:
        click.echo("! without wrapped data keys: no message in it can be opened, nor sent")
    if made.keys_too_old:
        click.echo("! the copy of the keys is older than the backup: messages from between cannot be opened, nor sent")
    click.echo(f"! {made.waited} messages waited then, and may have been sent since: they are held back")
    click.echo("  once the node runs: smsgw queues; then smsgw resume --category ..., or smsgw purge")
    click.echo("! accepted since then and lost: callers that send again, with the same keys too, send a new message")
    click.echo("! revoked since then: revoke again")
    if ended:
        click.echo(
            f"! the log {shown(ended)} has ended with what is lost: whoever has its checkpoints knows more of it"
        )
        click.echo(f"  set audit.log.origin: {shown(successor)} in smsgw.yaml, before the node starts (docs/audit.md)")
    click.echo("then: smsgw check, smsgw db check")


def _log_of(database: Path) -> tuple[str, str]:
    """Return the name of the log in a restored database, and one for that which goes on; none where nothing of it was
    signed."""
    note = head_in(database).checkpoint
    try:
        origin = parse_text(parse(note).text).origin if note else ""
    except TlogError:
        origin = ""  # the start says what is wrong with it
    if not origin:
        return "", ""
    name, _, number = origin.rpartition("-")
    return origin, f"{name}-{int(number) + 1}" if name and _NUMBER.fullmatch(number) else f"{origin}-2"
