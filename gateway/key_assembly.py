"""What the keys of a node are built of, as its configuration says: providers, keyring, data keys, index keys."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.kek_settings import KekSettings
from gateway.config.schema import Role, Settings
from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.config.store_settings import PostgresSettings
from gateway.records import MAX_KEY_BYTES
from gateway.sealing.aws_provider import AwsKmsProvider
from gateway.sealing.custody import Custody, InUse
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.keyring import Keyring
from gateway.sealing.openers import Openers
from gateway.sealing.pkcs11_provider import Pkcs11Provider, TokenKeyPlace
from gateway.sealing.provider_set import NamedProvider, ProviderSet
from gateway.sealing.providers import FileKeyProvider
from gateway.sealing.rsa_provider import RsaProvider
from gateway.sealing.vault_provider import VaultTransitProvider
from visibility.alerts import AlertSink

if TYPE_CHECKING:
    from gateway.postgres_target import Target


class SealingKeys(NamedTuple):
    """What seals, what opens, and what both are kept by."""

    data: DataKeys
    openers: Openers | None  # None: a node that only accepts opens nothing
    provider: ProviderSet
    keyring: Keyring

    def custody(self, node: str, in_use: InUse, settled: Callable[[], Awaitable[None]]) -> Custody:
        """Return what operators do with the keys; `in_use` is the store, `settled` returns when all is committed that
        was sealed before."""
        return Custody(
            node=node,
            keyring=self.keyring,
            provider=self.provider,
            data=self.data,
            openers=self.openers,
            in_use=in_use,
            settled=settled,
            wall=time.time,
        )

    def read(self, settings: Settings) -> ProviderSet:
        """Return what wraps by changed settings. Raises SecretFileRefused."""
        return provider(settings)

    def use(self, changed: ProviderSet) -> None:
        """Wrap by these from now on."""
        self.provider.use(changed)
        self.data.at_once = changed.local and isinstance(self.keyring, FolderKeyring)
        if self.openers is not None:
            self.openers.at_once = self.data.at_once


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


def provider(settings: Settings) -> ProviderSet:
    """Return what wraps data keys, and what unwraps those of before. Raises SecretFileRefused."""
    keys = settings.keys
    older: list[NamedProvider] = [_provider_of(kek, settings) for kek in keys.older_keks]
    if keys.kek is None:
        return ProviderSet(FileKeyProvider(keys.kek_file, keys.older_kek_files), older)
    if keys.older_kek_files:
        older.append(FileKeyProvider(keys.older_kek_files[0], keys.older_kek_files[1:]))
    return ProviderSet(_provider_of(keys.kek, settings), older)


def _provider_of(kek: KekSettings, settings: Settings) -> NamedProvider:
    if kek.pkcs11 is not None:
        place = TokenKeyPlace(
            module=kek.pkcs11.module, token=kek.pkcs11.token, key=kek.pkcs11.key, pin_file=kek.pkcs11.pin_file
        )
        return Pkcs11Provider(place)
    if kek.aws_kms is not None:
        return AwsKmsProvider(key_arn=kek.aws_kms.key, region=kek.aws_kms.region, endpoint=kek.aws_kms.endpoint)
    if kek.vault_transit is not None and settings.vault is not None:
        return VaultTransitProvider(settings.vault, key=kek.vault_transit.key, mount=kek.vault_transit.mount)
    if kek.rsa is not None:
        return RsaProvider(kek.rsa.public_key_file, kek.rsa.private_key_files)
    raise SecretFileRefused("keys.kek names no key-encryption key")


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
    openers = None
    if settings.node.role is not Role.ACCEPT:
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
    return SealingKeys(data, openers, wrapping, ring)
