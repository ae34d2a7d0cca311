"""Certificates for tests: an authority of its own, independent of `certs.ca`, that also makes what no sound CA would.

    authority = TestAuthority("example.org")
    svid = authority.svid("/billing/otp")                      # a valid client SVID of one hour
    server = authority.svid("/gateway", dns=("localhost",))    # a server's
    bad = authority.svid("/x", uris=("spiffe://EXAMPLE.org/x",), authority_key_id=False)

`svid` takes any field of `LeafPlan` as a mutation. TLS reads the real clock, so `now` is the real time by default.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

DIGITAL_SIGNATURE = frozenset({"digital_signature"})
CERT_SIGN = frozenset({"key_cert_sign", "crl_sign"})
BOTH_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def utc_now() -> dt.datetime:
    """Return the real time in whole seconds, as certificates keep it."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def key_usage(names: frozenset[str]) -> x509.KeyUsage:
    """Return a key usage extension with exactly `names` set."""
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafPlan:
    """Everything about a leaf that a test may want otherwise. None leaves the extension out."""

    uris: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    dns: tuple[str, ...] = ()
    common_name: str = ""  # "": an empty subject
    is_ca: bool | None = False
    path_length: int | None = None
    usages: frozenset[str] | None = DIGITAL_SIGNATURE
    usages_critical: bool = True
    purposes: tuple[ObjectIdentifier, ...] | None = BOTH_PURPOSES
    authority_key_id: bool | bytes = True  # False: none; bytes: this key id instead of the issuer's
    authority_key_id_by_name: bool = False  # the extension without a key id: issuer name and serial only
    subject_key_id: bool = True
    san_critical: bool = True
    by_root: bool = False  # signed by the root itself, no intermediate
    key: PrivateKey | None = None
    serial: int | None = None
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSvid:
    """What a workload holds."""

    leaf_pem: bytes
    chain_pem: bytes  # the intermediates
    key_pem: bytes

    @property
    def leaf(self) -> x509.Certificate:
        """The leaf, parsed."""
        return x509.load_pem_x509_certificate(self.leaf_pem)

    @property
    def presented_pem(self) -> bytes:
        """Leaf and intermediates, as a TLS peer presents them."""
        return self.leaf_pem + self.chain_pem

    def auth_context(self) -> Mapping[str, list[bytes]]:
        """What grpc's `auth_context()` holds for this peer, as far as the gateway reads it."""
        context = {"transport_security_type": [b"ssl"], "x509_pem_cert": [self.leaf_pem]}
        if self.chain_pem:
            context["x509_pem_cert_chain"] = [self.chain_pem]
        return context

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write NAME.pem (leaf and intermediates) and NAME.key (0600); returns both paths."""
        cert, key = directory / f"{name}.pem", directory / f"{name}.key"
        cert.write_bytes(self.presented_pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return cert, key


def key_pem(key: PrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def cert_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


class TestAuthority:
    """A root and an intermediate of one trust domain, and leafs as sound or as broken as asked for."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    def __init__(self, trust_domain: str = "example.org", *, now: dt.datetime | None = None) -> None:
        self.trust_domain = trust_domain
        self.now = now or utc_now()
        self.root_key = new_key()
        self.root = self._authority(f"{trust_domain} root", self.root_key, path_length=1)
        self.intermediate_key = new_key()
        self.intermediate = self.sub_authority(self.intermediate_key)

    @property
    def bundle_pem(self) -> bytes:
        """The trust domain's bundle: the root."""
        return cert_pem(self.root)

    def sub_authority(self, key: ec.EllipticCurvePrivateKey, **changes: Any) -> x509.Certificate:
        """Return an intermediate for `key`, signed by the root; `changes` as in `_authority`."""
        return self._authority(
            f"{self.trust_domain} intermediate", key, **{"path_length": 0, "signed_by": self.root, **changes}
        )

    def _authority(
        self,
        common_name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        path_length: int | None,
        signed_by: x509.Certificate | None = None,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
        is_ca: bool = True,
    ) -> x509.Certificate:
        issuer_key = key if signed_by is None else self.root_key
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(_name(common_name) if signed_by is None else signed_by.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or self.now - dt.timedelta(days=400))
            .not_valid_after(not_after or self.now + dt.timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length if is_ca else None), critical=True)
            .add_extension(key_usage(CERT_SIGN), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{self.trust_domain}")]),
                critical=False,
            )
            .sign(issuer_key, hashes.SHA256())
        )

    def svid(self, path: str = "/service", **mutations: Any) -> IssuedSvid:
        """Return a valid SVID for `path` in this trust domain, with any field of LeafPlan changed."""
        plan = replace(
            LeafPlan(
                uris=(f"spiffe://{self.trust_domain}{path}",),
                not_before=self.now - dt.timedelta(seconds=30),
                not_after=self.now + dt.timedelta(hours=1),
            ),
            **mutations,
        )
        key = plan.key or new_key()
        return IssuedSvid(
            leaf_pem=cert_pem(self._leaf(plan, key)),
            chain_pem=b"" if plan.by_root else cert_pem(self.intermediate),
            key_pem=key_pem(key),
        )

    def _leaf(self, plan: LeafPlan, key: PrivateKey) -> x509.Certificate:
        issuer, issuer_key = (self.root, self.root_key) if plan.by_root else (self.intermediate, self.intermediate_key)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(plan.common_name))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(plan.serial or x509.random_serial_number())
            .not_valid_before(plan.not_before)
            .not_valid_after(plan.not_after)
        )
        for extension, critical in _leaf_extensions(plan, key, issuer_key):
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256())


def _leaf_extensions(
    plan: LeafPlan, key: PrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = list(plan.extra)
    if plan.is_ca is not None:
        found.append((x509.BasicConstraints(ca=plan.is_ca, path_length=plan.path_length), True))
    if plan.usages is not None:
        found.append((key_usage(plan.usages), plan.usages_critical))
    if plan.purposes is not None:
        found.append((x509.ExtendedKeyUsage(plan.purposes), False))
    if plan.subject_key_id:
        found.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    if plan.authority_key_id_by_name:
        issuer = x509.DirectoryName(_name("somebody"))
        found.append((x509.AuthorityKeyIdentifier(None, [issuer], 1), False))
    elif isinstance(plan.authority_key_id, bytes):
        found.append((x509.AuthorityKeyIdentifier(plan.authority_key_id, None, None), False))
    elif plan.authority_key_id:
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False))
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in plan.uris]
    names += [x509.DNSName(name) for name in plan.dns]
    if names:
        found.append((x509.SubjectAlternativeName(names), plan.san_critical))
    return found
