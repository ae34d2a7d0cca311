"""X.509-SVIDs of our own: certificate chain and private key, in memory and in files.

Files. NAME.pem holds the leaf and its intermediates, NAME.key the private key with mode 0600. Two files cannot be
replaced in one step, so whoever renews them under a running reader uses `publish`: both names are symbolic links into
a directory that one rename exchanges. A reader that opens the two files around such an exchange sees a key that does
not fit its certificate; `X509Svid.load` notices, and reads again once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certs.errors import BadSvid, Reason, SecretPermissionsError, SvidFileError
from certs.file_rights import open_to
from certs.leaf import LeafFacts, read_leaf
from certs.pem import (
    MAX_CERTIFICATE_BYTES,
    MAX_CHAIN,
    UNREADABLE,
    PrivateKey,
    certificates,
    encode_certificates,
    encode_private_key,
    private_key,
)
from certs.spiffe_id import SpiffeId

MAX_KEY_BYTES = 64 * 1024

_READ_AGAIN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class X509Svid:
    """A leaf, its intermediates and its private key; the key fits the leaf, and the leaf obeys X509-SVID.

    Attributes:
        chain: the leaf first, then the intermediates.
        key: the private key; never shown.
        facts: what the leaf says of itself, derived.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False, compare=False)  # the public key in the leaf is compared
    facts: LeafFacts = field(init=False)

    def __post_init__(self) -> None:
        if not self.chain:
            raise BadSvid("an SVID needs a certificate", reason=Reason.NO_CERTIFICATE)
        try:
            fits = self.key.public_key() == self.chain[0].public_key()
        except (*UNREADABLE, UnsupportedAlgorithm) as refused:
            raise BadSvid("the certificate has a key that is not readable: issue an X509-SVID") from refused
        if not fits:
            raise SvidFileError("the private key does not fit the certificate", reason=Reason.KEY_MISMATCH)
        object.__setattr__(self, "facts", read_leaf(self.chain[0]))

    @classmethod
    def from_pem(cls, chain_pem: bytes, key_pem: bytes) -> X509Svid:
        """Return the SVID in two PEM texts. Raises SvidFileError, or BadSvid for what X509-SVID does not allow."""
        chain = certificates(chain_pem, at_most=MAX_CHAIN + 1, error=SvidFileError, what="the certificate chain")
        return cls(chain=chain, key=private_key(key_pem, error=SvidFileError, what="the private key"))

    @classmethod
    def load(cls, cert_path: Path, key_path: Path) -> X509Svid:
        """Return the SVID in two files, reading again, a few times, when they are exchanged at that moment.

        Raises SecretPermissionsError when others may read the key, SvidFileError when a file is missing, unreadable
        or does not fit the other, and BadSvid for what X509-SVID does not allow.
        """
        for _ in range(_READ_AGAIN):
            try:
                return cls._load(cert_path, key_path)
            except SecretPermissionsError:
                raise
            except SvidFileError:
                continue  # each further exchange in between would have to come within the microseconds of one reading
        return cls._load(cert_path, key_path)

    @classmethod
    def _load(cls, cert_path: Path, key_path: Path) -> X509Svid:
        chain_pem = read_bounded(cert_path, (MAX_CHAIN + 1) * MAX_CERTIFICATE_BYTES)
        key_pem = read_secret(key_path)
        try:
            return cls.from_pem(chain_pem, key_pem)
        except SvidFileError as refused:
            raise SvidFileError(f"{cert_path}, {key_path}: {refused}", reason=refused.reason) from refused

    @property
    def spiffe_id(self) -> SpiffeId:
        """Whose it is."""
        return self.facts.spiffe_id

    @property
    def serial(self) -> str:
        """The leaf's serial number, lower-case hexadecimal."""
        return self.facts.serial

    @property
    def authority_key_id(self) -> str:
        """The key id of the leaf's issuer, lower-case hexadecimal."""
        return self.facts.authority_key_id

    @property
    def expires_at(self) -> dt.datetime:
        """The last second in which the whole chain is valid, UTC."""
        return min(certificate.not_valid_after_utc for certificate in self.chain)

    @property
    def half_life(self) -> dt.datetime:
        """The middle of its validity, UTC: when it is to be renewed."""
        return self.facts.not_before + (self.expires_at - self.facts.not_before) / 2

    def chain_pem(self) -> bytes:
        """Return leaf and intermediates as PEM."""
        return encode_certificates(self.chain)

    def leaf_pem(self) -> bytes:
        """Return the leaf alone as PEM."""
        return encode_certificates(self.chain[:1])

    def intermediates_pem(self) -> bytes:
        """Return the intermediates as PEM; empty for none."""
        return encode_certificates(self.chain[1:])

    def key_pem(self) -> bytes:
        """Return the private key as unencrypted PEM: for files of mode 0600, and for the TLS stack."""
        return encode_private_key(self.key)

    def write(self, cert_path: Path, key_path: Path) -> None:
        """Write both files, each replaced in one step; key first, 0600. For files that no process is reading.

        Missing directories are made, for their owner only. Raises SvidFileError.
        """
        _make_directory(cert_path.parent)
        _make_directory(key_path.parent)
        write_file(key_path, self.key_pem(), mode=0o600)
        write_file(cert_path, self.chain_pem(), mode=0o644)


def read_bounded(path: Path, at_most_bytes: int) -> bytes:
    """Return a file's octets. Raises SvidFileError when it cannot be read or is larger than `at_most_bytes`."""
    try:
        with path.open("rb") as file:
            content = file.read(at_most_bytes + 1)
    except OSError as refused:
        raise SvidFileError(f"{path}: cannot be read: {refused.strerror}") from refused
    if len(content) > at_most_bytes:
        raise SvidFileError(f"{path}: larger than {at_most_bytes} bytes: is it the right file?")
    return content


def read_secret(path: Path) -> bytes:
    """Return a key file's octets. Raises SecretPermissionsError unless only its owner has any right to it.

    What counts is the opened file, so that it cannot be exchanged between check and reading.
    """
    try:
        with path.open("rb") as file:
            who = open_to(file.fileno())
            if who:
                raise SecretPermissionsError(
                    f"{path}: {who} can use the private key: chmod 600 {path}, and replace the key if others may have "
                    "read it"
                )
            content = file.read(MAX_KEY_BYTES + 1)
    except OSError as refused:
        raise SvidFileError(f"{path}: cannot be read: {refused.strerror}") from refused
    if len(content) > MAX_KEY_BYTES:
        raise SvidFileError(f"{path}: larger than {MAX_KEY_BYTES} bytes: is it a private key?")
    return content


def write_file(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file in one step: a reader sees the old content or the new. Raises SvidFileError.

    The new file has `mode` from its first moment, and is on disk before it gets its name.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as refused:
        raise SvidFileError(f"{path}: cannot be written: {refused.strerror}") from refused


def publish(svid: X509Svid, cert_path: Path, key_path: Path) -> None:
    """Write both files so that certificate and key change in one step, also through a crash.

    The names become symbolic links into `.NAME.svid/current/`, and one rename exchanges what `current` is.
    A missing directory is made, for its owner only. Raises SvidFileError, also when the files are not in one directory.
    """
    if cert_path.parent != key_path.parent:
        raise SvidFileError(f"{cert_path} and {key_path} must be in one directory, to change in one step")
    _make_directory(cert_path.parent)
    home = cert_path.with_name(f".{cert_path.stem}.svid")
    edition = home / secrets.token_hex(8)
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        edition.mkdir(mode=0o700)
        write_file(edition / "key.pem", svid.key_pem(), mode=0o600)
        write_file(edition / "chain.pem", svid.chain_pem(), mode=0o644)
        _link(home / "current", edition.name)
        _link(key_path, f"{home.name}/current/key.pem")
        _link(cert_path, f"{home.name}/current/chain.pem")
        _sync_directory(home)
        for old in home.iterdir():
            if old.is_dir() and not old.is_symlink() and old.name != edition.name:
                shutil.rmtree(old)
    except OSError as refused:
        raise SvidFileError(f"{cert_path}: cannot be written: {refused.strerror}") from refused


def _link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, in one step, unless it is that already."""
    with contextlib.suppress(OSError):
        if path.readlink() == Path(target):
            return
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fresh.symlink_to(target)
    fresh.replace(path)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as refused:
        raise SvidFileError(f"{directory}: cannot be made: {refused.strerror}") from refused


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
