"""The server is verified on the very connection, before a byte of a call leaves; nobody else uses our socket."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from smsgw.client import IdentityUnusable, ServerNotVerified, SmsgwError, Unavailable
from smsgw.client.server import Server
from smsgw.client.tunnel import Tunnel
from tests.certificates import TestAuthority
from tests.client.callers import SERVER_ID, Workload, otp
from tests.client.rogues import GATEWAY, ROGUES, rogue
from tests.gateway.api.rig import AUTHORITY, Rig


@pytest.mark.parametrize("name", ROGUES)
async def test_no_byte_reaches_another_server(name: str, tmp_path: Path, workload: Workload) -> None:
    """A server of the right trust domain that is not the gateway gets a handshake at most, and nothing of the call."""
    path, mutations, text = ROGUES[name]
    async with rogue(tmp_path, AUTHORITY.svid(path, **mutations), AUTHORITY.bundle_pem) as other:
        async with workload.async_client(other.port) as sms:
            with pytest.raises(ServerNotVerified, match=text):
                await sms.send(otp(), timeout_s=2)
        assert bytes(other.octets) == b""


async def test_the_right_server_gets_the_call(tmp_path: Path, workload: Workload) -> None:
    """The same server with the gateway's identity is spoken to: the tests above can fail."""
    async with rogue(tmp_path, AUTHORITY.svid(GATEWAY), AUTHORITY.bundle_pem) as right:
        async with workload.async_client(right.port) as sms:
            with pytest.raises(Exception, match="time"):
                await sms.send(otp(), timeout_s=1)
        async with asyncio.timeout(10):
            await right.seen.wait()
        assert right.octets.startswith(b"PRI * HTTP/2.0")


async def test_another_domains_authority_is_not_believed(tmp_path: Path, workload: Workload) -> None:
    """An authority of a federated trust domain cannot make the gateway's certificate."""
    other = TestAuthority("other.org")
    bundle = tmp_path / "other.pem"
    bundle.write_bytes(other.bundle_pem)
    forged = other.svid(GATEWAY, uris=(SERVER_ID,))
    workload.federated = {"other.org": bundle}
    async with rogue(tmp_path, forged, AUTHORITY.bundle_pem) as server:
        async with workload.async_client(server.port) as sms:
            with pytest.raises(ServerNotVerified, match="could not prove who it is"):
                await sms.send(otp(), timeout_s=2)
        assert bytes(server.octets) == b""


async def test_a_federated_gateway(tmp_path: Path, workload: Workload) -> None:
    """A gateway of another trust domain is verified by the bundle of that one."""
    other = TestAuthority("other.org")
    bundle = tmp_path / "other.pem"
    bundle.write_bytes(other.bundle_pem)
    workload.federated = {"other.org": bundle}
    async with rogue(tmp_path, other.svid(GATEWAY), AUTHORITY.bundle_pem) as server:
        async with workload.async_client(server.port, server_id="spiffe://other.org/gateway") as sms:
            with pytest.raises(Exception, match="time"):
                await sms.send(otp(), timeout_s=1)
        async with asyncio.timeout(10):
            await server.seen.wait()
        assert server.octets.startswith(b"PRI * HTTP/2.0")


async def test_a_server_without_http2(tmp_path: Path, workload: Workload) -> None:
    """What does not agree on HTTP/2 is no gateway."""
    async with rogue(tmp_path, AUTHORITY.svid(GATEWAY), AUTHORITY.bundle_pem, alpn=("http/1.1",)) as server:
        async with workload.async_client(server.port) as sms:
            with pytest.raises(ServerNotVerified, match="HTTP/2"):
                await sms.send(otp(), timeout_s=2)
        assert bytes(server.octets) == b""


async def test_the_socket_is_ours_alone(rig: Rig, workload: Workload) -> None:
    """Another process of the same user that finds the socket is closed at once; the directory is closed to others."""
    async with workload.async_client(rig.port) as sms:
        await sms.send(otp())
        tunnel = sms._channels.link._tunnel  # what is private to the client is the subject
        assert isinstance(tunnel, Tunnel)
        path = Path(tunnel.target.removeprefix("unix:"))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]);\n"
            "try: print(len(s.recv(10)))\nexcept ConnectionError: print(0)"
        )
        command = [sys.executable, "-c", program, str(path)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=True)
        assert done.stdout.strip() == "0"
        await sms.send(otp())
    assert not path.parent.exists()


async def test_where_the_socket_can_be(
    rig: Rig, workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary directory with too long a path, or not to be written, is passed over; without any it is told."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    for place in (str(long), "/proc/nowhere"):
        monkeypatch.setattr(tempfile, "tempdir", place)
        async with workload.async_client(rig.port) as sms:
            await sms.send(otp())
            assert sms._channels.link.target.startswith("unix:/dev/shm/smsgw-")
    assert list(long.iterdir()) == []
    monkeypatch.setattr("smsgw.client.tunnel._LAST_RESORT", "/proc/nowhere")
    with pytest.raises(SmsgwError, match="set TMPDIR"):
        async with workload.async_client(rig.port):
            pass


async def test_who_is_not_there(workload: Workload) -> None:
    """An address at which nobody listens is named; the retries end with the time given."""
    async with workload.async_client(1) as sms:
        with pytest.raises(Unavailable, match="no node listens at 127"):
            await sms.send(otp(), timeout_s=0.5)


async def test_a_node_that_does_not_trust_us(rig: Rig, tmp_path: Path) -> None:
    """A node that refuses our certificate in the handshake is told of as such."""
    stranger = Workload(tmp_path / "stranger", authority=TestAuthority("example.org"))
    stranger.bundle_file.write_bytes(AUTHORITY.bundle_pem)
    async with stranger.async_client(rig.port) as sms:
        with pytest.raises(Unavailable, match="does not trust the authority of this certificate"):
            await sms.send(otp(), timeout_s=1)


class _Refusing:
    """A trust with which no connection can be made."""

    def context(self) -> ssl.SSLContext:
        """There is no identity."""
        raise IdentityUnusable("no identity")

    def verify(self, presented_pem: list[bytes], now: dt.datetime) -> None:
        """Nobody gets so far."""


@pytest.mark.parametrize("wait_s", [0.0, 0.0002, 0.0005, 0.001, 0.002])
def test_an_end_at_any_moment_leaves_nothing_open(wait_s: float) -> None:
    """Connections that come while the tunnel is closed, accepted or not, are closed with it, on both sides."""
    before = set(Path("/proc/self/fd").iterdir())
    server = Server.parse("127.0.0.1:1", SERVER_ID)
    for _ in range(20):
        tunnel = Tunnel(server, _Refusing())
        path = tunnel.target.removeprefix("unix:")
        callers = [socket.socket(socket.AF_UNIX) for _ in range(5)]
        for caller in callers:
            caller.settimeout(10)
            caller.connect(path)
        time.sleep(wait_s)
        tunnel.close()
        for caller in callers:
            with contextlib.suppress(ConnectionResetError):
                assert caller.recv(1) == b""
            caller.close()
    assert set(Path("/proc/self/fd").iterdir()) <= before
