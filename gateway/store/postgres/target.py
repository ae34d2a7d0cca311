"""Where the database is, and how a session with it is opened: verified TLS off this machine, deadlines everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import Connection

from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.errors import StoreUnavailable
from gateway.store.postgres.schema import SCHEMA
from gateway.store.postgres.session import Session

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


def open_session(target: Target, deadlines: Deadlines, *, reads: bool) -> Session:
    """Open a session: one that writes, or one that only reads. Raises psycopg.Error or StoreUnavailable."""
    return Session(Connection.connect(**_parameters(target, deadlines, reads=reads)))


def _parameters(target: Target, deadlines: Deadlines, *, reads: bool) -> dict[str, Any]:
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
        "target_session_attrs": "primary" if reads else "read-write",  # never a standby
        "application_name": "smsgw reader" if reads else "smsgw writer",
        "client_encoding": "UTF8",
        "options": " ".join(f"-c {name}={value}" for name, value in _settings(deadlines, reads=reads).items()),
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


def _settings(deadlines: Deadlines, *, reads: bool) -> dict[str, str]:
    """Return the session's settings. Every statement of ours goes by an index: a plan that was made while a table was
    small must not outlive that, so what reads whole tables, or sorts what it found, is what the planner takes last."""
    settings = {
        "search_path": f"{SCHEMA},pg_temp",
        "synchronous_commit": "on",
        # A COMMIT that is cancelled while it waits for a synchronous standby counts as done, so the server cancels
        # nothing of the writer: it is watched over from here.
        "statement_timeout": f"{deadlines.statement_s * 1000:.0f}" if reads else "0",
        "lock_timeout": f"{deadlines.lock_s * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{deadlines.transaction_s * 1000:.0f}",
        "default_transaction_isolation": "read\\ committed",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
        "client_min_messages": "error",
        "timezone": "UTC",
    }
    if reads:
        settings["default_transaction_read_only"] = "on"
    return settings
