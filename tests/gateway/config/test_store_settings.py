"""Where messages are kept, as it is configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.store_settings import StoreEngine
from tests.gateway.config.conftest import Load, Problems

NODE = "node: {trust_domain: example.org}\nidentity: {bundles: {example.org: b.pem}}\n"
STORE = "store: {engine: %s, postgres: {%s}}\n"
TLS = "host: db.example, ca_file: ca.pem"


def test_sqlite_is_the_default(loaded: Load) -> None:
    """Who says nothing gets the embedded engine."""
    store = loaded("").store
    assert store.engine is StoreEngine.SQLITE
    assert store.postgres is None


@pytest.mark.parametrize(
    "postgres",
    [
        TLS,
        "host: /run/postgresql",
        "host: 127.0.0.1, insecure: true",
        "host: localhost, insecure: true",
        f"{TLS}, port: 1",
    ],
)
def test_ways_to_the_database(loaded: Load, tmp_path: Path, postgres: str) -> None:
    """Verified TLS, a Unix socket, and plain text on loopback for those who say so."""
    store = loaded(STORE % ("postgres", postgres)).store
    assert store.engine is StoreEngine.POSTGRES
    assert store.postgres is not None
    assert (store.postgres.database, store.postgres.user) == ("smsgw", "smsgw")


@pytest.mark.parametrize(
    ("postgres", "key"),
    [
        ("host: db.example", "ca_file"),
        ("host: 127.0.0.1", "ca_file"),
        ("host: db.example, insecure: true", "insecure"),
        ("host: 127.0.0.1, insecure: true, ca_file: ca.pem", "insecure"),
        ("host: /run/postgresql, ca_file: ca.pem", "host"),
        ("host: /run/postgresql, insecure: true", "host"),
        (f"{TLS}, certificate_file: c.pem", "key_file"),
        (f"{TLS}, key_file: c.key", "key_file"),
        (f"{TLS}, password: hunter2", "password"),
        (f"{TLS}, sslmode: disable", "sslmode"),
        ("host: '', ca_file: ca.pem", "host"),
        ("port: 5432, ca_file: ca.pem", "host"),
    ],
)
def test_what_is_refused(problems: Problems, postgres: str, key: str) -> None:
    """Plain text over a network, half a client certificate, a secret in the file, and what nobody knows."""
    assert [found for _, found, _ in problems(NODE + STORE % ("postgres", postgres))] == [f"store.postgres.{key}"]


def test_engine_and_section_go_together(problems: Problems) -> None:
    """Neither is without the other: nobody is to believe messages elsewhere than they are."""
    assert [key for _, key, _ in problems(NODE + STORE % ("sqlite", TLS))] == ["store.postgres"]
    assert [key for _, key, _ in problems(NODE + "store: {engine: postgres}\n")] == ["store.engine"]
