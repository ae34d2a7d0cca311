"""Where a PostgreSQL database is, and how it is logged in to: verified TLS off this machine, deadlines everywhere.

The message store and the keyring both use it. It opens nothing, and knows neither.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.errors import StoreUnavailable

_PASSWORD_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the server's certificate is verified by, and what is shown to it, if anything."""

    ca_file: Path
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A database. `host` that begins with a slash is the folder of a Unix socket. Without `tls` nothing is encrypted:
    who builds one answers for it."""

    host: str
    port: int = 5432
    database: str
    user: str
    password_file: Path | None = None
    tls: Tls | None = None

    @property
    def name(self) -> str:
        """Return what people call it."""
        return f"the database {self.database} at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long the server may take, in seconds."""

    connect_s: float = 5.0
    statement_s: float = 15.0
    lock_s: float = 5.0  # for a row, or a table, that another session holds
    transaction_s: float = 30.0  # for all of a transaction; then the line is cut
    unanswered_s: float = 10.0  # for the network to confirm what was sent


def login(target: Target, deadlines: Deadlines) -> dict[str, Any]:
    """Return libpq's parameters for a connection to a server that writes. Raises StoreUnavailable for the password."""
    return {
        "host": target.host,
        "port": target.port,
        "dbname": target.database,
        "user": target.user,
        **_password(target),
        **_tls(target),
        "connect_timeout": max(1, math.ceil(deadlines.connect_s)),
        "tcp_user_timeout": round(deadlines.unanswered_s * 1000),
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "gssencmode": "disable",
        "client_encoding": "UTF8",
        "autocommit": True,
    }


def _password(target: Target) -> dict[str, Any]:
    """Read the password at each connection: a new one needs no restart. Nobody but its scheme may ask for it."""
    if target.password_file is None:
        return {"passfile": "/dev/null/none"}  # none of the home
    try:
        password = read_secret_file(target.password_file, max_bytes=_PASSWORD_BYTES).decode().removesuffix("\n")
    except (SecretFileRefused, UnicodeDecodeError) as error:
        raise StoreUnavailable(f"{target.name}: its password cannot be read: {error}") from None
    return {"password": password, "require_auth": "scram-sha-256"}


def _tls(target: Target) -> dict[str, Any]:
    if target.tls is None:
        return {"sslmode": "disable"}
    certificate, key = target.tls.certificate_file, target.tls.key_file
    shown = {"sslcert": "/dev/null/none", "sslcertmode": "disable"}  # none of the home
    if certificate is not None and key is not None:
        shown = {"sslcert": str(certificate), "sslkey": str(key)}
    return {
        "sslmode": "verify-full",
        "sslrootcert": str(target.tls.ca_file),
        "ssl_min_protocol_version": "TLSv1.2",
        **shown,
    }


def cut_line(connection: Connection[Any]) -> None:
    """Cut a connection, from any thread: whoever waits for an answer on it gets an error at once. Raises nothing."""
    with contextlib.suppress(OSError, psycopg.Error):
        copy = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with copy:
            copy.shutdown(socket.SHUT_RDWR)
