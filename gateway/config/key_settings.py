"""The keys under which stored messages are sealed: what wraps data keys, and where the wrapped ones are kept."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kek_settings import KekSettings, kek_findings
from gateway.config.kinds import Duration, Items, Section, Text
from gateway.config.secret_kinds import SecretFile
from gateway.config.store_settings import PostgresSettings, StoreSettings, postgres_findings

_NAME = Text(meaning="a name of up to 63 characters", pattern=r"[^\x00-\x1f]+", low=1, high=63)  # NAMEDATALEN


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysPostgresSettings(PostgresSettings):
    """A database of PostgreSQL 15 or later for wrapped keys, which holds no messages."""

    database: str = setting(
        _NAME,
        default="smsgw_keys",
        doc="The database, in UTF-8: another one than that of the messages, and not in its dumps. Its schema "
        "smsgw_keys is made there.",
    )
    user: str = setting(
        _NAME,
        default="smsgw_keys",
        doc="The role. Who first comes has to be allowed to create that schema; docs/keys.md says what others need.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedSettings:
    """Where wrapped data keys are kept."""

    postgres: KeysPostgresSettings | None = setting(
        Section(KeysPostgresSettings, optional=True),
        doc="A database of its own, needed where several nodes share messages: each opens what any of them has sealed. "
        "Left out: the folder keys-wrapped in the data folder.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """The keys under which stored messages are sealed."""

    kek_file: Path = setting(
        SecretFile(),
        default="keys/kek.key",
        reloadable=True,
        doc="The key-encryption key: 32 random bytes that wrap the data keys. Losing it, or the wrapped keys, loses "
        "the contents of all stored messages. Nobody else may read it; keep a copy, apart from the backups of the "
        "database.",
    )
    kek: KekSettings | None = setting(
        Section(KekSettings, optional=True, whole=True),
        reloadable=True,
        doc="What wraps data keys instead of the key in kek_file, which is then not read; name that file in "
        "older_kek_files if it has wrapped any. See docs/keys.md.",
    )
    older_keks: tuple[KekSettings, ...] = setting(
        Items(Section(KekSettings), high=8),
        reloadable=True,
        doc="Such keys that were in use before. What they wrapped is still opened.",
    )
    older_kek_files: tuple[Path, ...] = setting(
        Items(SecretFile(), high=16),
        reloadable=True,
        doc="Key-encryption keys that were in use before. What they wrapped is still opened; nothing new is wrapped by "
        "them.",
    )
    data_key_lifetime_s: float = setting(
        Duration(low="1m", high="15m"),
        default="15m",
        doc="How long one data key seals the messages of one tenant.",
    )
    opened_for_s: float = setting(
        Duration(low="1m", high="7d"),
        default="1h",
        doc="How long a data key that was unwrapped is kept in memory at most without being unwrapped anew, "
        "which is done from a third of that on while it is in use. So while the key-encryption key is out of reach, "
        "what is in use goes on for half of it at least.",
    )
    wrapped: WrappedSettings = setting(Section(WrappedSettings), doc="Where the wrapped data keys are kept.")


def key_findings(keys: KeySettings, store: StoreSettings, *, vault: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between these settings, and with those of the store; `vault`: there is that section."""
    given = [] if keys.kek is None else [("kek", keys.kek)]
    for where, kek in [*given, *((f"older_keks[{at}]", kek) for at, kek in enumerate(keys.older_keks))]:
        for key, text in kek_findings(kek, vault=vault):
            yield f"{where}.{key}" if key else where, text
    postgres, messages = keys.wrapped.postgres, store.postgres
    if postgres is None:
        return
    for key, text in postgres_findings(postgres):
        yield f"wrapped.postgres.{key}", text
    if messages is not None and _place(messages) == _place(postgres):
        yield (
            "wrapped.postgres.database",
            "is the database of the messages: its dumps would hold the keys, and to destroy one would destroy nothing",
        )


def _place(postgres: PostgresSettings) -> tuple[str, int, str]:
    return postgres.host, postgres.port, postgres.database
