"""What a role asks of the other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.loader import load
from gateway.config.schema import Role
from tests.gateway.config.conftest import MINIMAL, Load, Problems, Write

SHARED = "store: {engine: postgres, postgres: {host: /run/postgresql}}\n"
KEYS = "keys:\n  wrapped: {postgres: {host: /run/postgresql}}\n"
PUBLIC = "  kek: {rsa: {public_key_file: kek.pub}}\n"


def node(role: str) -> str:
    """Return the smallest file of a node with a role."""
    return MINIMAL.replace("node: {", f"node: {{role: {role}, ")


def test_both_by_default(loaded: Load) -> None:
    """A node does both unless it is told otherwise."""
    assert loaded("").node.role is Role.BOTH


@pytest.mark.parametrize("role", ["accept", "relay"])
def test_roles_share(problems: Problems, role: str) -> None:
    """A node with one role alone shares messages and wrapped keys with the others."""
    keys = "keys:\n" + (PUBLIC if role == "accept" else "  data_key_lifetime: 15m\n")
    assert [key for _, key, _ in problems(node(role) + keys)] == ["node.role", "node.role"]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("", "keys.kek"),
        ("  kek: {rsa: {private_key_files: [./kek.pem]}}\n", "keys.kek"),
        ("  kek: {rsa: {public_key_file: kek.pub, private_key_files: [./kek.pem]}}\n", "keys.kek"),
        ("  kek: {aws_kms: {key: 'arn:aws:kms:eu-west-1:111122223333:key/1'}}\n", "keys.kek"),
        (PUBLIC + "  older_kek_files: [./kek.key]\n", "keys.older_kek_files"),
        (PUBLIC + "  older_keks: [{rsa: {private_key_files: [./kek.pem]}}]\n", "keys.older_keks"),
        (PUBLIC + "audit: {log: {origin: example.org/smsgw}}\n", "audit.log"),
        (PUBLIC + "payload: {key_files: [./payload.jwk]}\n", "payload.key_files"),
        (PUBLIC + "carriers: [{name: a, host: 127.0.0.1, system_id: me, password_file: ./p, insecure: true}]\n",
         "carriers"),
    ],
)  # fmt: skip
def test_nothing_that_opens(problems: Problems, tmp_path: Path, more: str, key: str) -> None:
    """A node that only accepts has no key that opens, no key of payloads, no carrier."""
    (tmp_path / "p").touch(mode=0o600)
    (tmp_path / "p").write_text("secret")
    found = [where for _, where, _ in problems(node("accept") + SHARED + KEYS + more)]
    assert found == [key]


@pytest.mark.parametrize("role", ["both", "relay"])
def test_public_payload_keys(problems: Problems, role: str) -> None:
    """Public halves alone are for nodes that only accept: what is sealed to them has to be opened by somebody."""
    found = problems(node(role) + SHARED + KEYS + "payload: {public_key_files: [a.jwk]}\n")
    assert [key for _, key, _ in found] == ["payload.public_key_files"]


def test_counted_for(problems: Problems) -> None:
    """Nodes with carriers count by these; an accepting node is told of each carrier once, of what goes together."""
    told = "messages: {counted_for: [{name: a, text: {segmentation: udh16}}]}\n"
    assert [key for _, key, _ in problems(node("both") + told)] == ["messages.counted_for"]
    wrong = "messages: {counted_for: [{name: a}, {name: a, text: {national_tables: [turkish], segmentation: sar}}]}\n"
    found = problems(node("accept") + SHARED + KEYS + PUBLIC + wrong)
    assert [key for _, key, _ in found] == [
        "messages.counted_for[1].name",
        "messages.counted_for[1].text.national_tables",
    ]


def test_an_accepting_node(write: Write) -> None:
    """The public half of an RSA key is all that it wraps with; it may have public halves of payload keys."""
    settings = load(write(node("accept") + SHARED + KEYS + PUBLIC + "payload: {public_key_files: [a.jwk]}\n"))
    assert settings.node.role is Role.ACCEPT
