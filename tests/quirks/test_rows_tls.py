"""Row 32: who a carrier has to be before it is told a password, over real TLS, and what is said when it is not."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from carrier.contract import LinkState
from carrier.profile import CarrierTls
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from carrier.tls import spki_sha256
from tests.carrier.certificates import Pair, issue, make_ca
from tests.carrier.driver import profile_of, running
from tests.quirks.linked import CertificateFiles, linked, server_context
from tests.quirks.way import Files

BACKOFF = LinkState.BACKOFF


def context_of(pair: Pair, *, most: ssl.TLSVersion | None = None, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return a carrier's context with this certificate."""
    return server_context(pair.certificate_file, pair.key_file, most=most, client_ca=client_ca)


def pin_of(pair: Pair) -> bytes:
    """Return the pin of a certificate's key."""
    return spki_sha256(pair.certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            "expired",
            "has expired (expected name: localhost): ask the carrier to renew it, or check this machine's clock",
        ),
        ("not_yet", "is not valid yet (expected name: localhost): check this machine's clock, then ask the carrier"),
        (
            "self_signed",
            "is self-signed and not trusted (expected name: localhost): set tls.ca_file to the carrier's CA",
        ),
        ("wrong_host", "names another host (expected name: localhost): set host or tls.server_name to a name in"),
    ],
)
async def test_a_wrong_certificate(files: Files, certificates: CertificateFiles, kind: str, says: str) -> None:
    """Row 32: what is wrong is said with what to do; nothing is sent. The right certificate is bound to."""
    tls = CarrierTls(ca_file=certificates.ca.certificate_file)
    async with linked(files, context=context_of(getattr(certificates, kind)), wait=False, tls=tls) as wire:
        await wire.until(lambda: wire.link.state is BACKOFF)
        assert f"the certificate of localhost:{wire.simulator.port} {says}" in wire.why()[-1]
        assert wire.simulator.stats()["binds"] == 0
    async with linked(files, context=context_of(certificates.right), tls=tls):
        pass


async def test_an_authority_that_is_not_named(files: Files, certificates: CertificateFiles) -> None:
    """Row 32: a certificate of another authority is refused, and taken when the profile names that authority."""
    async with linked(files, context=context_of(certificates.right), wait=False) as wire:
        await wire.until(lambda: wire.link.state is BACKOFF)
        assert "set tls.ca_file to the carrier's CA, verified with the carrier" in wire.why()[-1]
        assert wire.simulator.stats()["binds"] == 0


@pytest.mark.parametrize(
    ("most", "tls_1_2", "says"),
    [
        (ssl.TLSVersion.TLSv1_1, True, "if it offers only TLS older than 1.2, ask the carrier for TLS 1.2 or later"),
        (ssl.TLSVersion.TLSv1_1, False, 'set tls.min_version to "1.2", or ask it for TLS 1.2 or later'),
        (ssl.TLSVersion.TLSv1_2, False, 'if it has only TLS older than 1.3, set tls.min_version to "1.2"'),
        (ssl.TLSVersion.TLSv1_2, True, ""),
        (ssl.TLSVersion.TLSv1_3, False, ""),
    ],
)
async def test_versions(
    files: Files, certificates: CertificateFiles, most: ssl.TLSVersion, tls_1_2: bool, says: str
) -> None:
    """Row 32: TLS 1.3 unless the profile takes 1.2, and never anything older; the refusal names the setting, though
    this carrier hangs up without an alert (tests/interop has those that send one)."""
    tls = CarrierTls(ca_file=certificates.ca.certificate_file, tls_1_2=tls_1_2)
    context = context_of(certificates.right, most=most)
    async with linked(files, context=context, wait=not says, tls=tls) as wire:
        if says:
            await wire.until(lambda: wire.link.state is BACKOFF)
            assert says in wire.why()[-1]
        assert wire.simulator.stats()["binds"] == int(not says)


async def test_pins(files: Files, certificates: CertificateFiles) -> None:
    """Row 32: a carrier with a sound certificate whose key is not pinned gets no bind; one of several pins is enough;
    without pins it is bound to."""
    ca_file = certificates.ca.certificate_file
    foreign, own = pin_of(certificates.expired), pin_of(certificates.right)
    unpinned = CarrierTls(ca_file=ca_file, spki_sha256=(foreign,))
    async with linked(files, context=context_of(certificates.right), wait=False, tls=unpinned) as wire:
        await wire.until(lambda: wire.link.state is BACKOFF)
        assert (
            f"the key of localhost:{wire.simulator.port} is not one of those pinned in tls.spki_sha256"
            in wire.why()[-1]
        )
        assert wire.simulator.stats()["binds"] == 0
    for pins in ((foreign, own), ()):
        tls = CarrierTls(ca_file=ca_file, spki_sha256=pins)
        async with linked(files, context=context_of(certificates.right), tls=tls):
            pass


async def test_a_pin_replaces_nothing(files: Files, certificates: CertificateFiles) -> None:
    """Row 32: the right key in an expired certificate is refused all the same."""
    tls = CarrierTls(ca_file=certificates.ca.certificate_file, spki_sha256=(pin_of(certificates.expired),))
    async with linked(files, context=context_of(certificates.expired), wait=False, tls=tls) as wire:
        await wire.until(lambda: wire.link.state is BACKOFF)
        assert "has expired" in wire.why()[-1]


async def test_a_client_certificate_that_is_exchanged(
    files: Files, certificates: CertificateFiles, tmp_path: Path
) -> None:
    """Row 32: a carrier that requires our certificate refuses a foreign one; when its files are replaced, the link is
    bound at a later attempt, without a restart."""
    foreign = issue(tmp_path, "foreign", ca=make_ca(tmp_path, "other"), purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    certificate, key = tmp_path / "ours.pem", tmp_path / "ours.key"
    shutil.copy(foreign.certificate_file, certificate)
    shutil.copy(foreign.key_file, key)
    tls = CarrierTls(ca_file=certificates.ca.certificate_file, certificate_file=certificate, key_file=key)
    context = context_of(certificates.right, client_ca=certificates.ca.certificate_file)
    async with linked(files, context=context, wait=False, tls=tls) as wire:
        await wire.until(lambda: wire.link.state is BACKOFF)
        assert wire.simulator.stats()["binds"] == 0
        shutil.copy(certificates.client.key_file, key)  # a moment in which they do not fit is survived too
        shutil.copy(certificates.client.certificate_file, certificate)
        await wire.bound()


async def test_plain_text_is_shown() -> None:
    """Row 32: without TLS, which only `insecure: true` gives, each state and the stats say that it is plain text."""
    simulator = Simulator(parse_script(""), plain=True)
    await simulator.start()
    try:
        async with running(profile_of(simulator.port)) as (link, driver):
            assert "plain text (insecure: true)" in await driver.until_state(LinkState.CONNECTING)
            assert await driver.until_state(LinkState.BOUND) == "bound, in plain text (insecure: true)"
            assert not link.stats().binds[0].secured
    finally:
        await simulator.stop()


async def test_a_secured_link_is_shown_as_such(files: Files) -> None:
    """Row 32: with TLS nothing speaks of plain text."""
    async with linked(files) as wire:
        assert wire.link.stats().binds[0].secured
        assert not any("plain text" in why for why in wire.why())
