"""Where HashiCorp Vault is, and how it is asked: the section that references such as vault:smsgw/acme#password need."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kinds import Address, Duration, FileName, HostPort, Text
from gateway.config.secret_kinds import SecretFile

_PATH = Text(meaning="a path without slashes at its ends", pattern=r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*", high=128)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """A Vault whose key-value engine (version 2) has secrets of this node. Its certificate is always verified."""

    address: Address = setting(HostPort(), doc="Its address; it is asked by HTTPS only.", example="vault.example:8200")
    ca_file: Path | None = setting(
        FileName(),
        optional=True,
        doc="Root certificates, PEM. Left out: the system's.",
        example="pki/vault-ca.pem",
    )
    token_file: Path = setting(
        SecretFile(from_vault=False),
        doc="The token to show, alone in its file, or credential:NAME. It is read each time that Vault is asked, so an "
        "agent of Vault's may renew it there.",
        example="keys/vault.token",
    )
    namespace: str = setting(_PATH, default="", doc="The namespace, where the Vault has them.")
    mount: str = setting(_PATH, default="secret", doc="Where the engine is mounted.")
    timeout_s: float = setting(
        Duration(low="1s", high="1m"),
        default="10s",
        doc="How long fetching all the secrets may take, at start and at each reload, attempts included.",
    )
