"""The authority's files: directories of mode 0700, keys of mode 0600, made whole or not at all.

    DIR/authority.json      the trust domain, the format's version, and how tokens are reached
    DIR/ca.db               authorities and what they issued (`certs.ca.ledger`)
    DIR/root.pem            the bundle as PEM, for whoever trusts this authority; kept as the record says
    DIR/keys/KEY_ID.key     the key of an intermediate, unless it is kept elsewhere (`certs.ca.keys`)
    PLACE/KEY_ID.key        the key of a standby in a directory of its own
    ROOT/root.key           the root's key: DIR itself, or a directory that is only there when it is needed

It knows no certificate rule: it reads and writes, and refuses what others may read. A directory of the first format
(intermediate.pem and intermediate.key, no record) is brought to this one when it is opened.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs.ca.ledger import Ledger, key_id_of
from certs.ca.states import Kind, State
from certs.ca.token_keys import Token
from certs.errors import AuthorityError, AuthorityMissing, BadSpiffeId, SecretPermissionsError, SvidFileError
from certs.pem import certificates, encode_certificates, encode_private_key, private_key
from certs.spiffe_id import TrustDomain
from certs.svid import read_bounded, read_secret, write_file

BUNDLE_FILE = "root.pem"
_FORMAT = 2
_MANIFEST, _LEDGER, _KEYS, _ROOT_KEY = "authority.json", "ca.db", "keys", "root.key"
_MAX_MANIFEST = 64 * 1024
_OLD_CERTIFICATE, _OLD_KEY = "intermediate.pem", "intermediate.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthority:
    """One authority with its key, before it is written. `home`: where the key is, "" for the authority's directory."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    home: str = ""


def create(
    directory: Path,
    root_directory: Path | None,
    trust_domain: TrustDomain,
    root: NewAuthority,
    intermediates: Sequence[tuple[State, NewAuthority]],
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    tokens: Sequence[Token] = (),
) -> None:
    """Write a new authority; without `root_directory`, the root's key is kept elsewhere already.

    Keys of intermediates that have another home are there already, too; `settings` go on record, and `tokens` are how
    those homes are reached. Raises AuthorityError when there is one already, or the directory holds other files.
    """
    require_room(directory, root_directory)
    directory = directory.resolve()  # "." has no name to stage beside
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(6)}")
    root_home = None if root_directory is None else _within(root_directory, directory, staging)
    try:
        staging.mkdir(mode=0o700, parents=True)
        if root_home is not None:
            write_root_key(root_home, root.key)
        _fill(staging, root.certificate, intermediates, settings)
        _write_manifest(staging, trust_domain)
        for token in tokens:
            add_token(staging, token)
        staging.rename(directory)  # replaces an empty directory, and fails on any other
    except (OSError, SvidFileError) as refused:
        if root_home is not None:
            (root_home / _ROOT_KEY).unlink(missing_ok=True)  # `require_room` saw none: it is the one made here
        raise AuthorityError(f"{directory}: the authority cannot be written: {refused}") from refused
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _within(path: Path, directory: Path, staging: Path) -> Path:
    """Return where `path` is while `directory` is still called `staging`."""
    if path.resolve().is_relative_to(directory):
        return staging / path.resolve().relative_to(directory)
    return path


def _fill(
    directory: Path,
    root: x509.Certificate,
    intermediates: Sequence[tuple[State, NewAuthority]],
    settings: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write keys, bundle and record; the certificates' own beginning is when they were made."""
    for _, made in intermediates:
        if not made.home:
            save_key(directory, key_id_of(made.certificate), made.key)
    write_file(directory / BUNDLE_FILE, encode_certificates([root]), mode=0o644)
    ledger = Ledger.create(directory / _LEDGER)
    try:
        with ledger.changing():
            ledger.add_authority(Kind.ROOT, State.ACTIVE, root, root.not_valid_before_utc)
            for state, made in intermediates:
                at = made.certificate.not_valid_before_utc
                ledger.add_authority(Kind.INTERMEDIATE, state, made.certificate, at)
                ledger.set_home(key_id_of(made.certificate), made.home)
        for name, value in settings.items():
            ledger.set(name, value)
    finally:
        ledger.close()


def require_room(directory: Path, root_directory: Path | None) -> None:
    """Raise AuthorityError when an authority, or anything else, is where a new one is to go."""
    if (directory / _MANIFEST).exists():
        raise AuthorityError(f"{directory} holds an authority already: use it, or name another directory")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise AuthorityError(f"{directory} is not an empty directory: name a new one")
    if root_directory is not None:
        require_no_root_key(root_directory)


def require_no_root_key(root_directory: Path) -> None:
    """Raise AuthorityError when a root's key would be overwritten."""
    if (root_directory / _ROOT_KEY).exists():
        raise AuthorityError(f"{root_directory} holds a root key already: name another directory for the root")


def load(directory: Path) -> tuple[TrustDomain, Ledger]:
    """Return for whom the authority in `directory` issues, and its record.

    Raises AuthorityMissing when there is none, SecretPermissionsError when others may read it, and AuthorityError or
    SvidFileError for what cannot be read.
    """
    found, trust_domain = _read_manifest(directory)
    _require_private(directory)
    if found == 1:
        _upgrade(directory, trust_domain)
    return trust_domain, Ledger(directory / _LEDGER)


def save_key(directory: Path, key_id: str, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key into the authority's directory. Raises SvidFileError."""
    save_key_in(directory / _KEYS, key_id, key)


def save_key_in(place: Path, key_id: str, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key into a directory for its owner only. Raises SvidFileError, SecretPermissionsError."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as refused:
        raise SvidFileError(f"{place}: cannot be made: {refused.strerror}") from refused
    _require_private(place)
    write_file(place / f"{key_id}.key", encode_private_key(key), mode=0o600)


def load_key(directory: Path, key_id: str) -> ec.EllipticCurvePrivateKey:
    """Return a key of the authority's directory. Raises SecretPermissionsError, SvidFileError, AuthorityError."""
    return _key(directory / _KEYS / f"{key_id}.key")


def load_key_in(place: Path, key_id: str) -> ec.EllipticCurvePrivateKey:
    """Return a key that has a directory of its own. Raises as `load_key` does."""
    path = place / f"{key_id}.key"
    if not path.exists():
        raise SvidFileError(f"{path} is not there: is its directory? Name where it is now with --standby-dir")
    _require_private(place)
    return _key(path)


def has_key(directory: Path, key_id: str) -> bool:
    """Say whether there is a file with a key in the authority's directory."""
    return has_key_in(directory / _KEYS, key_id)


def has_key_in(place: Path, key_id: str) -> bool:
    """Say whether there is a file with a key in a directory."""
    return (place / f"{key_id}.key").exists()


def destroy_key(directory: Path, key_id: str) -> None:
    """Destroy a key of the authority's directory, as `destroy_key_in` does. Raises SvidFileError."""
    destroy_key_in(directory / _KEYS, key_id)


def destroy_key_in(place: Path, key_id: str) -> None:
    """Overwrite and delete a key; one that is gone already is no error. Raises SvidFileError.

    Overwriting is worth little on journaling file systems and flash: the authority's certificates are what is revoked.
    """
    path = place / f"{key_id}.key"
    try:
        with path.open("r+b") as file:
            file.write(secrets.token_bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as refused:
        raise SvidFileError(f"{path}: cannot be destroyed: {refused.strerror}: delete it by hand") from refused


def tokens(directory: Path) -> dict[str, Token]:
    """Return the tokens that hold keys of the authority, by their label. Raises AuthorityError."""
    path = directory / _MANIFEST
    try:
        found = json.loads(read_bounded(path, _MAX_MANIFEST)).get("tokens", {})
        return {
            label: Token(module=Path(how["module"]), label=label, pin_file=Path(how["pin_file"]))
            for label, how in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as refused:
        raise AuthorityError(f"{path}: `tokens` needs `module` and `pin_file` of each token's label") from refused


def add_token(directory: Path, token: Token) -> None:
    """Keep how a token is reached; the library as it is given, by a path or a name. Raises SvidFileError."""
    path = directory / _MANIFEST
    manifest = json.loads(read_bounded(path, _MAX_MANIFEST))
    module = token.module.absolute() if "/" in str(token.module) else token.module
    how = {"module": str(module), "pin_file": str(token.pin_file.absolute())}
    manifest["tokens"] = {**manifest.get("tokens", {}), token.label: how}
    write_file(path, json.dumps(manifest, indent=1).encode() + b"\n", mode=0o644)


def write_root_key(root_directory: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a root's key in a directory for its owner only. Raises OSError, SvidFileError."""
    root_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    root_directory.chmod(0o700)
    write_file(root_directory / _ROOT_KEY, encode_private_key(key), mode=0o600)


def has_root_key(root_directory: Path) -> bool:
    """Say whether a directory holds a root's key."""
    return (root_directory / _ROOT_KEY).exists()


def load_root_key(root_directory: Path) -> ec.EllipticCurvePrivateKey:
    """Return the root's key. Raises AuthorityMissing when it is not there."""
    if not (root_directory / _ROOT_KEY).exists():
        raise AuthorityMissing(f"{root_directory} holds no {_ROOT_KEY}: name the root's directory with --root-dir")
    _require_private(root_directory)
    return _key(root_directory / _ROOT_KEY)


def _write_manifest(directory: Path, trust_domain: TrustDomain) -> None:
    manifest = {"format": _FORMAT, "trust_domain": trust_domain.name}
    write_file(directory / _MANIFEST, json.dumps(manifest).encode() + b"\n", mode=0o644)


def _read_manifest(directory: Path) -> tuple[int, TrustDomain]:
    path = directory / _MANIFEST
    if not path.exists():
        raise AuthorityMissing(f"{directory} holds no authority: make one with `smsgw ca init --dir {directory}`")
    try:
        manifest = json.loads(read_bounded(path, _MAX_MANIFEST))
        if manifest["format"] not in {1, _FORMAT}:
            raise AuthorityError(f"{path}: format {manifest['format']!r} is not known to this version of smsgw")
        return manifest["format"], TrustDomain(manifest["trust_domain"])
    except (ValueError, KeyError, TypeError, BadSpiffeId) as refused:
        raise AuthorityError(f"{path}: not the description of an authority: restore it from a backup") from refused


def _upgrade(directory: Path, trust_domain: TrustDomain) -> None:
    """Bring a directory of the first format to this one; the manifest goes last, so that it can be begun again."""
    certificate = _certificate(directory / _OLD_CERTIFICATE)
    made = NewAuthority(certificate=certificate, key=_key(directory / _OLD_KEY))
    for name in (_LEDGER, f"{_LEDGER}-wal", f"{_LEDGER}-shm"):
        (directory / name).unlink(missing_ok=True)  # of an upgrade that did not come to its end
    _fill(directory, _certificate(directory / BUNDLE_FILE), [(State.ACTIVE, made)])
    _write_manifest(directory, trust_domain)
    (directory / _OLD_KEY).unlink(missing_ok=True)
    (directory / _OLD_CERTIFICATE).unlink(missing_ok=True)


def _require_private(directory: Path) -> None:
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077:
        raise SecretPermissionsError(
            f"{directory}: mode {mode:04o} lets others than its owner into the authority: chmod 700 {directory}"
        )


def _certificate(path: Path) -> x509.Certificate:
    found = certificates(read_bounded(path, 16 * 1024), at_most=1, error=AuthorityError, what=str(path))
    if not found:
        raise AuthorityMissing(f"{path}: holds no certificate: restore it from a backup")
    return found[0]


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = private_key(read_secret(path), error=AuthorityError, what=str(path))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError(f"{path}: not an EC key: restore it from a backup")
    return key
