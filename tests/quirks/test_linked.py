"""The tests' own wire: both ends meet over TLS, and each wrong certificate is wrong."""

from __future__ import annotations

import ssl

import pytest

from carrier.contract import LinkState
from carrier.profile import CarrierTls
from tests.quirks.linked import CertificateFiles, linked, server_context
from tests.quirks.way import Files


async def test_two_binds_meet_the_carrier(files: Files) -> None:
    """What one end sends, the other has, answered and with receipts."""
    async with linked(files, "message_ids: hex", binds=2) as wire:
        wire.submit(3)
        wire.submit(2, link=wire.links[1])
        await wire.until(lambda: len(wire.driver.results) == 5 and len(wire.driver.deliveries) == 5)
        assert {received.connection for received in wire.simulator.received} == {"#1", "#2"}
        assert set(wire.driver.outcomes().values()) == {"ANSWERED"}


@pytest.mark.parametrize("kind", ["expired", "not_yet", "self_signed", "wrong_host"])
async def test_wrong_certificates_are_refused(files: Files, certificates: CertificateFiles, kind: str) -> None:
    """The link backs off and says so; the right one, of the same authority, is taken."""
    tls = CarrierTls(ca_file=certificates.ca.certificate_file)
    pair = getattr(certificates, kind)
    context = server_context(pair.certificate_file, pair.key_file)
    async with linked(files, context=context, wait=False, tls=tls) as wire:
        await wire.until(lambda: wire.link.state is LinkState.BACKOFF)
        assert "the certificate of localhost" in wire.why()[-1]
        assert wire.simulator.stats()["binds"] == 0
    right = server_context(certificates.right.certificate_file, certificates.right.key_file)
    async with linked(files, context=right, tls=tls):
        pass


async def test_an_old_tls_version_is_refused(files: Files) -> None:
    """TLS 1.1 is all that this carrier has; one that goes to 1.2 is bound to, where the profile takes 1.2."""
    old = server_context(files.certificate, files.key, most=ssl.TLSVersion.TLSv1_1)
    async with linked(files, context=old, wait=False) as wire:
        await wire.until(lambda: wire.link.state is LinkState.BACKOFF)
        assert wire.simulator.stats()["binds"] == 0
    newer = server_context(files.certificate, files.key, most=ssl.TLSVersion.TLSv1_2)
    async with linked(files, context=newer, tls=CarrierTls(ca_file=files.ca, tls_1_2=True)):
        pass
