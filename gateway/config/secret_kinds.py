"""The kind of value that says where a secret is: one contract for every setting that names a password or a key.

`keys/acme.password` is a file. `credential:NAME` is a credential that systemd hands to the service: the file NAME in
the folder that CREDENTIALS_DIRECTORY names (systemd.exec(5), LoadCredential=, LoadCredentialEncrypted=).
`vault:PATH#FIELD` is a field of a secret in Vault, and `vault-base64:PATH#FIELD` one that holds octets in base64.
Nothing else is accepted, the secret itself least of all; no text made here repeats what stood there. Nothing here opens
a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gateway.config.definitions import definitions
from gateway.config.kinds import Items, Section, Text

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")  # systemd also takes names that no path should have
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PATH_LIKE = re.compile(r".*/.*|[^/]+\.[A-Za-z][A-Za-z0-9]{0,15}")
_KEY_LIKE = re.compile(
    r"[0-9A-Fa-f]{32,}"  # hexadecimal, from 128 bits
    r"|[A-Za-z0-9+/_-]{16,}={1,2}"  # base64 with its padding
    r"|(?=[^/])(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/]{40,}"  # base64 of 30 octets and more
)
_SECRET_KEY = re.compile(
    r"(?:[a-z0-9]+_)*(?:password|passwd|pass|passphrase|pin|secret|token|key|kek|credentials?)"
    r"(?:_(?:data|value|text|pem|hex|base64))?"
)
_VAULT = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*){0,15})#([A-Za-z0-9_.-]{1,128})")
WANTED = "wants the path of a file that holds the secret, or credential:NAME for one that systemd hands over"


class Credential(NamedTuple):
    """A credential of systemd, by its name."""

    name: str


class VaultField(NamedTuple):
    """A field of a secret in Vault, below the engine's mount; `encoded`: its text is base64 of the octets."""

    path: str
    field: str
    encoded: bool = False

    def __str__(self) -> str:
        return f"{'vault-base64' if self.encoded else 'vault'}:{self.path}#{self.field}"


class SecretSetting(NamedTuple):
    """A setting that names a secret, and the file that holds it."""

    key: str  # keys.kek_file, carriers[0].tls.key_file
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """Where a secret is: a path, taken from the folder of the configuration file, a systemd credential, or Vault."""

    from_vault: bool = True
    quotable: bool = True

    def read(self, text: str) -> Path | Credential | VaultField:
        """Return the path, credential or field as written. Raises ValueError, which does not repeat the text."""
        if "-----BEGIN" in text or _KEY_LIKE.fullmatch(text):
            raise ValueError(f"{WANTED}; this looks like the secret itself, which is not safe any more: replace it")
        if not text or _CONTROL.search(text) or len(text) > 1024:
            raise ValueError(WANTED)
        scheme = _SCHEME.fullmatch(text)
        if scheme is None:
            return Path(text)
        if self.from_vault and scheme[1] in {"vault", "vault-base64"}:
            return _vault_field(scheme[2], encoded=scheme[1] == "vault-base64")
        if scheme[1] != "credential":
            raise ValueError(f"{WANTED}; a file whose name has a colon is written ./NAME")
        if not _CREDENTIAL.fullmatch(scheme[2]):
            raise ValueError("wants credential:NAME, a name of letters, digits, dots, dashes and underlines")
        return Credential(scheme[2])

    def show(self, value: object) -> str:
        """Return path or credential as it is written in the file."""
        if isinstance(value, Credential):
            return Text().show(f"credential:{value.name}")
        if isinstance(value, VaultField):
            return Text().show(value)
        return Text().show(f"./{value}" if _SCHEME.fullmatch(str(value)) else value)

    def describe(self) -> str:
        """Return what is wanted."""
        vault = ", or vault:PATH#FIELD" if self.from_vault else ""
        return f"secret: path, relative to this file, or credential:NAME{vault}"


def _vault_field(text: str, *, encoded: bool) -> VaultField:
    found = _VAULT.fullmatch(text)
    if found is None:
        raise ValueError("wants vault:PATH#FIELD: names of letters, digits, dots, dashes and underlines, with slashes")
    return VaultField(found[1], found[2], encoded)


def is_path_like(path: Path) -> bool:
    """Return whether what stands there is surely meant as a path: it has a slash, or a suffix."""
    return _PATH_LIKE.fullmatch(str(path)) is not None


def credential_file(credential: Credential, folder: str | None) -> Path:
    """Return the file of a credential; `folder` is the value of CREDENTIALS_DIRECTORY. Raises ValueError."""
    if not folder:
        raise ValueError(
            f"names the credential {credential.name}, and CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit "
            f"with LoadCredential={credential.name}:PATH (systemd.exec(5)); anywhere else name a file"
        )
    if not folder.startswith("/"):
        raise ValueError("names a credential, and CREDENTIALS_DIRECTORY is no absolute path")
    return Path(folder) / credential.name


def refusal_of(key: str, schema: type) -> str | None:
    """Return what to say of an unknown key that was meant for a secret itself (`password: ...`); None for another."""
    if not _SECRET_KEY.fullmatch(key.lower()):
        return None
    places = [definition.key for definition in definitions(schema) if _is_secret(definition.kind)]
    named = [place for place in places if place == f"{key.lower()}_file"] or places
    if not named:
        return "is no setting, and a secret never stands in this file; if one stood here, replace it"
    return (
        "a secret never stands in this file; write it to a file of its own (chmod 600) and name that in "
        f"{' or '.join(named)}; replace it if others may have read this one"
    )


def secret_settings(schema: type, section: object, path: str = "") -> Iterator[SecretSetting]:
    """Yield every secret that a section names, with its key, in the order of the file."""
    for definition in definitions(schema):
        value = getattr(section, definition.attribute)
        where = f"{path}.{definition.key}" if path else definition.key
        yield from _named(definition.kind, value, where)


def _named(kind: object, value: object, where: str) -> Iterator[SecretSetting]:
    if isinstance(kind, SecretFile) and isinstance(value, Path):
        yield SecretSetting(where, value)
    elif isinstance(kind, Section) and value is not None:
        yield from secret_settings(kind.schema, value, where)
    elif isinstance(kind, Items) and isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _named(kind.kind, item, f"{where}[{index}]")


def _is_secret(kind: object) -> bool:
    return isinstance(kind.kind if isinstance(kind, Items) else kind, SecretFile)
