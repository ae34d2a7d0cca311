"""Looks at the database of a configuration, and changes nothing there."""

from __future__ import annotations

from pathlib import Path

import apsw

from gateway import key_assembly
from gateway.cli.finding import Finding
from gateway.config.store_settings import PostgresSettings, StoreSettings
from gateway.errors import ServerFault
from gateway.store.sqlite.schema import APPLICATION_ID, connect_reader, migrations

_SUBJECT = "database"


def look_at(settings: StoreSettings) -> Finding:
    """Return what is to be said of the database."""
    return _sqlite(settings.file) if settings.postgres is None else _postgres(settings.postgres)


def _sqlite(file: Path) -> Finding:
    if not file.exists():
        return Finding(_SUBJECT, f"{file}, will be made")
    try:
        connection = connect_reader(file, None)
        try:
            owner, version = (
                int(str(next(iter(connection.execute(f"PRAGMA {name}")))[0]))
                for name in ("application_id", "user_version")
            )
        finally:
            connection.close()
    except apsw.Error as error:
        return Finding(_SUBJECT, "", f"{file}: {error}", "correct store.file, or restore a backup")
    known = len(migrations())
    if owner not in {0, APPLICATION_ID}:
        return Finding(_SUBJECT, "", f"{file} is a database of another program", "name another file in store.file")
    return _of_schema(str(file), version, known)


def _of_schema(name: str, version: int, known: int, *, usable: bool = False) -> Finding:
    if not version:
        return Finding(_SUBJECT, f"{name}, its schema will be made")
    if version > known and not usable:
        return Finding(_SUBJECT, "", f"{name} has schema {version}; this smsgw knows {known}", "run the newer smsgw")
    return Finding(_SUBJECT, f"{name}, schema {version} of {known}")


def _postgres(settings: PostgresSettings) -> Finding:
    from gateway.store.postgres.inspecting import inspect

    try:
        seen = inspect(key_assembly.database(settings))
    except ServerFault as error:
        return Finding(_SUBJECT, "", str(error), "correct store.postgres, or the server")
    if not seen.may_create:
        advice = f"GRANT CREATE ON DATABASE {settings.database} TO {settings.user}"
        return Finding(_SUBJECT, "", f"{seen.name}: the role {settings.user} may not make the schema smsgw", advice)
    return _of_schema(
        f"{seen.name}, PostgreSQL {seen.server}, {seen.line}", seen.version, seen.known, usable=seen.usable
    )
