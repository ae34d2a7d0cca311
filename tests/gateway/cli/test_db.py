"""`smsgw db check|migrate|backup|restore`: exit codes, JSON, and what stands in the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import apsw
import pytest
import yaml
from click.testing import CliRunner

from gateway.cli.db import db
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore, schema
from gateway.store.sqlite.files import NodeLock
from tests.gateway.store.samples import message
from tests.postgres.server import PostgresServer

KNOWN = len(schema.migrations())


@pytest.fixture(autouse=True)
def not_nice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands step back behind the node; the tests' own process does not."""
    monkeypatch.setattr("os.nice", lambda _: 0)


def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Run a command; the object that it prints last."""
    result = CliRunner().invoke(db, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


@pytest.fixture
def config(site: Path) -> Path:
    """Give the configuration of a node that has stored three messages."""

    async def use() -> None:
        store = SqliteStore(site / "data" / "smsgw.db")
        await store.open()
        await store.accept([message() for _ in range(3)])
        await store.close()

    asyncio.run(use())
    (site / "data" / "keys-wrapped").mkdir(mode=0o700, exist_ok=True)
    return site / "smsgw.yaml"


def at_schema(file: Path, version: int) -> None:
    """Put a database of an older schema in the place of this one."""
    file.unlink()
    file.touch(mode=0o600)
    older = schema.connect(file, None)
    schema.migrate(older, file, schema.migrations()[:version])
    older.close()


def test_check(config: Path) -> None:
    """A sound database is told with its counts; a broken one with what is broken, and 1."""
    found = run("check", "--config", config)
    assert (found["ok"], found["schema"], found["known"]) == (True, KNOWN, KNOWN)
    assert found["counts"]["messages.ACCEPTED"] == 3
    file = config.parent / "data" / "smsgw.db"
    broken = apsw.Connection(str(file))
    broken.execute("UPDATE message SET queue = 40")
    broken.close()
    for quick in ([], ["--quick"]):
        found = run("check", "--config", config, *quick, code=1)
        assert found["problems"] == ["3 messages whose state and queue contradict each other"]
    newer = apsw.Connection(str(file))
    newer.execute(f"PRAGMA user_version = {KNOWN + 1}")
    newer.close()
    assert "run the newer smsgw" in run("check", "--config", config, code=1)["problems"][0]


def test_check_beside_a_node(config: Path) -> None:
    """It looks while the node runs."""
    lock = NodeLock(config.parent / "data" / "smsgw.db")
    lock.take()
    try:
        assert run("check", "--config", config)["ok"]
    finally:
        lock.free()


def test_no_database(site: Path) -> None:
    """There is none before the first start: 1, and a reason; a configuration with a fault is 2."""
    assert run("check", "--config", site / "smsgw.yaml", code=1)["error"]["reason"] == "NO_DATABASE"
    assert run("migrate", "--config", site / "smsgw.yaml", code=1)["error"]["reason"] == "NO_DATABASE"
    assert run("check", "--config", site / "none.yaml", code=2)["error"]["reason"] == "CONFIG_INVALID"


def test_migrate(config: Path) -> None:
    """The steps are said, then made, with a backup of the older schema before them; a second time there is nothing."""
    file = config.parent / "data" / "smsgw.db"
    at_schema(file, KNOWN - 2)
    steps = schema.migration_names()[-2:]
    told = run("migrate", "--dry-run", "--config", config)
    assert (told["steps"], told["made"], told["backup"]) == (steps, False, None)
    assert run("check", "--config", config)["schema"] == KNOWN - 2
    done = run("migrate", "--config", config)
    assert (done["steps"], done["made"]) == (steps, True)
    manifest = json.loads((Path(done["backup"]) / "manifest.json").read_text())
    assert manifest["schema"] == KNOWN - 2
    assert run("check", "--config", config)["schema"] == KNOWN
    again = run("migrate", "--config", config)
    assert (again["steps"], again["made"], again["backup"]) == ([], False, None)


def test_migrate_refuses(config: Path) -> None:
    """Not beside a running node; not without the backup that was asked for; not a newer schema."""
    file = config.parent / "data" / "smsgw.db"
    at_schema(file, KNOWN - 1)
    lock = NodeLock(file)
    lock.take()
    assert run("migrate", "--config", config, code=1)["error"]["reason"] == "STORE_UNAVAILABLE"
    lock.free()
    refused = run("migrate", "--config", config, "--backup", config.parent, code=1)
    assert refused["error"]["reason"] == "BACKUP_REFUSED"
    assert run("check", "--config", config)["schema"] == KNOWN - 1
    newer = apsw.Connection(str(file))
    newer.execute(f"PRAGMA user_version = {KNOWN + 1}")
    newer.close()
    assert run("migrate", "--config", config, code=1)["error"]["reason"] == "STORE_SCHEMA_NEWER"


def test_backup_and_restore(config: Path, tmp_path: Path) -> None:
    """Both copies are told of, the one with the other's absence; a new folder is made of them."""
    out, keys = tmp_path / "out", tmp_path / "elsewhere"
    assert run("backup", "--config", config, "--out", out, "--keys", keys)["kind"] == "keys"
    made = run("restore", "--from", out, "--keys", keys, "--data-dir", tmp_path / "new")
    assert (made["held"], made["keys"], made["keys_too_old"]) == (3, True, False)
    text = CliRunner().invoke(db, ["backup", "--config", str(config), "--out", str(tmp_path / "second")]).output
    assert "no message of a backup opens" in text
    text = CliRunner().invoke(db, ["restore", "--from", str(out), "--data-dir", str(tmp_path / "third")]).output
    assert "! without wrapped data keys" in text
    assert "! 3 messages waited then" in text


def test_backup_refuses(config: Path, tmp_path: Path) -> None:
    """Keys beside the database, nothing to do, a folder in use, a name that is a path."""
    out = tmp_path / "out"
    run("backup", "--config", config, "--out", out, "--keys", out / "keys", code=2)
    run("backup", "--config", config, code=2)
    run("backup", "--config", config, "--out", config.parent, code=1)
    run("restore", "--from", out, "--data-dir", tmp_path / "new", code=1)
    run("restore", "--from", out, "--data-dir", tmp_path / "new", "--file", "../x.db", code=2)
    assert not (tmp_path / "new").exists()


def _on_postgres(config: Path, postgres: PostgresServer, database: str) -> None:
    document = yaml.safe_load(config.read_text())
    document["store"] = {**document.get("store", {}), **postgres.section(database)}
    config.write_text(yaml.safe_dump(document))


def _hold_of_the_docs() -> str:
    """Return the statements that docs/postgresql.md has for after a restore."""
    text = (Path(__file__).parents[3] / "docs" / "postgresql.md").read_text()
    return text[text.index("UPDATE smsgw.sequencer") :].split("```")[0]


def test_on_postgres(site: Path, postgres: PostgresServer, tmp_path: Path) -> None:
    """A new database is migrated and checked; a backup is pg_dump's; a server that is away is 3."""
    config = site / "smsgw.yaml"
    with postgres.database() as name:
        _on_postgres(config, postgres, name)
        assert run("migrate", "--dry-run", "--config", config)["steps"][0] == "0001_initial"
        assert run("migrate", "--config", config)["made"]
        assert run("migrate", "--config", config)["steps"] == []

        async def use() -> None:
            store = PostgresStore(postgres.target(name))
            await store.open()
            await store.accept([message()])
            await store.close()

        asyncio.run(use())
        found = run("check", "--config", config)
        assert (found["ok"], found["counts"]["messages.ACCEPTED"]) == (True, 1)
        with postgres.connect(name) as admin:
            for _ in range(2):
                admin.execute(_hold_of_the_docs())
            held = admin.execute("SELECT category, accepted_until > at - 1 FROM smsgw.message_hold").fetchall()
            assert sorted(held) == [(1, True), (2, True), (3, True)]
            ((last,),) = admin.execute("SELECT event_seq FROM smsgw.sequencer").fetchall()
            assert last == 2 * 2**40 + 1
            admin.execute("UPDATE smsgw.message SET queue = 40")
        assert run("check", "--config", config, code=1)["problems"][0].startswith("1 messages whose state")
        refused = run("backup", "--config", config, "--out", tmp_path / "out", code=2)["error"]
        assert (refused["reason"], f"--schema=smsgw {name}" in refused["message"]) == ("USE_PG_DUMP", True)
    _on_postgres(config, postgres, "nowhere")
    for command in ("check", "migrate"):
        run(command, "--config", config, code=3)
