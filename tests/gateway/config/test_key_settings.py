"""Where wrapped keys are kept: in the data folder, or in a database that holds nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import key_assembly
from gateway.sealing.folder_keyring import FolderKeyring
from gateway.sealing.postgres_keyring import PostgresKeyring
from gateway.sealing.providers import kek_id as kek_id_of
from tests.gateway.config.conftest import MINIMAL, Load, Problems
from tests.gateway.sealing.test_rsa_provider import halves, rsa_key

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


PLACES = {
    "pkcs11": "pkcs11: {module: /lib/hsm.so, token: gw, key: kek-2026, pin_file: keys/pin}",
    "aws_kms": "aws_kms: {key: 'arn:aws:kms:eu-west-1:111122223333:key/12-ab'}",
    "vault_transit": "vault_transit: {key: smsgw}",
    "rsa": "rsa: {public_key_file: kek.pub}",
}
VAULT = "vault: {address: 'vault.example:8200', token_file: keys/token}\n"


def test_what_wraps(loaded: Load, tmp_path: Path) -> None:
    """Each sort of key-encryption key is built of its section, with those of before behind it; nobody is asked."""
    (tmp_path / "old.key").touch(mode=0o600)
    (tmp_path / "old.key").write_bytes(bytes(32))
    halves(tmp_path, rsa_key())
    for sort, where in PLACES.items():
        others = ", ".join(f"{{{other}}}" for name, other in PLACES.items() if name != sort)
        text = VAULT + f"keys:\n  kek: {{{where}}}\n  older_keks: [{others}]\n  older_kek_files: [./old.key]\n"
        providers = key_assembly.provider(loaded(text))
        assert "4 older" in repr(providers)
        assert not providers.local
        for kek_id in ("pkcs11:gw/kek-2026", "aws:arn:aws:kms:eu-west-1:111122223333:key/12-ab",
                       "vault:transit/smsgw:v7", kek_id_of(bytes(32))):  # fmt: skip
            assert providers.knows(kek_id)


def test_a_file_by_default(loaded: Load, tmp_path: Path) -> None:
    """Without a section the file of kek_file wraps, from memory."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "kek.key").touch(mode=0o600)
    (tmp_path / "keys" / "kek.key").write_bytes(bytes(32))
    assert key_assembly.provider(loaded("")).local


@pytest.mark.parametrize(
    ("kek", "key"),
    [
        ("{}", "kek"),
        (f"{{{PLACES['rsa']}, {PLACES['aws_kms']}}}", "kek"),
        (f"{{{PLACES['vault_transit']}}}", "kek.vault_transit"),
        ("{rsa: {}}", "kek.rsa"),
        ("{aws_kms: {key: alias/smsgw}}", "kek.aws_kms.key"),
        ("{aws_kms: {key: 'arn:aws:kms:eu-west-1:111122223333:key/1', endpoint: 'http://a'}}", "kek.aws_kms.endpoint"),
    ],
)
def test_what_is_no_key(problems: Problems, kek: str, key: str) -> None:
    """One sort at a time, with what it needs; no alias, no plain text."""
    ((_, found, _),) = problems(MINIMAL + f"keys: {{kek: {kek}}}\n")
    assert found == f"keys.{key}"
    older = problems(MINIMAL + f"keys: {{older_keks: [{kek}]}}\n")
    assert [where for _, where, _ in older] == [f"keys.{key}".replace("kek", "older_keks[0]", 1)]


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
