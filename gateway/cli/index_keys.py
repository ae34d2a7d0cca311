"""Looks at what the database is hashed under: without its index key, what is stored is not found by number."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from gateway import key_assembly
from gateway.cli.finding import Finding
from gateway.config.schema import Settings
from gateway.config.secret_files import SecretFileRefused
from gateway.errors import GatewayError
from gateway.pipeline.intake import IDEMPOTENCY_LIFETIME
from gateway.records import IndexKeys
from gateway.store.engine.database import View
from gateway.store.engine.indexing import read_missing
from gateway.store.sqlite import inspecting, schema
from gateway.store.sqlite.statements import STATEMENTS

_SUBJECT = "index keys"


def look_at_index_keys(settings: Settings, now: dt.datetime) -> Iterator[Finding]:
    """Yield what is to be said of them; nothing where keys or database cannot be looked at, which others tell."""
    try:
        configured = [IndexKeys(key).version for key in key_assembly.index_keys(settings)]
        missing = _missing(settings, configured, round(now.timestamp() * 1e6))
    except (SecretFileRefused, GatewayError, ValueError, OSError):
        return
    if missing is None:
        return
    if not missing:
        yield Finding(_SUBJECT, f"all that the database is hashed under, {len(configured)}")
        return
    names = ", ".join(version.hex() for version in missing)
    yield Finding(
        _SUBJECT,
        "",
        f"the database has hashes under {names}, which is not configured: what is stored so is not found by number",
        "put its file back into store.older_index_key_files; `smsgw privacy rekey` says when it can be removed",
    )


def _missing(settings: Settings, configured: Sequence[bytes], now: int) -> list[bytes] | None:
    """Return the versions that are missing; None where there is no database yet, or one of an older schema."""
    if settings.store.postgres is not None:
        return _missing_in_postgres(settings, configured, now)
    if not settings.store.file.exists() or not settings.store.file.stat().st_size:
        return None
    with inspecting.looking(settings.store.file) as db:
        if inspecting.version_of(db) != len(schema.migrations()):
            return None
        return read_missing(View(db, STATEMENTS), configured, now, IDEMPOTENCY_LIFETIME)


def _missing_in_postgres(settings: Settings, configured: Sequence[bytes], now: int) -> list[bytes] | None:
    from gateway.store.postgres import reaching  # the driver is imported where it is used

    if settings.store.postgres is None:
        return None
    target = key_assembly.database(settings.store.postgres)
    return reaching.look(target, lambda look: read_missing(look, configured, now, IDEMPOTENCY_LIFETIME))
