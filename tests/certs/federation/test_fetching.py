"""Fetching over real TLS: what is sent, whom it believes, what it refuses, and that nothing makes it wait or grow."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from certs.bundle import Bundle
from certs.errors import BundleError, CertsError, EndpointRefused, FetchFailed, Reason
from certs.federation import fetching
from certs.federation.endpoint import Location, Profile
from certs.federation.fetching import Fetcher
from certs.spiffe_id import SpiffeId
from tests.certificates import TestAuthority, utc_now
from tests.certs.federation.rig import (
    DOMAIN,
    HOST,
    FakeEndpoint,
    answer,
    endpoint_at,
    fetcher,
    real_now,
    serving,
)

PARTNER = TestAuthority("partner.example")
BUNDLE = Bundle(trust_domain=DOMAIN, authorities=(PARTNER.root,), sequence=7, refresh_hint_s=60)
NETWORK = (ipaddress.ip_network("203.0.113.0/24"),)
SERVER = SpiffeId(DOMAIN, "/bundle-server")


async def refused(endpoint: FakeEndpoint, folder: Path, **changes: Any) -> CertsError:
    """Return what a fetch raises."""
    with pytest.raises(CertsError) as caught:
        await fetcher().fetch(endpoint_at(endpoint.port, folder, **changes))
    return caught.value


async def test_fetched(tmp_path: Path) -> None:
    """A bundle is fetched by one GET, without cookies, credentials or encodings, for the host of the URL."""
    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        assert await fetcher().fetch(endpoint_at(endpoint.port, tmp_path)) == BUNDLE
    (head,) = endpoint.heads
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "get /bundle.json http/1.1"
    assert f"host: {HOST}:{endpoint.port}" in lines
    sent = {line.partition(":")[0] for line in lines[1:] if line}
    assert sent == {"host", "user-agent", "accept", "accept-encoding", "connection"}


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(BUNDLE.to_jwks()), BUNDLE.to_jwks()),
        b"HTTP/1.0 200 OK\r\n\r\n" + BUNDLE.to_jwks(),  # to the end of the connection
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(BUNDLE.to_jwks()),
        answer(BUNDLE.to_jwks(), "200 OK", "Content-Encoding: identity"),
    ],
)
async def test_forms_of_answers(tmp_path: Path, octets: bytes) -> None:
    """However HTTP frames it, it is the same bundle."""
    async with serving(tmp_path, octets) as endpoint:
        assert await fetcher().fetch(endpoint_at(endpoint.port, tmp_path)) == BUNDLE


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirects(tmp_path: Path, status: str) -> None:
    """A redirect is not followed, not even to the same host."""
    async with serving(tmp_path) as endpoint:
        there = f"https://{HOST}:{endpoint.port}/other.json"
        endpoint.octets = answer(BUNDLE.to_jwks(), status, f"Location: {there}")
        error = await refused(endpoint, tmp_path)
    assert error.reason is Reason.HTTP
    assert "not followed" in str(error)
    assert endpoint.connections == 1


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (answer(BUNDLE.to_jwks(), "404 Not Found"), "404"),
        (answer(BUNDLE.to_jwks(), "206 Partial Content"), "206"),
        (answer(BUNDLE.to_jwks(), "200 OK", "Content-Encoding: gzip"), "encoded"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n", "more than 1048576"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Fill: " + b"x" * 40_000 + b"\r\n\r\n{}", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 8000 + b"\r\n{}", "not HTTP"),
        (b"HTTP/1.1 103 Early Hints\r\nX: %b\r\n\r\n" % (b"x" * 15_000) * 4 + answer(BUNDLE.to_jwks()), "frames"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + answer(BUNDLE.to_jwks()), "never comes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", "not HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not HTTP"),
        (b"", "ended"),
    ],
)
async def test_other_answers(tmp_path: Path, octets: bytes, words: str) -> None:
    """What is not 200, not whole, too large or not HTTP is refused, and the text says which."""
    async with serving(tmp_path, octets) as endpoint:
        error = await refused(endpoint, tmp_path)
    assert isinstance(error, FetchFailed)
    assert error.reason is Reason.HTTP
    assert words in str(error)


async def test_no_bundle(tmp_path: Path) -> None:
    """An answer that is no bundle is refused as that."""
    async with serving(tmp_path, answer(b"<html>log in</html>")) as endpoint:
        assert isinstance(await refused(endpoint, tmp_path), BundleError)


@pytest.mark.parametrize(
    ("chunk", "words"), [(b"1\r\nx\r\n" * 1000, "frames"), (b"2000\r\n%b\r\n" % (b"x" * 8192), "more than 1048576")]
)
async def test_endless_body(tmp_path: Path, chunk: bytes, words: str) -> None:
    """A body without end is left as soon as it is too large; one in frames of an octet long before that."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not reader.at_eof() and reader.exception() is None:
            writer.write(chunk)
            await asyncio.sleep(0)
            await writer.drain()

    async with serving(tmp_path, reply=pour) as endpoint:
        error = await refused(endpoint, tmp_path)
    assert error.reason is Reason.HTTP
    assert words in str(error)


async def test_slow_answer(tmp_path: Path) -> None:
    """An answer that comes octet by octet is left at the deadline."""
    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while not reader.at_eof():
                writer.write(b"X")
                await writer.drain()
                await asyncio.sleep(0.02)
        finally:
            left.set()

    async with serving(tmp_path, reply=drip) as endpoint:
        error = await refused(endpoint, tmp_path, timeout_s=0.5)
        assert "within 0.5 s" in str(error)
        async with asyncio.timeout(20):
            await left.wait()


async def test_silent_server(tmp_path: Path) -> None:
    """A port that takes connections and says nothing, not even of TLS, is left at the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (tmp_path / "web.pem").write_bytes(PARTNER.bundle_pem)
        endpoint = endpoint_at(listener.getsockname()[1], tmp_path, timeout_s=0.3)
        with pytest.raises(FetchFailed, match=r"within 0\.3 s"):
            await fetcher().fetch(endpoint)


async def test_slow_resolver(tmp_path: Path) -> None:
    """The time of the resolver counts too."""
    (tmp_path / "web.pem").write_bytes(PARTNER.bundle_pem)

    async def never(host: str, port: int) -> Sequence[str]:
        del host, port
        await asyncio.Event().wait()
        return ()

    with pytest.raises(FetchFailed, match=r"within 0\.2 s"):
        await Fetcher(lambda _: None, real_now, never).fetch(endpoint_at(1, tmp_path, timeout_s=0.2))


async def test_port_closed(tmp_path: Path) -> None:
    """Where nobody listens, the text says where that was."""
    (tmp_path / "web.pem").write_bytes(PARTNER.bundle_pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchFailed, match=f"127.0.0.1 port {port}"):
        await fetcher().fetch(endpoint_at(port, tmp_path))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"dns": ("other.partner.example",)}, "Hostname mismatch"),
        ({"dns": ()}, "Hostname mismatch"),
        ({"not_after": utc_now() - dt.timedelta(minutes=1)}, "expired"),
        ({"not_before": utc_now() + dt.timedelta(hours=1)}, "not yet valid"),
    ],
)
async def test_web_certificates(tmp_path: Path, plan: dict[str, Any], words: str) -> None:
    """A certificate for another name, or out of its time, is refused, and nothing is asked."""
    if "not_after" in plan:
        plan = {**plan, "not_before": utc_now() - dt.timedelta(hours=1)}
    if "not_before" in plan and "not_after" not in plan:
        plan = {**plan, "not_after": utc_now() + dt.timedelta(hours=2)}
    async with serving(tmp_path, answer(BUNDLE.to_jwks()), **plan) as endpoint:
        error = await refused(endpoint, tmp_path)
    assert error.reason is Reason.ENDPOINT_TLS
    assert words in str(error)
    assert endpoint.heads == []


async def test_web_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an unknown authority is refused; the environment cannot make that authority known."""
    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "web.pem"))
        error = await refused(endpoint, tmp_path, ca_file=None)
    assert error.reason is Reason.ENDPOINT_TLS
    assert endpoint.heads == []


async def test_old_tls(tmp_path: Path) -> None:
    """TLS 1.1 is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    web = TestAuthority("web.example")
    (tmp_path / "web.pem").write_bytes(web.bundle_pem)
    context.load_cert_chain(*web.svid("/web", uris=(), dns=(HOST,)).write(tmp_path, "old"))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        with pytest.raises(FetchFailed) as caught:
            await fetcher().fetch(endpoint_at(server.sockets[0].getsockname()[1], tmp_path))
    assert caught.value.reason is Reason.ENDPOINT_TLS


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "::1"])
async def test_inside_addresses(tmp_path: Path, address: str) -> None:
    """A name that leads inside is refused before anything is sent there."""
    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        with pytest.raises(EndpointRefused) as caught:
            await fetcher(addresses=[address]).fetch(endpoint_at(endpoint.port, tmp_path, networks=()))
    assert caught.value.reason is Reason.ADDRESS_REFUSED
    assert endpoint.connections == 0


async def test_rebinding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is harmless when it is judged and leads inside a moment later reaches nothing: it is asked once, and
    the connection goes to the address that was judged."""
    asked: list[str] = []
    connected: list[tuple[str, int]] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["203.0.113.7"] if len(asked) == 1 else ["127.0.0.1"]

    async def sock_connect(_: object, connection: socket.socket, where: tuple[str, int]) -> None:
        connected.append(where)
        raise ConnectionRefusedError(111, "Connection refused")

    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", sock_connect)
        parameters = endpoint_at(
            endpoint.port,
            tmp_path,
            networks=NETWORK,
        )
        with pytest.raises(FetchFailed):
            await Fetcher(lambda _: None, real_now, rebinding).fetch(parameters)
    assert asked == [HOST]
    assert connected == [("203.0.113.7", endpoint.port)]
    assert endpoint.connections == 0


async def test_mixed_addresses(tmp_path: Path) -> None:
    """Of several addresses those that are refused are passed over, and those that do not answer too."""
    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        mixed = ["10.0.0.1", "127.0.0.9", "127.0.0.1"]  # nobody listens at the second
        assert await fetcher(addresses=mixed).fetch(endpoint_at(endpoint.port, tmp_path)) == BUNDLE


async def test_address_that_swallows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where connecting hangs leaves time for the next one."""
    loop_type = type(asyncio.get_running_loop())
    connect = loop_type.sock_connect

    async def sock_connect(loop: Any, connection: socket.socket, where: tuple[str, int]) -> None:
        if where[0] == "127.0.0.9":
            await asyncio.Event().wait()
        await connect(loop, connection, where)

    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        monkeypatch.setattr(loop_type, "sock_connect", sock_connect)
        slow = fetcher(addresses=["127.0.0.9", "127.0.0.1"])
        assert await slow.fetch(endpoint_at(endpoint.port, tmp_path, timeout_s=3.0)) == BUNDLE


async def test_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is not used."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        assert await fetcher().fetch(endpoint_at(endpoint.port, tmp_path)) == BUNDLE


async def test_resolver() -> None:
    """The system's resolver gives addresses, and an unknown name is a failure that may pass."""
    assert "127.0.0.1" in await fetching.resolve("127.0.0.1", 443)
    with pytest.raises(FetchFailed, match="cannot be resolved"):
        await fetching.resolve("no-such-host.invalid", 443)


async def over_ipv6(folder: Path) -> None:
    """Fetch over IPv6, where there is such a loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return
    endpoint = FakeEndpoint(web=PARTNER, octets=answer(BUNDLE.to_jwks()))
    await endpoint.start(folder, PARTNER.svid("/web", uris=(), dns=(HOST,)), host="::1")
    (folder / "web.pem").write_bytes(PARTNER.bundle_pem)
    parameters = endpoint_at(endpoint.port, folder, networks=(ipaddress.ip_network("::1/128"),))
    assert await fetcher(addresses=["::1"]).fetch(parameters) == BUNDLE
    await endpoint.stop()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_loops(tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Under asyncio's loop and uvloop's, on which a node runs: a fetch, a name that does not fit, a silent server,
    IPv6, an SVID; nothing is left open."""

    async def go() -> None:
        async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
            assert await fetcher().fetch(endpoint_at(endpoint.port, tmp_path)) == BUNDLE
        async with serving(tmp_path, answer(BUNDLE.to_jwks()), dns=("other.example",)) as endpoint:
            assert (await refused(endpoint, tmp_path)).reason is Reason.ENDPOINT_TLS
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FetchFailed, match="within"):
            await fetcher().fetch(endpoint_at(silent.getsockname()[1], tmp_path, timeout_s=0.2))
        await over_ipv6(tmp_path)
        by_svid = await spiffe_endpoint(tmp_path, PARTNER)
        assert await fetcher(BUNDLE).fetch(by_spiffe(by_svid.port, tmp_path)) == BUNDLE
        await by_svid.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(go())


# https_spiffe


async def spiffe_endpoint(folder: Path, authority: TestAuthority, **plan: Any) -> FakeEndpoint:
    """Return a running endpoint with an SVID."""
    endpoint = FakeEndpoint(web=authority, octets=answer(BUNDLE.to_jwks()))
    await endpoint.start(folder, authority.svid("/bundle-server", **plan))
    return endpoint


def by_spiffe(port: int, folder: Path) -> Any:
    """Return the parameters of an endpoint by https_spiffe."""
    return endpoint_at(port, folder, profile=Profile.SPIFFE, server_id=SERVER, ca_file=None)


async def test_spiffe(tmp_path: Path) -> None:
    """An endpoint proves its SPIFFE ID by an SVID below the bundle that is held; its host name counts for nothing."""
    endpoint = await spiffe_endpoint(tmp_path, PARTNER)
    try:
        assert await fetcher(BUNDLE).fetch(by_spiffe(endpoint.port, tmp_path)) == BUNDLE
    finally:
        await endpoint.stop()


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"uris": ("spiffe://partner.example/other",)}, Reason.ENDPOINT_IDENTITY),
        ({"uris": ("spiffe://partner.example/bundle-server/x",)}, Reason.ENDPOINT_IDENTITY),
        ({"uris": ("spiffe://other.example/bundle-server",)}, Reason.ENDPOINT_IDENTITY),
        ({"uris": ("spiffe://partner.example/bundle-server", "https://x.example")}, Reason.ENDPOINT_IDENTITY),
        ({"uris": (), "dns": (HOST,)}, Reason.ENDPOINT_IDENTITY),
        ({"usages": frozenset({"digital_signature", "key_cert_sign"})}, Reason.ENDPOINT_IDENTITY),
    ],
)
async def test_spiffe_identities(tmp_path: Path, plan: dict[str, Any], reason: Reason) -> None:
    """Whoever is not exactly the configured SPIFFE ID is refused, and nothing is asked of it."""
    endpoint = await spiffe_endpoint(tmp_path, PARTNER, **plan)
    try:
        with pytest.raises(FetchFailed) as caught:
            await fetcher(BUNDLE).fetch(by_spiffe(endpoint.port, tmp_path))
    finally:
        await endpoint.stop()
    assert caught.value.reason is reason
    assert endpoint.heads == []


async def test_spiffe_other_authority(tmp_path: Path) -> None:
    """An SVID of the right ID by another authority is refused, of another domain's or of this one's past."""
    endpoint = await spiffe_endpoint(tmp_path, TestAuthority("partner.example"))
    try:
        with pytest.raises(FetchFailed) as caught:
            await fetcher(BUNDLE).fetch(by_spiffe(endpoint.port, tmp_path))
    finally:
        await endpoint.stop()
    assert caught.value.reason is Reason.ENDPOINT_TLS


@pytest.mark.parametrize("held", [None, Bundle(trust_domain=DOMAIN, authorities=())])
async def test_spiffe_without_a_bundle(tmp_path: Path, held: Bundle | None) -> None:
    """Without a bundle, or with an empty one, nobody can prove anything; the text says what to do."""
    with pytest.raises(FetchFailed, match="bootstrap_file") as caught:
        await fetcher(held).fetch(by_spiffe(1, tmp_path))
    assert caught.value.reason is Reason.ENDPOINT_IDENTITY


async def test_address_for_a_host(tmp_path: Path) -> None:
    """An address in the URL is judged as any other, and the certificate has to name it."""
    async with serving(tmp_path, answer(BUNDLE.to_jwks())) as endpoint:
        location = Location(host="127.0.0.1", port=endpoint.port, target="/")
        parameters = replace(endpoint_at(endpoint.port, tmp_path), location=location)
        by_system = Fetcher(lambda _: None, real_now)
        with pytest.raises(FetchFailed, match="IP address mismatch"):
            await by_system.fetch(parameters)
        with pytest.raises(EndpointRefused, match="loopback"):
            await by_system.fetch(replace(parameters, networks=()))
