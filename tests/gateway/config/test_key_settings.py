"""Where wrapped keys are kept: in the data folder, or in a database that holds nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import key_assembly
from gateway.sealing.folder_keyring import FolderKeyring
from gateway.sealing.postgres_keyring import PostgresKeyring
from tests.gateway.config.conftest import MINIMAL, Load, Problems

STORE = "store:\n  engine: postgres\n  postgres: {host: /run/postgresql, database: smsgw}\n"
KEYS = "keys:\n  wrapped:\n    postgres: {host: %s}\n"


def test_the_folder_is_the_default(loaded: Load, tmp_path: Path) -> None:
    """Without a section the folder keys-wrapped in the data folder has them."""
    ring = key_assembly.keyring(loaded(""))
    assert isinstance(ring, FolderKeyring)
    assert ring.folder == tmp_path / "data" / "keys-wrapped"


def test_a_database_of_its_own(loaded: Load) -> None:
    """The section names another database than that of the messages, beside SQLite too."""
    for store in ("", STORE):
        ring = key_assembly.keyring(loaded(store + KEYS % "/run/postgresql"))
        assert isinstance(ring, PostgresKeyring)
        assert ring.name == "the database smsgw_keys at /run/postgresql:5432"


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("/run/postgresql, database: smsgw", "database"),
        ("db.example", "ca_file"),
        ("db.example, insecure: true", "insecure"),
        ("/run/postgresql, ca_file: ca.pem", "host"),
    ],
)
def test_what_is_refused(problems: Problems, host: str, key: str) -> None:
    """Not the database of the messages, whose dumps would hold the keys; no line that others could listen in on."""
    ((_, found, _),) = problems(MINIMAL + STORE + KEYS % host)
    assert found == f"keys.wrapped.postgres.{key}"
