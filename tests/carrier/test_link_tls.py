"""The link over TLS: what it verifies, and how it says what is wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from cryptography.x509.oid import ExtendedKeyUsageOID

from carrier.contract import LinkState
from carrier.profile import CarrierTls
from tests.carrier.certificates import DAY, Pair, issue, make_ca
from tests.carrier.driver import batch, profile_of, running
from tests.carrier.smsc import BIND, SUBMIT, UNBIND, listening, pdu

BOUND, BACKOFF = LinkState.BOUND, LinkState.BACKOFF


def server_context(pair: Pair, *, client_ca: Pair | None = None) -> ssl.SSLContext:
    """Return the carrier's context; with `client_ca` it demands a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate_file, pair.key_file)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca.certificate_file)
    return context


@pytest.fixture(name="ca", scope="module")
def _ca(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A carrier's CA."""
    return make_ca(tmp_path_factory.mktemp("ca"))


async def serve_over_tls(folder: Path, ca: Pair, version: ssl.TLSVersion) -> None:
    """Bind, submit and stop over mutual TLS of one version."""
    context = server_context(issue(folder, "smsc", ca=ca), client_ca=ca)
    context.minimum_version = context.maximum_version = version
    client = issue(folder, "client", ca=ca, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    tls = CarrierTls(
        ca_file=ca.certificate_file, server_name="smsc.example",
        certificate_file=client.certificate_file, key_file=client.key_file, tls_1_2=True,
    )  # fmt: skip
    async with listening(context) as smsc, running(profile_of(smsc.port, tls=tls)) as (link, driver):
        await driver.until_state(BOUND)
        for first in range(0, 400, 8):
            link.submit(batch(8, first=first))
            await driver.until(lambda count=first + 8: len(driver.results) == count)  # type: ignore[misc]
        await link.stop(1)
        assert (smsc.count(SUBMIT), smsc.count(UNBIND)) == (400, 1)
        assert set(driver.outcomes().values()) == {"ANSWERED"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_over_verified_tls(
    tmp_path: Path,
    ca: Pair,
    version: ssl.TLSVersion,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """The link works over mutual TLS 1.2 and 1.3, under asyncio's loop and uvloop's."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve_over_tls(tmp_path, ca, version))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"host": "other.example"}, "names another host (expected name: smsc.example): set host or tls.server_name"),
        ({"ends": -DAY / 2}, "has expired (expected name: smsc.example): ask the carrier to renew it"),
        ({"starts": DAY / 2}, "is not valid yet (expected name: smsc.example): check this machine's clock"),
        ({"ca": None}, "is self-signed and not trusted (expected name: smsc.example): set tls.ca_file"),
        ({"purpose": ExtendedKeyUsageOID.CLIENT_AUTH}, "is not meant for a server"),
    ],
)
async def test_a_wrong_certificate_is_refused(tmp_path: Path, ca: Pair, wrong: dict[str, object], says: str) -> None:
    """Each way in which a carrier's certificate can be wrong is refused before the password, with what to do."""
    settings: dict[str, object] = {"ca": ca} | wrong
    pair = issue(tmp_path, "smsc", **settings)  # type: ignore[arg-type]  # the table names the right ones
    tls = CarrierTls(ca_file=ca.certificate_file, server_name="smsc.example")
    async with listening(server_context(pair)) as smsc, running(profile_of(smsc.port, tls=tls)) as (_, driver):
        why = await driver.until_state(BACKOFF)
        assert f"the certificate of 127.0.0.1:{smsc.port} {says}" in why
        assert smsc.log == []


async def test_an_unknown_ca_is_refused(tmp_path: Path, ca: Pair) -> None:
    """A certificate of a CA that the profile does not name is refused, though the CA has the same name."""
    pair = issue(tmp_path, "smsc", ca=make_ca(tmp_path))
    tls = CarrierTls(ca_file=ca.certificate_file, server_name="smsc.example")
    async with listening(server_context(pair)) as smsc, running(profile_of(smsc.port, tls=tls)) as (_, driver):
        assert "set tls.ca_file to the carrier's CA" in await driver.until_state(BACKOFF)
        assert smsc.log == []


async def test_the_host_is_the_expected_name(tmp_path: Path, ca: Pair) -> None:
    """Without tls.server_name the address itself has to be in the certificate."""
    pair = issue(tmp_path, "smsc", ca=ca)
    tls = CarrierTls(ca_file=ca.certificate_file)
    async with listening(server_context(pair)) as smsc, running(profile_of(smsc.port, tls=tls)) as (_, driver):
        assert "names another address (expected name: 127.0.0.1)" in await driver.until_state(BACKOFF)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_missing_client_certificate_is_explained(tmp_path: Path, ca: Pair, version: ssl.TLSVersion) -> None:
    """A carrier that wants a client certificate: the reason names the keys to set, whether it sends an alert or hangs
    up (as asyncio's servers do)."""
    context = server_context(issue(tmp_path, "smsc", ca=ca), client_ca=ca)
    context.minimum_version = context.maximum_version = version
    tls = CarrierTls(ca_file=ca.certificate_file, server_name="smsc.example", tls_1_2=True)
    async with listening(context) as smsc, running(profile_of(smsc.port, tls=tls)) as (_, driver):
        assert "set tls.certificate_file and tls.key_file" in await driver.until_state(BACKOFF)
        assert smsc.count(BIND) == 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        refusing = asyncio.create_task(asyncio.to_thread(handshake_with_alerts, listener, context))
        profile = profile_of(listener.getsockname()[1], tls=tls, reconnect_min_s=50, reconnect_max_s=60)
        async with running(profile) as (_, driver):
            why = await driver.until_state(BACKOFF)
            assert "set tls.certificate_file and tls.key_file" in why
        assert "CERTIFICATE" in await refusing


def handshake_with_alerts(listener: socket.socket, context: ssl.SSLContext) -> str:
    """Take one connection with OpenSSL's own server, which sends its alerts, and return why it refused."""
    accepted, _ = listener.accept()
    accepted.settimeout(5)
    with context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as secured:
        try:
            secured.do_handshake()
        except ssl.SSLError as error:
            secured.shutdown(socket.SHUT_WR)
            while secured.recv(4096):
                pass  # until the other end has read the alert and closed: a reset would overtake it
            return error.reason or ""
    return ""


async def test_a_plain_carrier_is_refused() -> None:
    """A carrier that speaks no TLS gets no octet of SMPP, and the reason names the port."""
    async with listening() as smsc:
        smsc.greeting = pdu(0x15, 1)
        async with running(profile_of(smsc.port, tls=CarrierTls())) as (_, driver):
            why = await driver.until_state(BACKOFF)
            assert f"127.0.0.1:{smsc.port} does not speak TLS on this port: ask the carrier for its TLS port" in why
            assert smsc.count(BIND) == 0


async def test_a_broken_ca_file_is_refused(tmp_path: Path) -> None:
    """A CA file that cannot be used keeps the link from connecting, and says which."""
    tls = CarrierTls(ca_file=tmp_path / "none.pem")
    async with listening() as smsc, running(profile_of(smsc.port, tls=tls)) as (_, driver):
        assert "none.pem: No such file" in await driver.until_state(BACKOFF)
        assert smsc.peers == []
