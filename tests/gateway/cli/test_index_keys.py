"""`smsgw check` finds an index key that was removed too early, on both engines."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.index_keys import look_at_index_keys
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.records import IndexKeys
from gateway.store.contract import Store
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import NOW, SECOND, message
from tests.postgres.server import shared

AT = dt.datetime.fromtimestamp(NOW / SECOND, dt.UTC)
OLD, NEW = bytes(range(32)), bytes(32)


def settings(folder: Path, store: dict[str, Any], *older: str) -> Settings:
    """Return a configuration with these index keys."""
    for name, key in (("new.key", NEW), ("old.key", OLD)):
        file = folder / name
        if not file.exists():
            file.touch(0o600)
            file.write_bytes(key)
    path = folder / "smsgw.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "node": {"trust_domain": "example.org"},
                "identity": {"bundles": {"example.org": "bundle.pem"}},
                "store": {**store, "index_key_file": "new.key", "older_index_key_files": list(older)},
            }
        )
    )
    return load(path)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_key_that_was_removed_too_early(tmp_path: Path, engine: str) -> None:
    """What stands under a key that is not configured is a problem; with the key, or without anything, there is none."""
    section: dict[str, Any] = {}
    store: Store
    if engine == "sqlite":
        (tmp_path / "data").mkdir(mode=0o700)
        store = SqliteStore(tmp_path / "data" / "smsgw.db")
    else:
        target = shared().emptied()
        store = PostgresStore(target)
        section = {
            "engine": "postgres",
            "postgres": {
                "host": str(target.host),
                "port": target.port,
                "database": target.database,
                "user": target.user,
            },
        }
    await store.open()
    assert [found.ok for found in look_at_index_keys(settings(tmp_path, section), AT)] == [True]
    old = IndexKeys(OLD)
    await store.accept([message(recipient_hash=old.recipient_hash("+4915112345678"))])
    (found,) = look_at_index_keys(settings(tmp_path, section), AT)
    assert old.version.hex() in found.problem
    assert "older_index_key_files" in found.advice
    assert [found.ok for found in look_at_index_keys(settings(tmp_path, section, "old.key"), AT)] == [True]
    await store.close()


async def test_a_key_that_was_replaced_today(tmp_path: Path) -> None:
    """For 72 hours after a replacement there can be hashes that do not say what they are under: the old key is missed,
    and not afterwards."""
    (tmp_path / "data").mkdir(mode=0o700)
    store = SqliteStore(tmp_path / "data" / "smsgw.db")
    await store.open()
    await store.newest_index_key(IndexKeys(OLD).version, NOW - 90 * 24 * 3600 * SECOND)
    await store.newest_index_key(IndexKeys(NEW).version, NOW - 3600 * SECOND)
    assert [found.ok for found in look_at_index_keys(settings(tmp_path, {}), AT)] == [False]
    assert [found.ok for found in look_at_index_keys(settings(tmp_path, {}, "old.key"), AT)] == [True]
    assert [found.ok for found in look_at_index_keys(settings(tmp_path, {}), AT + dt.timedelta(days=4))] == [True]
    await store.close()


def test_without_a_database_there_is_nothing_to_say(tmp_path: Path) -> None:
    """A node that has not been started yet has nothing under any key."""
    assert list(look_at_index_keys(settings(tmp_path, {}), AT)) == []
