"""Where messages are kept: in a file of this node, or in PostgreSQL."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.config.carrier_rules import is_loopback
from gateway.config.definitions import setting
from gateway.config.kinds import Choice, FileName, Flag, Integer, Items, Section, Text
from gateway.config.secret_kinds import SecretFile

_NAME = Text(meaning="a name of up to 63 characters", pattern=r"[^\x00-\x1f]+", low=1, high=63)  # NAMEDATALEN
_HOST = Text(
    meaning="a host name, an IP address, or the folder of a Unix socket",
    pattern=r"[A-Za-z0-9:][A-Za-z0-9:._-]*|/[^\x00-\x1f]*",
    low=1,
    high=253,
)


class StoreEngine(enum.StrEnum):
    """What keeps the messages."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """A database of PostgreSQL 15 or later, for this node alone."""

    host: str = setting(
        _HOST, doc="The server, or the folder of its Unix socket on this machine.", example="db.example"
    )
    port: int = setting(Integer(low=1, high=65_535), default="5432", doc="Its port.")
    database: str = setting(_NAME, default="smsgw", doc="The database, in UTF-8. Its schema smsgw is made there.")
    user: str = setting(_NAME, default="smsgw", doc="The role. It has to be allowed to create that schema.")
    password_file: Path | None = setting(
        SecretFile(),
        optional=True,
        doc="The role's password, alone in its file, which nobody else may read. It is read at each connection. Left "
        "out: the server knows the role otherwise, by certificate or by the socket's peer.",
        example="keys/database.password",
    )
    ca_file: Path | None = setting(
        FileName(),
        optional=True,
        doc="Root certificates for the server, PEM. Its certificate has to name the host (libpq's verify-full).",
        example="pki/database-ca.pem",
    )
    certificate_file: Path | None = setting(
        FileName(), optional=True, doc="Our client certificate, PEM, if the server asks for one."
    )
    key_file: Path | None = setting(SecretFile(), optional=True, doc="Its private key, PEM.")
    insecure: bool = setting(
        Flag(), default="false", doc="Plain text instead of TLS. Accepted for a server on loopback only."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where messages are kept."""

    engine: StoreEngine = setting(
        Choice(StoreEngine), default="sqlite", doc="sqlite: in the file below. postgres: as the section says."
    )
    file: Path = setting(
        FileName(in_data_dir=True), default="smsgw.db", doc="The SQLite database. It has to lie on a local disk."
    )
    postgres: PostgresSettings | None = setting(
        Section(PostgresSettings, optional=True), doc="The database of `engine: postgres`."
    )
    index_key_file: Path = setting(
        SecretFile(),
        default="keys/index.key",
        doc="32 random bytes that key the hashes by which numbers and idempotency keys are found. Losing it makes "
        "stored messages impossible to find by number; nobody else may read it.",
    )
    older_index_key_files: tuple[Path, ...] = setting(
        Items(SecretFile(), high=4),
        doc="Index keys that were in use before. What was stored under them is still found, and nothing new is hashed "
        "under them. Each costs every lookup a little.",
    )


def store_findings(store: StoreSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between these settings."""
    postgres = store.postgres
    if store.engine is StoreEngine.POSTGRES and postgres is None:
        yield "engine", "wants the section store.postgres"
    if postgres is None:
        return
    if store.engine is not StoreEngine.POSTGRES:
        yield "postgres", "is not used: set store.engine to postgres, or remove it"
    for key, text in postgres_findings(postgres):
        yield f"postgres.{key}", text


def postgres_findings(postgres: PostgresSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between the settings of a database."""
    socket = postgres.host.startswith("/")
    tls = postgres.ca_file or postgres.certificate_file or postgres.key_file
    if (postgres.certificate_file is None) != (postgres.key_file is None):
        yield "key_file", "wants certificate_file and key_file together, or neither"
    if socket and (tls or postgres.insecure):
        yield "host", "is a Unix socket, which nobody can listen in on: remove ca_file and what goes with it"
    elif postgres.insecure and not is_loopback(postgres.host):
        yield "insecure", f"{postgres.host} is not on loopback: all of it would cross the network readable"
    elif postgres.insecure and tls:
        yield "insecure", "turns TLS off, yet there are settings for it; remove one of the two"
    elif not socket and not postgres.insecure and postgres.ca_file is None:
        yield "ca_file", "is needed: without it the server could be anybody's"
