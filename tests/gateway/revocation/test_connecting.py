"""Whoever is not the publisher gets no octet of a node that follows it, and the node learns why."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from certs.bundle import Bundle, TrustBundles
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from certs.tls import FixedSvid
from gateway.revocation.connecting import Connector
from smsgw.client.errors import IdentityUnusable, ServerNotVerified
from smsgw.client.server import Server
from smsgw.v1 import revocation_service_pb2 as pb
from tests.certificates import TestAuthority
from tests.client.rogues import GATEWAY, ROGUES, rogue
from tests.gateway.api.rig import AUTHORITY

PUBLISHER = "spiffe://example.org/gateway"


def connector(port: int, *authorities: TestAuthority) -> Connector:
    """Return the way to a publisher on this port; `authorities` of those trust domains are trusted."""
    svid = AUTHORITY.svid("/gateway-2")
    bundles = [Bundle.parse(TrustDomain(each.trust_domain), each.bundle_pem) for each in authorities]
    own = FixedSvid(X509Svid.from_pem(svid.presented_pem, svid.key_pem))
    return Connector(Server.parse(f"127.0.0.1:{port}", PUBLISHER), own, TrustBundles(bundles))


@pytest.mark.parametrize("name", ROGUES)
async def test_no_octet_reaches_another(name: str, tmp_path: Path) -> None:
    """A server of the right trust domain that is not the publisher gets a handshake at most."""
    path, mutations, text = ROGUES[name]
    async with rogue(tmp_path, AUTHORITY.svid(path, **mutations), AUTHORITY.bundle_pem) as other:
        with pytest.raises(ServerNotVerified, match=text):
            async with connector(other.port, AUTHORITY)():
                pass
        assert bytes(other.octets) == b""


async def test_another_domains_authority_is_not_believed(tmp_path: Path) -> None:
    """An authority of another trust domain that is trusted here cannot make the publisher's certificate."""
    other = TestAuthority("other.org")
    async with rogue(tmp_path, other.svid(GATEWAY, uris=(PUBLISHER,)), AUTHORITY.bundle_pem) as forged:
        with pytest.raises(ServerNotVerified, match="could not prove who it is"):
            async with connector(forged.port, AUTHORITY, other)():
                pass
        assert bytes(forged.octets) == b""


async def test_the_publisher_is_spoken_to(tmp_path: Path) -> None:
    """The same server with the publisher's identity is spoken to: the tests above can fail."""
    async with rogue(tmp_path, AUTHORITY.svid(GATEWAY), AUTHORITY.bundle_pem) as right:

        async def connect() -> None:
            async with connector(right.port, AUTHORITY)() as stub:  # which it never is: it says nothing
                await stub.GetDenyList(pb.GetDenyListRequest())

        connecting = asyncio.create_task(connect())
        async with asyncio.timeout(10):
            while not right.octets:
                await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert right.octets.startswith(b"PRI * HTTP/2.0")


async def test_who_cannot_be_reached(tmp_path: Path) -> None:
    """Nobody there, nothing but HTTP/1, a publisher that does not trust us, and no bundle: each is told as such, and
    leaves no thread."""
    with pytest.raises(ConnectionRefusedError):
        async with connector(1, AUTHORITY)():
            pass
    async with rogue(tmp_path, AUTHORITY.svid(GATEWAY), AUTHORITY.bundle_pem, alpn=("http/1.1",)) as old:
        with pytest.raises(ServerNotVerified, match="HTTP/2"):
            async with connector(old.port, AUTHORITY)():
                pass
    stranger = TestAuthority("other.org")
    async with rogue(tmp_path, AUTHORITY.svid(GATEWAY), stranger.bundle_pem) as wary:
        with pytest.raises(OSError):  # noqa: PT011 -- an alert, or a reset where that was faster
            async with connector(wary.port, AUTHORITY)():
                pass
    with pytest.raises(IdentityUnusable, match=r"no bundle of example\.org"):
        async with connector(1, stranger)():
            pass
    assert not [each for each in threading.enumerate() if each.name == "smsgw-client"]
