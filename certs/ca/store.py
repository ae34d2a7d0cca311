"""The authority's files: directories of mode 0700, keys of mode 0600, made whole or not at all.

    DIR/authority.json      the trust domain and the format's version
    DIR/root.pem            the root's certificate
    DIR/intermediate.pem    the intermediate that issues
    DIR/intermediate.key    its key
    ROOT/root.key           the root's key: DIR itself, or a directory that is only there when it is needed

It knows no certificate rule: it reads and writes, and refuses what others may read.
"""

from __future__ import annotations

import json
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs.errors import AuthorityError, AuthorityMissing, BadSpiffeId, SecretPermissionsError, SvidFileError
from certs.pem import certificates, encode_certificates, encode_private_key, private_key
from certs.spiffe_id import TrustDomain
from certs.svid import read_bounded, read_secret, write_file

_FORMAT = 1
_MANIFEST = "authority.json"
_ROOT, _ROOT_KEY = "root.pem", "root.key"
_INTERMEDIATE, _INTERMEDIATE_KEY = "intermediate.pem", "intermediate.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAuthority:
    """What the files hold, without the root's key."""

    trust_domain: TrustDomain
    root: x509.Certificate
    intermediate: x509.Certificate
    intermediate_key: ec.EllipticCurvePrivateKey


def create(
    directory: Path, root_directory: Path, stored: StoredAuthority, root_key: ec.EllipticCurvePrivateKey
) -> None:
    """Write a new authority. Raises AuthorityError when there is one already, or the directory holds other files."""
    require_room(directory, root_directory)
    directory = directory.resolve()  # "." has no name to stage beside
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(6)}")
    root_home = _within(root_directory, directory, staging)
    try:
        staging.mkdir(mode=0o700, parents=True)
        root_home.mkdir(mode=0o700, parents=True, exist_ok=True)
        root_home.chmod(0o700)
        write_file(root_home / _ROOT_KEY, encode_private_key(root_key), mode=0o600)
        write_file(staging / _ROOT, encode_certificates([stored.root]), mode=0o644)
        write_file(staging / _INTERMEDIATE_KEY, encode_private_key(stored.intermediate_key), mode=0o600)
        write_file(staging / _INTERMEDIATE, encode_certificates([stored.intermediate]), mode=0o644)
        manifest = {"format": _FORMAT, "trust_domain": stored.trust_domain.name}
        write_file(staging / _MANIFEST, json.dumps(manifest).encode() + b"\n", mode=0o644)
        staging.rename(directory)  # replaces an empty directory, and fails on any other
    except (OSError, SvidFileError) as refused:
        (root_home / _ROOT_KEY).unlink(missing_ok=True)  # `require_room` saw none: it is the one made here
        raise AuthorityError(f"{directory}: the authority cannot be written: {refused}") from refused
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _within(path: Path, directory: Path, staging: Path) -> Path:
    """Return where `path` is while `directory` is still called `staging`."""
    if path.resolve().is_relative_to(directory):
        return staging / path.resolve().relative_to(directory)
    return path


def require_room(directory: Path, root_directory: Path) -> None:
    """Raise AuthorityError when an authority, or anything else, is where a new one is to go."""
    if (directory / _MANIFEST).exists():
        raise AuthorityError(f"{directory} holds an authority already: use it, or name another directory")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise AuthorityError(f"{directory} is not an empty directory: name a new one")
    if (root_directory / _ROOT_KEY).exists():
        raise AuthorityError(f"{root_directory} holds a root key already: name another directory for the root")


def load(directory: Path) -> StoredAuthority:
    """Return the authority in `directory`.

    Raises AuthorityMissing when there is none, SecretPermissionsError when others may read it, and AuthorityError or
    SvidFileError for what cannot be read.
    """
    trust_domain = _read_manifest(directory)
    _require_private(directory)
    return StoredAuthority(
        trust_domain=trust_domain,
        root=_certificate(directory / _ROOT),
        intermediate=_certificate(directory / _INTERMEDIATE),
        intermediate_key=_key(directory / _INTERMEDIATE_KEY),
    )


def load_root_key(root_directory: Path) -> ec.EllipticCurvePrivateKey:
    """Return the root's key. Raises AuthorityMissing when it is not there."""
    if not (root_directory / _ROOT_KEY).exists():
        raise AuthorityMissing(f"{root_directory} holds no {_ROOT_KEY}: name the root's directory with --root-dir")
    _require_private(root_directory)
    return _key(root_directory / _ROOT_KEY)


def replace_intermediate(
    directory: Path, intermediate: x509.Certificate, intermediate_key: ec.EllipticCurvePrivateKey
) -> None:
    """Put another intermediate in place.

    The certificate goes last: after a crash in between, `load` succeeds and the pair does not fit, which whoever opens
    the authority is told; running the renewal again repairs it.
    """
    write_file(directory / _INTERMEDIATE_KEY, encode_private_key(intermediate_key), mode=0o600)
    write_file(directory / _INTERMEDIATE, encode_certificates([intermediate]), mode=0o644)


def _read_manifest(directory: Path) -> TrustDomain:
    path = directory / _MANIFEST
    if not path.exists():
        raise AuthorityMissing(f"{directory} holds no authority: make one with `smsgw ca init --dir {directory}`")
    try:
        manifest = json.loads(read_bounded(path, 4096))
        if manifest["format"] != _FORMAT:
            raise AuthorityError(f"{path}: format {manifest['format']!r} is not known to this version of smsgw")
        return TrustDomain(manifest["trust_domain"])
    except (ValueError, KeyError, TypeError, BadSpiffeId) as refused:
        raise AuthorityError(f"{path}: not the description of an authority: restore it from a backup") from refused


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
