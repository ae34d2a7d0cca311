"""How a session with the database is opened: what holds for all of them, and what the planner may do."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from gateway.postgres_target import Deadlines, Target, Tls, login
from gateway.store.postgres.schema import SCHEMA
from gateway.store.postgres.session import Session

__all__ = ["Deadlines", "Target", "Tls", "open_session"]


def open_session(target: Target, deadlines: Deadlines, *, reads: bool, name: str = "") -> Session:
    """Open a session: one that writes, or one that only reads; `name` says what for.

    Raises psycopg.Error or StoreUnavailable.
    """
    parameters = _parameters(target, deadlines, reads=reads)
    if name:
        parameters["application_name"] = name
    return Session(Connection.connect(**parameters))


def _parameters(target: Target, deadlines: Deadlines, *, reads: bool) -> dict[str, Any]:
    return {
        **login(target, deadlines),
        "target_session_attrs": "primary" if reads else "read-write",  # never a standby
        "application_name": "smsgw reader" if reads else "smsgw writer",
        "options": " ".join(f"-c {name}={value}" for name, value in _settings(deadlines, reads=reads).items()),
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
        "enable_material": "off",  # it would go through all messages of a tenant for each event
        "jit": "off",
        "client_min_messages": "error",
        "timezone": "UTC",
    }
    if reads:
        settings["default_transaction_read_only"] = "on"
    return settings
