"""What the keys of a node are built of, as its configuration says: providers, keyring, data keys, index keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.config.schema import Settings
from gateway.config.secret_files import read_secret_file
from gateway.config.store_settings import PostgresSettings
from gateway.records import MAX_KEY_BYTES
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.keyring import Keyring
from gateway.sealing.openers import Openers
from gateway.sealing.providers import FileKeyProvider, KeyEncryptionProvider
from visibility.alerts import AlertSink

if TYPE_CHECKING:
    from gateway.postgres_target import Target


class SealingKeys(NamedTuple):
    """What seals, and what opens."""

    data: DataKeys
    openers: Openers


def index_keys(settings: Settings) -> list[bytes]:
    """Return the index keys, the newest first."""
    files = (settings.store.index_key_file, *settings.store.older_index_key_files)
    return [read_secret_file(file, max_bytes=MAX_KEY_BYTES) for file in files]


def database(settings: PostgresSettings) -> Target:
    """Return where the database is. Nothing is opened."""
    from gateway.postgres_target import Target, Tls

    tls = None
    if settings.ca_file is not None:
        tls = Tls(ca_file=settings.ca_file, certificate_file=settings.certificate_file, key_file=settings.key_file)
    return Target(
        host=settings.host,
        port=settings.port,
        database=settings.database,
        user=settings.user,
        password_file=settings.password_file,
        tls=tls,
    )


def provider(settings: Settings) -> KeyEncryptionProvider:
    """Return what wraps data keys. Raises SecretFileRefused."""
    return FileKeyProvider(settings.keys.kek_file, settings.keys.older_kek_files)


def keyring(settings: Settings) -> Keyring:
    """Return where the wrapped data keys are kept. Nothing is opened."""
    postgres = settings.keys.wrapped.postgres
    if postgres is None:
        return FolderKeyring(settings.node.data_dir / WRAPPED_KEYS)
    from gateway.sealing.postgres_keyring import PostgresKeyring

    return PostgresKeyring(database(postgres))


def sealing_keys(settings: Settings, alerts: AlertSink) -> SealingKeys:
    """Return the keys that seal payloads. Raises what their files raise."""
    wrapping, ring = provider(settings), keyring(settings)
    at_once = wrapping.local and isinstance(ring, FolderKeyring)
    openers = Openers(
        provider=wrapping, keyring=ring, lifetime_s=settings.keys.opened_for_s, at_once=at_once, alerts=alerts
    )
    data = DataKeys(
        node=settings.node.name,
        provider=wrapping,
        keyring=ring,
        lifetime_s=settings.keys.data_key_lifetime_s,
        openers=openers,
        at_once=at_once,
        alerts=alerts,
    )
    return SealingKeys(data, openers)
