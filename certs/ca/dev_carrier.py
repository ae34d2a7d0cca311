"""A throw-away TLS certificate for the simulated carrier, with an authority of its own. For development only.

It is no SVID: a carrier is a stranger outside every trust domain, known by host name. The authority's key signs once
and is forgotten, so that nothing else can ever be signed with it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.ca.authority import new_key
from certs.ca.profile import BACKDATE, check_dns_name
from certs.errors import ProfileRefused, SvidFileError
from certs.pem import encode_certificates, encode_private_key
from certs.svid import write_file

LIFETIME = dt.timedelta(days=90)
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevCarrier:
    """The files of a simulated carrier."""

    ca_path: Path
    cert_path: Path
    key_path: Path
    expires_at: dt.datetime


def write_dev_carrier(
    directory: Path, dns_names: Sequence[str], now: dt.datetime, ip_addresses: Sequence[str] = (_LOOPBACK,)
) -> DevCarrier:
    """Write carrier-ca.pem, carrier.pem and carrier.key (0600) for a server with these names, replacing older ones.

    Raises ProfileRefused for a bad name or address, SvidFileError when the files cannot be written.
    """
    for name in dns_names:
        check_dns_name(name)
    now = now.astimezone(dt.UTC).replace(microsecond=0)
    ca_key, key = new_key(), new_key()
    authority = _authority(ca_key, now)
    server = _server(authority, ca_key, key.public_key(), _names(dns_names, ip_addresses), now)
    made = DevCarrier(
        ca_path=directory / "carrier-ca.pem",
        cert_path=directory / "carrier.pem",
        key_path=directory / "carrier.key",
        expires_at=server.not_valid_after_utc,
    )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as refused:
        raise SvidFileError(f"{directory}: cannot be made: {refused.strerror}") from refused
    write_file(made.key_path, encode_private_key(key), mode=0o600)
    write_file(made.cert_path, encode_certificates([server]), mode=0o644)
    write_file(made.ca_path, encode_certificates([authority]), mode=0o644)
    return made


def _names(dns_names: Sequence[str], ip_addresses: Sequence[str]) -> list[x509.GeneralName]:
    if not dns_names:
        raise ProfileRefused("a server certificate needs a DNS name: localhost, for a simulator on this machine")
    try:
        addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ip_addresses]
    except ValueError as refused:
        raise ProfileRefused(f"{refused}: write an address such as {_LOOPBACK}") from refused
    return [*(x509.DNSName(name) for name in dns_names), *addresses]


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, now: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    name = _common_name("smsgw simulated carrier CA (development only)")
    return (
        _builder(name, name, now)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    authority: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    names: Sequence[x509.GeneralName],
    now: dt.datetime,
) -> x509.Certificate:
    return (
        _builder(_common_name("smsgw simulated carrier"), authority.subject, now)
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
