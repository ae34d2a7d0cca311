"""Secrets from Vault's key-value engine, against a fake of ours (fake_vault.py): no Vault has judged this."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from carrier.errors import TlsRefused
from carrier.profile import Secret
from carrier.tls import client_context
from gateway.config.errors import ConfigError
from gateway.config.held_secrets import HELD
from gateway.config.kinds import Address
from gateway.config.loader import load
from gateway.config.secret_files import check_secret_file, read_secret_file
from gateway.config.secret_kinds import VaultField
from gateway.config.vault_secrets import VaultRefused, fetch
from gateway.config.vault_settings import VaultSettings
from gateway.sealing.providers import read_kek
from tests.certificates import TestAuthority, key_pem, new_key
from tests.gateway.config.conftest import MINIMAL, Problems, Write
from tests.gateway.config.fake_vault import FakeVault, fake_vault

ACME = VaultField("smsgw/acme", "password")
KEK = VaultField("smsgw/kek", "key", encoded=True)
CARRIER = "carriers:\n  - {name: acme, host: smpp.example, system_id: me, password_file: 'vault:smsgw/acme#password'}\n"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[FakeVault]:
    """A fake with a password and a key; what was held in memory is forgotten afterwards."""
    with fake_vault(tmp_path) as running:
        running.secrets = {
            "smsgw/acme": {"password": "hunter2", "number": 7},
            "smsgw/kek": {"key": base64.b64encode(bytes(range(32))).decode()},
        }
        yield running
    HELD.close()


def settings(vault: FakeVault, folder: Path, **changes: object) -> VaultSettings:
    """Return the settings for the fake."""
    values: dict[str, object] = {
        "address": Address("localhost", vault.port),
        "ca_file": folder / "vault-ca.pem",
        "token_file": folder / "vault.token",
        "namespace": "",
        "mount": "secret",
        "timeout_s": 20.0,
        **changes,
    }
    return VaultSettings(**values)  # type: ignore[arg-type]  # the fields of a test's choice


def section(vault: FakeVault) -> str:
    """Return the section of a configuration file."""
    return f"vault: {{address: 'localhost:{vault.port}', ca_file: vault-ca.pem, token_file: vault.token}}\n"


def test_fields(vault: FakeVault, tmp_path: Path) -> None:
    """A text is its UTF-8, base64 its octets; two fields of one secret are asked for once."""
    vault.secrets["smsgw/acme"]["other"] = "ß"
    other = VaultField("smsgw/acme", "other")
    found = fetch(settings(vault, tmp_path), [ACME, KEK, other])
    assert found == {ACME: b"hunter2", KEK: bytes(range(32)), other: "ß".encode()}
    assert vault.paths == ["/v1/secret/data/smsgw/acme", "/v1/secret/data/smsgw/kek"]


def test_namespace_and_environment(vault: FakeVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The namespace is shown; variables for other clients, and for proxies, have no say."""
    for name in ("VAULT_ADDR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "another")
    vault.namespace = "team/sms"
    assert fetch(settings(vault, tmp_path, namespace="team/sms"), [ACME]) == {ACME: b"hunter2"}
    with pytest.raises(VaultRefused, match="refuses the token"):
        fetch(settings(vault, tmp_path), [ACME])


@pytest.mark.parametrize(
    ("answers", "asked"),
    [([(503, b"")], 2), ([(500, b""), (429, b"")], 3)],
)
def test_what_passes(vault: FakeVault, tmp_path: Path, answers: list[tuple[int, bytes]], asked: int) -> None:
    """A Vault that is sealed or overloaded for a moment is asked again."""
    vault.answers = answers
    assert fetch(settings(vault, tmp_path), [ACME]) == {ACME: b"hunter2"}
    assert len(vault.paths) == asked


@pytest.mark.parametrize(
    ("answers", "text", "asked"),
    [
        ([(503, b"hunter2")] * 5, "answers 503", 3),
        ([(400, b"hunter2")], "does not understand", 1),
        ([(403, b"hunter2")], "refuses the token", 1),
        ([(404, b'{"data":{"data":null,"metadata":{"deletion_time":"x"}}}')], "newest version was deleted", 1),
        ([(307, b"hunter2")], "answers 307", 1),
        ([(200, b"hunter2")], "no answer of a key-value engine", 1),
        ([(200, b'{"data":{"password":"hunter2"}}')], "no answer of a key-value engine", 1),
        ([(200, b"[" * 100_000)], "no answer of a key-value engine", 1),
        ([(200, b" " * ((1 << 20) + 1))], "larger than 1 MiB", 1),
    ],
)
def test_refusals(vault: FakeVault, tmp_path: Path, answers: list[tuple[int, bytes]], text: str, asked: int) -> None:
    """What will not pass is told after one request, what might after three; nothing of an answer is repeated."""
    vault.answers = answers
    with pytest.raises(VaultRefused, match=text) as caught:
        fetch(settings(vault, tmp_path), [ACME])
    assert len(vault.paths) == asked
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (VaultField("smsgw/acme", "gone"), "no such field"),
        (VaultField("smsgw/acme", "number"), "no such field, or it is no text"),
        (VaultField("smsgw/acme", "password", encoded=True), "is not base64"),
    ],
)
def test_fields_that_are_none(vault: FakeVault, tmp_path: Path, field: VaultField, text: str) -> None:
    """A field that is not there, no text or not base64 is told by its reference."""
    with pytest.raises(VaultRefused, match=text) as caught:
        fetch(settings(vault, tmp_path), [field])
    assert str(field) in str(caught.value)


def test_an_answer_that_is_cut_off(vault: FakeVault, tmp_path: Path) -> None:
    """Half an answer is none."""
    vault.cut = 5
    with pytest.raises(VaultRefused, match="cuts its answers off"):
        fetch(settings(vault, tmp_path), [ACME])


def test_silence_ends(vault: FakeVault, tmp_path: Path) -> None:
    """A Vault that does not answer is given up at the deadline."""
    vault.silent.set()
    with pytest.raises(VaultRefused, match=r"did not answer within 0.3 s|TimeoutError"):
        fetch(settings(vault, tmp_path, timeout_s=0.3), [ACME])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ca_file": None}, "cannot be trusted: .*see vault.ca_file"),
        ({"address": "127.0.0.1"}, "cannot be trusted: .*127.0.0.1"),
        ({"ca_file": Path("/nonexistent/ca.pem")}, "holds no certificates"),
        ({"token_file": Path("/nonexistent/token")}, "vault.token_file: .*does not exist"),
    ],
)
def test_trust(vault: FakeVault, tmp_path: Path, changes: dict[str, object], text: str) -> None:
    """Chain and name are verified, and the token is shown to nobody before."""
    if changes.get("address"):
        changes = {"address": Address(str(changes["address"]), vault.port)}
    with pytest.raises(VaultRefused, match=text):
        fetch(settings(vault, tmp_path, **changes), [ACME])
    assert vault.paths == []


def test_token_that_others_can_read(vault: FakeVault, tmp_path: Path) -> None:
    """The token is a secret like any other."""
    (tmp_path / "vault.token").chmod(0o644)
    with pytest.raises(VaultRefused, match="chmod 600"):
        fetch(settings(vault, tmp_path), [ACME])
    assert vault.paths == []


def test_nobody_there(vault: FakeVault, tmp_path: Path) -> None:
    """A port that nobody listens on is told as such, after three attempts."""
    address = Address("127.0.0.1", 1)
    with pytest.raises(VaultRefused, match="cannot be asked: ConnectionRefusedError"):
        fetch(settings(vault, tmp_path, address=address), [ACME])


def test_a_configuration_with_secrets_in_vault(vault: FakeVault, write: Write) -> None:
    """What is fetched is in memory, private, and read where a file would be; a new load takes what is there by then."""
    file = write(MINIMAL + section(vault) + "keys: {kek_file: 'vault-base64:smsgw/kek#key'}\n" + CARRIER)
    loaded = load(file)
    assert loaded.carriers[0].password == Secret(b"hunter2")
    kek_file = loaded.keys.kek_file
    assert str(kek_file).startswith("/proc/self/fd/")
    check_secret_file(kek_file)
    assert read_kek(kek_file) == bytes(range(32))
    with kek_file.open("rb") as opened:
        vault.secrets["smsgw/kek"]["key"] = base64.b64encode(bytes(32)).decode()
        vault.secrets["smsgw/acme"]["password"] = "hunter3"
        again = load(file)
        assert opened.read() == bytes(range(32))  # whoever had begun reads it to its end
    assert again.carriers[0].password == Secret(b"hunter3")
    assert again.keys.kek_file == kek_file
    assert read_secret_file(kek_file, max_bytes=32) == bytes(32)


def test_a_key_that_openssl_opens_by_name(vault: FakeVault, write: Write, tmp_path: Path) -> None:
    """The key of a client certificate comes from Vault to a carrier's TLS, and only the right one fits."""
    certificate, key = TestAuthority("sms.example").svid("/client").write(tmp_path, "client")
    vault.secrets["smsgw/tls"] = {"key": key.read_text()}
    tls = f"tls: {{certificate_file: {certificate.name}, key_file: 'vault:smsgw/tls#key'}}"
    file = write(MINIMAL + section(vault) + CARRIER.replace("}\n", f", {tls}}}\n"))
    profile = load(file).carriers[0].tls
    assert profile is not None
    client_context(profile)
    vault.secrets["smsgw/tls"] = {"key": key_pem(new_key()).decode()}
    load(file)
    with pytest.raises(TlsRefused, match="key"):
        client_context(profile)


def test_a_load_that_fails_leaves_what_was_there(vault: FakeVault, write: Write) -> None:
    """While Vault refuses, a reload is refused with its reason, and what was fetched before stays."""
    file = write(MINIMAL + section(vault) + "keys: {kek_file: 'vault-base64:smsgw/kek#key'}\n" + CARRIER)
    kek_file = load(file).keys.kek_file
    vault.secrets["smsgw/kek"]["key"] = base64.b64encode(bytes(32)).decode()
    del vault.secrets["smsgw/acme"]
    with pytest.raises(ConfigError, match=r"vault: .*smsgw/acme: Vault has nothing there") as caught:
        load(file)
    assert [problem.line for problem in caught.value.problems if problem.key == "vault"] == [3]
    assert read_kek(kek_file) == bytes(range(32))


def test_nothing_is_asked_for_a_file_with_faults(vault: FakeVault, write: Write) -> None:
    """A configuration that is refused anyway costs no request."""
    with pytest.raises(ConfigError):
        load(write(MINIMAL + section(vault) + "log: {level: loud}\n" + CARRIER))
    assert vault.paths == []


def test_references_without_a_vault(problems: Problems) -> None:
    """A reference wants the section, and the token is not itself in Vault."""
    assert ["vault" in text for _, key, text in problems(MINIMAL + CARRIER) if key == "vault"] == [True]
    token = "vault: {address: 'v.example:8200', token_file: 'vault:smsgw/token#t'}\n"
    assert [key for _, key, _ in problems(MINIMAL + token)] == ["vault.token_file"]
    HELD.close()


@pytest.mark.parametrize(
    "text", ["vault:", "vault:a", "vault:a#", "vault:#b", "vault:../a#b", "vault:a//b#c", "vault:/a#b"]
)
def test_references_that_are_none(problems: Problems, text: str) -> None:
    """A reference has a path and a field."""
    ((_, key, said),) = problems(MINIMAL + CARRIER.replace("vault:smsgw/acme#password", text))
    assert key == "carriers[0].password_file"
    assert "vault:PATH#FIELD" in said


def test_no_descriptor_is_left(vault: FakeVault, write: Write) -> None:
    """Loading again and again holds one descriptor for each reference."""
    file = write(MINIMAL + section(vault) + CARRIER)
    load(file)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        load(file)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
