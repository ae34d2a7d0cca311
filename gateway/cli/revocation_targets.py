"""What `smsgw revoke` is to refuse, from its options and the certificates that they name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from cryptography import x509

from certs.errors import CertsError
from certs.leaf import read_leaf
from certs.verify import public_key_hash
from gateway.cli.manners import Misused
from smsgw.v1 import revocation_service_pb2 as pb

_F = TypeVar("_F", bound=Callable[..., Any])
_File = click.Path(path_type=Path, dir_okay=False)
_MAX_CERTIFICATE_BYTES = 64 << 10
_NAMES = ("identity", "certificate", "serial", "authority", "authority_key")


class Named(NamedTuple):
    """What the options name: the target, and how people call it."""

    target: pb.RevocationTarget
    shown: str


def target_options(command: _F) -> _F:
    """Give a command the options that name what is to be refused."""
    options = (
        click.option(
            "--spiffe-id", "identity", metavar="SPIFFE_ID", help="An identity, with all certificates that it has now."
        ),
        click.option("--for-good", is_flag=True, help="With --spiffe-id: those to come as well."),
        click.option("--certificate", type=_File, help="One certificate, by its file (PEM, leaf first)."),
        click.option("--serial", help="One certificate, by its serial number in hexadecimal; with --authority-key-id."),
        click.option("--authority-key-id", help="The key id of its issuer, in hexadecimal."),
        click.option("--authority", type=_File, help="An authority and all below it, by its certificate (PEM)."),
        click.option("--authority-key", metavar="SHA256", help="The same, by the SHA-256 of its public key."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def named(options: dict[str, Any]) -> Named | None:
    """Take what is named out of `options`, None for nothing. Raises Misused for more than one thing, or half of one."""
    given = {name: options.pop(name) for name in _NAMES}
    key_id, for_good = options.pop("authority_key_id"), options.pop("for_good")
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise Misused("name one thing: an identity, a certificate or an authority", reason="TARGETS_INVALID")
    if (given["serial"] is None) != (key_id is None):
        text = "--serial and --authority-key-id go together: a serial number is unique to its issuer only"
        raise Misused(text, reason="TARGETS_INVALID")
    if for_good and given["identity"] is None:
        raise Misused("--for-good is about an identity: give its --spiffe-id", reason="TARGETS_INVALID")
    if not chosen:
        return None
    return _named(chosen[0], given[chosen[0]], key_id, for_good)


def _named(name: str, value: Any, key_id: str | None, for_good: bool) -> Named:
    if name == "identity":
        identity = pb.IdentityTarget(spiffe_id=value, for_good=for_good)
        return Named(pb.RevocationTarget(identity=identity), value)
    if name == "certificate":
        return _certificate(value)
    if name == "authority":
        return _authority(value)
    if name == "authority_key":
        authority = pb.AuthorityTarget(public_key_sha256=value)
        return Named(pb.RevocationTarget(authority=authority), f"the authority with the key {value}")
    certificate = pb.CertificateTarget(serial=value, authority_key_id=key_id or "")
    return Named(pb.RevocationTarget(certificate=certificate), f"the certificate {value}")


def _certificate(path: Path) -> Named:
    """Return the first certificate of a file. Raises Misused."""
    try:
        leaf = read_leaf(_read(path))
    except CertsError as error:
        raise Misused(f"{path}: {error}", reason="CERTIFICATE_UNREADABLE") from error
    certificate = pb.CertificateTarget(
        serial=leaf.serial, authority_key_id=leaf.authority_key_id, spiffe_id=str(leaf.spiffe_id)
    )
    certificate.not_after.FromDatetime(leaf.not_after)
    return Named(pb.RevocationTarget(certificate=certificate), f"the certificate {leaf.serial} of {leaf.spiffe_id}")


def _authority(path: Path) -> Named:
    """Return the authority in a file. Raises Misused for a leaf: that would taint nothing."""
    certificate = _read(path)
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        constraints = None
    if constraints is None or not constraints.ca:
        text = f"{path} is no authority's certificate: --certificate revokes a workload's"
        raise Misused(text, reason="CERTIFICATE_UNREADABLE")
    key = public_key_hash(certificate)
    authority = pb.AuthorityTarget(public_key_sha256=key)
    authority.not_after.FromDatetime(certificate.not_valid_after_utc.astimezone(dt.UTC))
    return Named(pb.RevocationTarget(authority=authority), f"the authority with the key {key}")


def _read(path: Path) -> x509.Certificate:
    try:
        with path.open("rb") as stream:
            return x509.load_pem_x509_certificate(stream.read(_MAX_CERTIFICATE_BYTES))
    except (OSError, ValueError) as error:
        text = f"{path}: no certificate can be read from it: {error}"
        raise Misused(text, reason="CERTIFICATE_UNREADABLE") from error
