"""Where a secret is, in every setting that names one: a path or a systemd credential, and never the secret."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from carrier.profile import Secret
from gateway.config.definitions import definitions
from gateway.config.kinds import FileName, Items, Section
from gateway.config.loader import load
from gateway.config.schema import Document
from gateway.config.secret_kinds import Credential, SecretFile
from tests.gateway.config.conftest import MINIMAL, Load, Problems, Write

CARRIER = "carriers:\n  - {name: acme, host: smpp.example, system_id: me, password_file: %s}\n"
RANDOM = hashlib.sha256(b"as random as a key, and the same in every process that collects these tests").digest()
PEM = "-----BEGIN PRIVATE KEY----- MC4CAQAwBQYDK2VwBCIEI"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("keys/acme.password", Path("keys/acme.password")),
        ("/run/secrets/acme", Path("/run/secrets/acme")),
        ("acme.password", Path("acme.password")),
        ("./credential:x", Path("credential:x")),
        ("/srv/Sms/Gateway1/Carriers/Acme/Passwords", Path("/srv/Sms/Gateway1/Carriers/Acme/Passwords")),
        ("credential:acme", Credential("acme")),
        ("credential:smsgw.kek-2_b", Credential("smsgw.kek-2_b")),
    ],
)  # fmt: skip
def test_references(text: str, value: object) -> None:
    """A path is a path, and a credential has a name; both are shown as they are read again."""
    kind = SecretFile()
    assert kind.read(text) == value
    assert kind.read(kind.show(value).strip('"')) == value


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        f"{PEM}\nAAAA\n",
        "two\nlines",
        "",
        RANDOM.hex(),
        RANDOM[:16].hex().upper(),
        base64.b64encode(RANDOM).decode(),
        base64.urlsafe_b64encode(b"\xff" * 16).decode(),
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "a" * 10,
        "credential:",
        "credential:../kek",
        "credential:a/b",
        "credential:.hidden",
        "credential:" + "a" * 256,
        "Credential:acme",
        "env:PASSWORD",
        "file:///etc/passwd",
        "base64:aHVudGVyMg",
        "acme:hunter2",
    ],
)
def test_no_references(text: str) -> None:
    """The secret itself, other schemes and names that lead elsewhere are refused, and not repeated."""
    with pytest.raises(ValueError, match=r"wants (the path of a file|credential:NAME)") as caught:
        SecretFile().read(text)
    said = str(caught.value).replace("credential:NAME", "")
    assert not [word for word in text.split() if len(word) > 4 and word in said]


def test_a_word_that_names_no_file(problems: Problems) -> None:
    """A bare word is a file that is there, or else probably the password: it is not repeated."""
    ((line, key, text),) = problems(MINIMAL + CARRIER % "hunter2")
    assert (line, key) == (4, "carriers[0].password_file")
    assert "If it is the secret itself, replace it" in text
    assert "hunter2" not in text


def test_credentials(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential is the file of its name in CREDENTIALS_DIRECTORY, wherever a secret is named."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "acme").write_text("hunter2\n")
    (folder / "acme").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    added = "keys: {kek_file: credential:kek, older_kek_files: [credential:kek.1]}\n" + CARRIER % "credential:acme"
    settings = load(write(MINIMAL + added))
    assert settings.carriers[0].password == Secret(b"hunter2")
    assert settings.keys.kek_file == folder / "kek"
    named = {secret.key: secret.file for secret in settings.secrets}
    assert named["carriers[0].password_file"] == folder / "acme"
    assert named["keys.older_kek_files[0]"] == folder / "kek.1"
    assert named["api.svid_key_file"] == tmp_path / "pki/gateway.key"


@pytest.mark.parametrize(("folder", "text"), [(None, "LoadCredential=acme:PATH"), ("", "not set"), ("run", "absolute")])
def test_credentials_without_systemd(
    problems: Problems, monkeypatch: pytest.MonkeyPatch, folder: str | None, text: str
) -> None:
    """Outside of a unit the variable is missing, and the problem says who sets it."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if folder is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
    ((line, key, said),) = problems(MINIMAL + CARRIER % "credential:acme")
    assert (line, key) == (4, "carriers[0].password_file")
    assert text in said


def test_a_credential_that_is_missing(problems: Problems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential that the unit does not have is told by its file."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    ((_, _, text),) = problems(MINIMAL + CARRIER % "credential:acme")
    assert f"{tmp_path}/acme does not exist" in text


@pytest.mark.parametrize(
    ("added", "key", "told"),
    [
        (CARRIER % "secret, password: hunter2", "carriers[0].password", "password_file"),
        (CARRIER % "secret, Passwd: hunter2", "carriers[0].Passwd", "password_file"),
        (CARRIER % "secret, tls: {private_key: hunter2}", "carriers[0].tls.private_key", "key_file"),
        ("keys: {kek_value: hunter2}\n", "keys.kek_value", "kek_file"),
        ("keys: {kek_hex: hunter2}\n", "keys.kek_hex", "kek_file"),
        ("store: {index_key: hunter2}\n", "store.index_key", "index_key_file"),
        ("api: {svid_key: hunter2}\n", "api.svid_key", "svid_key_file"),
        ("telemetry: {otlp: {token: hunter2}}\n", "telemetry.otlp.token", "key_file"),
        ("log: {api_token: hunter2}\n", "log.api_token", "a secret never stands in this file"),
        ("password: hunter2\n", "password", "a secret never stands in this file"),
    ],
)
def test_keys_that_ask_for_a_secret(problems: Problems, added: str, key: str, told: str) -> None:
    """A key that is meant for a secret itself is refused in every section, with the setting that names its file."""
    ((_, found, text),) = problems(MINIMAL + added)
    assert found == key
    assert told in text
    assert "secret never stands" in text
    assert "hunter2" not in text


def test_no_secret_file_is_a_plain_path() -> None:
    """Each setting whose name says that it is a secret has the contract; a new one cannot be left out of it."""
    names = {name: kind for name, kind in _leaves(Document) if name.endswith(("password_file", "key_file", "kek_file"))}
    names = {name: kind for name, kind in names.items() if not name.endswith("public_key_file")}
    assert len(names) >= 10
    assert {name for name, kind in names.items() if isinstance(kind, FileName)} == set()
    paths = {name for name, kind in _leaves(Document) if isinstance(kind, FileName)}
    assert {name for name in paths if "key" in name.rpartition(".")[2]} == {
        "keys.kek.rsa.public_key_file",
        "keys.older_keks.rsa.public_key_file",
        "payload.public_key_files",
        "revocation.public_key_files",
    }


def _leaves(schema: type, path: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for definition in definitions(schema):
        kind = definition.kind.kind if isinstance(definition.kind, Items) else definition.kind
        where = f"{path}{definition.key}"
        found += _leaves(kind.schema, f"{where}.") if isinstance(kind, Section) else [(where, kind)]
    return found


def test_the_secrets_of_a_configuration(loaded: Load) -> None:
    """Settings know every secret file they name, defaults and those in lists of sections too."""
    added = CARRIER % "secret, tls: {certificate_file: c.pem, key_file: c.key}, bind: {mode: pair}"
    assert [secret.key for secret in loaded(added).secrets] == [
        "api.svid_key_file",
        "revocation.signing_key_file",
        "store.index_key_file",
        "keys.kek_file",
        "carriers[0].password_file",
        "carriers[0].tls.key_file",
    ]
