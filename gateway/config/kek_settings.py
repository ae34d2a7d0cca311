"""What wraps data keys when it is no file: a token, a key service, an RSA key."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kinds import FileName, Items, Section, Text
from gateway.config.secret_kinds import SecretFile

_LABEL = Text(meaning="a label of up to 32 characters", pattern=r"[^\x00-\x1f/]+", low=1, high=32)
_PATH = Text(meaning="a path without slashes at its ends", pattern=r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*", high=128)
_ARN = Text(
    meaning="the ARN of a key", pattern=r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+", low=20, high=256
)
_URL = Text(meaning="an https address", pattern=r"https://[A-Za-z0-9.-]+(?::[0-9]+)?/?", low=9, high=253)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Settings:
    """An AES key in a PKCS#11 token, for CKM_AES_GCM. Needs smsgw[pkcs11]."""

    module: Path = setting(FileName(), doc="The PKCS#11 library.", example="/usr/lib/softhsm/libsofthsm2.so")
    token: str = setting(_LABEL, doc="The token's label.", example="smsgw")
    key: str = setting(_LABEL, doc="The key's label. The next key has another one.", example="kek-2026")
    pin_file: Path = setting(SecretFile(), doc="The token's user PIN.", example="keys/token.pin")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKmsSettings:
    """A symmetric key of AWS KMS. Needs smsgw[aws], and credentials where boto3 finds them."""

    key: str = setting(_ARN, doc="Its ARN.", example="arn:aws:kms:eu-central-1:111122223333:key/1234abcd")
    endpoint: str | None = setting(_URL, optional=True, doc="Of a VPC endpoint. Left out: the region's own.")

    @property
    def region(self) -> str:
        """The region that the ARN names."""
        return self.key.split(":")[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultTransitSettings:
    """An AES-256-GCM key of a transit engine in the Vault that the section vault names."""

    key: str = setting(_PATH, doc="The key's name.", example="smsgw")
    mount: str = setting(_PATH, default="transit", doc="Where the engine is mounted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RsaSettings:
    """An RSA key of 2048 to 4096 bits, by OAEP with SHA-256. A node with its public half alone opens nothing."""

    public_key_file: Path | None = setting(
        FileName(),
        optional=True,
        doc="Its public half, PEM. Left out: that of the private half.",
        example="keys/kek.pub",
    )
    private_key_files: tuple[Path, ...] = setting(
        Items(SecretFile(), high=8), doc="Private halves, PEM: the newest first, then those of before."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KekSettings:
    """One of these."""

    pkcs11: Pkcs11Settings | None = setting(Section(Pkcs11Settings, optional=True), doc="A key in a PKCS#11 token.")
    aws_kms: AwsKmsSettings | None = setting(Section(AwsKmsSettings, optional=True), doc="A key of AWS KMS.")
    vault_transit: VaultTransitSettings | None = setting(
        Section(VaultTransitSettings, optional=True),
        doc="A key of Vault's transit engine. Tested against a fake only.",
    )
    rsa: RsaSettings | None = setting(
        Section(RsaSettings, optional=True), doc="An RSA key, whose public half is enough to wrap."
    )

    @property
    def all(self) -> tuple[object, ...]:
        """Those that are given."""
        given = (self.pkcs11, self.aws_kms, self.vault_transit, self.rsa)
        return tuple(section for section in given if section is not None)


def kek_findings(kek: KekSettings, *, vault: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one; `vault`: whether there is a section vault."""
    if len(kek.all) != 1:
        yield "", "wants one of pkcs11, aws_kms, vault_transit, rsa"
        return
    if kek.vault_transit is not None and not vault:
        yield "vault_transit", "wants the section vault, which says where Vault is"
    if kek.rsa is not None and kek.rsa.public_key_file is None and not kek.rsa.private_key_files:
        yield "rsa", "wants public_key_file, private_key_files or both"
