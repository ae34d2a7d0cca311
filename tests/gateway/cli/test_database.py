"""`smsgw check` says what is wrong with a database on PostgreSQL, and changes nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.database import look_at
from gateway.config.store_settings import PostgresSettings, StoreEngine, StoreSettings
from gateway.store.postgres import PostgresStore, schema
from tests.postgres.server import PostgresServer


def settings(server: PostgresServer, **changes: object) -> StoreSettings:
    """Return the settings of a store on the tests' server."""
    values: dict[str, object] = {
        "host": str(server.folder),
        "port": 5432,
        "database": "postgres",
        "user": "smsgw",
        "password_file": None,
        "ca_file": None,
        "certificate_file": None,
        "key_file": None,
        "insecure": False,
    }
    return StoreSettings(
        engine=StoreEngine.POSTGRES,
        file=Path("unused"),
        postgres=PostgresSettings(**{**values, **changes}),  # type: ignore[arg-type]  # as above
        index_key_file=Path("unused"),
        older_index_key_files=(),
    )


async def test_a_sound_database(postgres: PostgresServer) -> None:
    """A database is found with its schema, or as one that gets it; looking makes none."""
    store = PostgresStore(postgres.emptied())
    await store.open()
    await store.close()
    finding = look_at(settings(postgres))
    assert finding.ok
    known = len(schema.migrations())
    assert f"schema {known} of {known}" in finding.found
    with postgres.database() as name:
        for _ in range(2):
            assert look_at(settings(postgres, database=name)).found.endswith("its schema will be made")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"host": "/nonexistent"}, "No such file"),
        ({"host": "127.0.0.1", "port": 1, "insecure": True}, "Connection refused"),
        ({"user": "nobody"}, "password"),
        ({"password_file": Path("/nonexistent/password")}, "does not exist"),
    ],
)
def test_what_is_wrong(postgres: PostgresServer, changes: dict[str, object], problem: str) -> None:
    """What stands in the way is said in words."""
    finding = look_at(settings(postgres, **changes))
    assert not finding.ok
    assert problem in finding.problem


def test_a_role_that_may_not_make_the_schema(postgres: PostgresServer, tmp_path: Path) -> None:
    """Found before the node starts, with the statement that helps."""
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text("secret")
    with postgres.database() as name:
        with postgres.connect("postgres") as db:
            db.execute("CREATE ROLE weak LOGIN PASSWORD 'secret'")
        try:
            finding = look_at(settings(postgres, database=name, user="weak", password_file=file))
            assert "may not make the schema" in finding.problem
            assert finding.advice == f"GRANT CREATE ON DATABASE {name} TO weak"
        finally:
            with postgres.connect("postgres") as db:
                db.execute("DROP ROLE weak")


def test_a_newer_schema(postgres: PostgresServer) -> None:
    """A database that a newer smsgw has migrated is not for this one."""
    with postgres.database() as name:
        with postgres.connect(name) as db:
            db.execute("CREATE SCHEMA smsgw; CREATE TABLE smsgw.migration (version integer, usable_from integer)")
            db.execute("INSERT INTO smsgw.migration VALUES (1000)")
        assert "schema 1000" in look_at(settings(postgres, database=name)).problem
