"""`smsgw db check|migrate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import click

from gateway import key_assembly
from gateway.backup.taking import take
from gateway.cli.db_backup import explained, now_us
from gateway.cli.db_place import config_option, settings_of
from gateway.cli.manners import Exit, Failure, Misused, Unreachable, emit, json_option, shown
from gateway.config.schema import Settings
from gateway.config.store_settings import PostgresSettings
from gateway.errors import StoreUnavailable
from gateway.store import soundness
from gateway.store.sqlite import inspecting, schema
from gateway.store.sqlite.files import NodeLock
from gateway.store.sqlite.snapshot import MIB, complaints

_RATE = 1_000 * MIB
_NICE = 10


class Looked(NamedTuple):
    """What was found in a database."""

    name: str
    version: int
    known: int
    problems: list[str]
    counts: dict[str, int]


@click.command(short_help="Check that the database is sound.")
@config_option
@click.option("--quick", is_flag=True, help="Do not compare tables with their indices (SQLite): faster on large ones.")
@json_option
def check(config: Path, quick: bool, as_json: bool) -> None:
    """Check the database: its structure (SQLite), its schema's version, and what has to hold between its rows: states
    and queues, messages and their bodies, names, the numbers of events and of the audit. Nothing is changed; the node
    may run.

    It reads everything: minutes for gigabytes. Exits 1 when something is wrong, 3 when PostgreSQL cannot be reached.

    \b
    Examples:
      smsgw db check
      smsgw db check --quick --json
    """
    settings = settings_of(config)
    os.nice(_NICE)
    found = _looked(settings, quick)
    problems = list(found.problems)
    if found.version > found.known:
        problems.insert(0, f"it has schema {found.version}, and this smsgw knows {found.known}: run the newer smsgw")
    if as_json:
        emit(
            {
                "ok": not problems, "database": found.name, "schema": found.version, "known": found.known,
                "problems": problems, "counts": found.counts,
            }
        )  # fmt: skip
    else:
        click.echo(f"{found.name}: schema {found.version} of {found.known}")
        for name, number in found.counts.items():
            click.echo(f"  {number:>12}  {name}")
        for problem in problems:
            click.echo(f"problem: {shown(problem)}")
        click.echo("not sound: keep a copy for evidence, and restore a backup" if problems else "sound")
    if problems:
        raise click.exceptions.Exit(Exit.FAILED)


def _looked(settings: Settings, quick: bool) -> Looked:
    if settings.store.postgres is not None:
        return _postgres(settings.store.postgres)
    file = settings.store.file
    if not file.exists():
        raise Failure(f"there is no database at {file}", reason="NO_DATABASE")
    known = len(schema.migrations())
    with explained(), inspecting.looking(file) as db:
        version = inspecting.version_of(db)
        if version != known:  # our rules are those of the newest schema
            return Looked(str(file), version, known, complaints(db, quick=quick), {})
        problems = inspecting.problems(db, quick=quick)
        counts = {} if problems else soundness.counts(inspecting.fetching(db))
    return Looked(str(file), version, known, problems, counts)


def _postgres(settings: PostgresSettings) -> Looked:
    from gateway.store.postgres.inspecting import inspect, judge

    target = key_assembly.database(settings)
    try:
        seen = inspect(target)
        if not seen.version or seen.version != seen.known:
            return Looked(seen.name, seen.version, seen.known, [], {})
        judged = judge(target)
    except StoreUnavailable as error:
        raise Unreachable(str(error), reason=error.reason) from error
    return Looked(seen.name, seen.version, seen.known, judged.problems, judged.counts)


@click.command(short_help="Bring the database's schema forward.")
@config_option
@click.option("--dry-run", is_flag=True, help="Say which steps there are, and make none.")
@click.option(
    "--backup", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="A new folder for the backup before it; left out: one in the data folder.",
)  # fmt: skip
@click.option("--no-backup", is_flag=True, help="Make none: there is one already.")
@json_option
def migrate(config: Path, dry_run: bool, folder: Path | None, no_backup: bool, as_json: bool) -> None:
    """Bring the schema to this smsgw's, as `smsgw serve` would at its start: here with a backup before it (SQLite), and
    apart from the start. The node of a SQLite database has to be stopped.

    On PostgreSQL run pg_dump first, and say so by --no-backup.

    \b
    Examples:
      smsgw db migrate --dry-run
      smsgw db migrate --backup /backup/db/before-1.4
    """
    if folder is not None and no_backup:
        raise Misused("--backup and --no-backup exclude each other", reason="BAD_ARGUMENTS")
    settings = settings_of(config)
    if settings.store.postgres is not None:
        _migrate_postgres(settings.store.postgres, dry_run, no_backup, as_json)
    else:
        _migrate_sqlite(settings, dry_run, folder, no_backup, as_json)


def _migrate_postgres(settings: PostgresSettings, dry_run: bool, no_backup: bool, as_json: bool) -> None:
    from gateway.store.postgres.inspecting import bring_forward, inspect
    from gateway.store.postgres.schema import migration_names

    target = key_assembly.database(settings)
    try:
        seen = inspect(target)
        steps = _steps(seen.name, seen.version, migration_names())
        if steps and not dry_run:
            if seen.version and not no_backup:
                text = (
                    f"make a backup first: pg_dump --format=custom --schema=smsgw {settings.database}; then --no-backup"
                )
                raise Misused(text, reason="USE_PG_DUMP")
            bring_forward(target)
    except StoreUnavailable as error:
        raise Unreachable(str(error), reason=error.reason) from error
    _tell(seen.name, seen.version, steps, dry_run, None, as_json)


def _migrate_sqlite(settings: Settings, dry_run: bool, folder: Path | None, no_backup: bool, as_json: bool) -> None:
    file, data_dir = settings.store.file, settings.node.data_dir
    if not file.exists():
        raise Failure(f"there is no database at {file}: `smsgw serve` makes it", reason="NO_DATABASE")
    lock = NodeLock(file)
    made: Path | None = None
    with explained():
        if not dry_run:
            lock.take()
        try:
            with inspecting.looking(file) as db:
                version = inspecting.version_of(db)
            steps = _steps(str(file), version, schema.migration_names())
            if steps and not dry_run:
                if not no_backup:
                    made = folder or data_dir / f"before-schema-{len(schema.migrations())}-{now_us() // 1_000_000}"
                    take(file, data_dir, made, node=settings.node.name, rate=_RATE, now=now_us)
                inspecting.bring_forward(file)
        finally:
            lock.free()
    _tell(str(file), version, steps, dry_run, made, as_json)


def _steps(name: str, version: int, names: list[str]) -> list[str]:
    """Return the steps that are to be made. Raises Failure when the schema is newer than this program."""
    if version > len(names):
        text = f"{name} has schema {version}, and this smsgw knows {len(names)}: run the newer smsgw"
        raise Failure(text, reason="STORE_SCHEMA_NEWER")
    return names[version:]


def _tell(name: str, version: int, steps: list[str], dry_run: bool, made: Path | None, as_json: bool) -> None:
    if as_json:
        where = None if made is None else str(made)
        emit(
            {"database": name, "schema": version, "steps": steps, "made": bool(steps) and not dry_run, "backup": where}
        )
        return
    if made is not None:
        click.echo(f"backup: {made}")
    for step in steps:
        click.echo(f"{'to do' if dry_run else 'done'}: {step}")
    if not steps:
        click.echo(f"{name}: schema {version} is the newest, there is nothing to do")
