"""Contexts for TLS towards carriers: what they demand, and files that cannot be used."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives import serialization

from carrier.endpoint import endpoints_of
from carrier.errors import TlsRefused
from carrier.profile import CarrierTls
from carrier.tls import check_pins, client_context, refusal, spki_sha256
from tests.carrier.certificates import issue, make_ca
from tests.carrier.driver import profile_of


def test_the_context_demands_chain_name_and_version(tmp_path: Path) -> None:
    """Nothing in a profile can turn verification off."""
    context = client_context(CarrierTls(ca_file=make_ca(tmp_path).certificate_file))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert client_context(CarrierTls(tls_1_2=True)).minimum_version == ssl.TLSVersion.TLSv1_2
    assert not context.hostname_checks_common_name
    assert context.cert_store_stats()["x509_ca"] == 1


def test_without_a_ca_file_the_system_decides() -> None:
    """The system's trust store is the default, with the same demands."""
    context = client_context(CarrierTls())
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("content", [None, b"", b"no pem"])
def test_a_ca_file_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or foreign CA file is refused by name: never the system's store instead."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TlsRefused, match=r"tls\.ca_file .*ca\.pem: .*must hold PEM certificates"):
        client_context(CarrierTls(ca_file=path))


def test_a_client_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    """A key of another certificate, or one with a password, is refused without asking at the terminal."""
    ca, other = make_ca(tmp_path), make_ca(tmp_path, "other")
    leaf = issue(tmp_path, "client", ca=ca)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        leaf.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    for key_file in (other.key_file, locked, tmp_path / "missing"):
        with pytest.raises(TlsRefused, match=r"tls\.certificate_file .*, tls\.key_file .*unencrypted key"):
            client_context(
                CarrierTls(ca_file=ca.certificate_file, certificate_file=leaf.certificate_file, key_file=key_file)
            )


def test_the_expected_name() -> None:
    """The name is the host unless the profile states another."""
    assert endpoints_of(profile_of(1, tls=CarrierTls()))[0].expected_name == "127.0.0.1"
    assert endpoints_of(profile_of(1, tls=CarrierTls(server_name="smsc.example")))[0].expected_name == "smsc.example"


def test_an_unknown_failure_is_still_explained() -> None:
    """An error of OpenSSL that has no row says at least its own words and whom to ask."""
    told = str(refusal(ssl.SSLError(1, "x"), endpoints_of(profile_of(2775))[0]))
    assert told.startswith("127.0.0.1:2775 failed the TLS handshake")
    assert "ask the carrier" in told


def test_the_key_of_a_certificate(tmp_path: Path) -> None:
    """The digest is that of `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum`: of the key alone."""
    ca = make_ca(tmp_path)
    der = ca.certificate.public_bytes(serialization.Encoding.DER)
    spki = ca.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert spki in der
    assert spki_sha256(der) == hashlib.sha256(spki).digest()


class Secured:
    """What check_pins asks of an ssl object."""

    def __init__(self, own: bytes, chain: list[bytes] | None = None) -> None:
        self._own = own
        if chain is not None:
            self.get_verified_chain = lambda: chain

    def getpeercert(self, binary_form: bool = False) -> bytes:
        """Return the certificate."""
        assert binary_form
        return self._own


def test_pins(tmp_path: Path) -> None:
    """One of several has to fit; of the chain where Python tells it, of the carrier's own otherwise."""
    ca = make_ca(tmp_path)
    own, issuer = (
        pair.certificate.public_bytes(serialization.Encoding.DER) for pair in (issue(tmp_path, "smsc", ca=ca), ca)
    )

    def checked(secured: Secured, *pins: bytes) -> None:
        (endpoint,) = endpoints_of(profile_of(1, tls=CarrierTls(spki_sha256=pins)))
        check_pins(cast(ssl.SSLObject, secured), endpoint)

    checked(Secured(own))
    checked(Secured(own), bytes(32), spki_sha256(own))
    checked(Secured(own, [own, issuer]), spki_sha256(issuer))
    for secured, pins in ((Secured(own), spki_sha256(issuer)), (Secured(own, [own, issuer]), bytes(32))):
        with pytest.raises(TlsRefused, match=r"not one of those pinned in tls\.spki_sha256 \(it is .{44}\): do not"):
            checked(secured, pins)
