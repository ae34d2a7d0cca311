"""Where identities come from: a Workload API, files, and what the environment names."""

from __future__ import annotations

import asyncio
import datetime as dt
import stat
from pathlib import Path

import grpc
import pytest

from smsgw.client import AsyncClient, IdentityFiles, IdentityUnusable, Sent, WorkloadIdentity, default_source
from tests.certificates import TestAuthority, utc_now
from tests.certs.workload.spire import Spire, identity, response, serving
from tests.client.callers import SERVER_ID, Workload, otp
from tests.gateway.api.rig import AUTHORITY, Rig

PATH = "/payments/api"


def state(authority: TestAuthority = AUTHORITY) -> bytes:
    """Return a message of a Workload API with a new SVID."""
    return response(identity(authority, authority.svid(PATH), PATH))


async def test_a_workload_api(rig: Rig, tmp_path: Path) -> None:
    """The client takes its SVID from a Workload API, goes over to each new one, and outlives the agent."""
    spire = Spire(state())
    async with serving(spire, tmp_path / "api.sock") as socket:
        source = WorkloadIdentity(socket)
        async with AsyncClient(f"127.0.0.1:{rig.port}", server_id=SERVER_ID, identity=source) as sms:
            assert isinstance(await sms.send(otp()), Sent)
            for count in (1, 2):
                spire.say(state())
                async with asyncio.timeout(20):
                    while sms.rotations < count:
                        await asyncio.sleep(0.01)
                assert isinstance(await sms.send(otp()), Sent)
            spire.refuse(grpc.StatusCode.UNAVAILABLE)
            assert isinstance(await sms.send(otp()), Sent)


async def test_a_workload_that_is_not_registered(tmp_path: Path) -> None:
    """An agent that has no identity for this process is told of, with what to do."""
    spire = Spire(refusal=(grpc.StatusCode.PERMISSION_DENIED, "no identity issued"))
    async with serving(spire, tmp_path / "api.sock") as socket:
        source = WorkloadIdentity(socket, timeout_s=0.5)
        with pytest.raises(IdentityUnusable, match="is the workload registered"):
            async with AsyncClient("127.0.0.1:1", server_id=SERVER_ID, identity=source):
                pass


async def test_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workload: Workload) -> None:
    """The Workload API comes first, then files, all three of them; nothing is told with what to set."""
    for name in ("SPIFFE_ENDPOINT_SOCKET", "SMSGW_SVID_FILE", "SMSGW_SVID_KEY_FILE", "SMSGW_BUNDLE_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(IdentityUnusable, match=r"SPIFFE_ENDPOINT_SOCKET.*SMSGW_SVID_FILE"):
        default_source()
    monkeypatch.setenv("SMSGW_SVID_FILE", str(workload.folder / "svid.pem"))
    with pytest.raises(IdentityUnusable, match="set SMSGW_SVID_KEY_FILE and SMSGW_BUNDLE_FILE too"):
        default_source()
    monkeypatch.setenv("SMSGW_SVID_KEY_FILE", str(workload.folder / "svid.key"))
    monkeypatch.setenv("SMSGW_BUNDLE_FILE", str(workload.bundle_file))
    assert isinstance(default_source(), IdentityFiles)
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", "unix:///nowhere")
    assert isinstance(default_source(), WorkloadIdentity)
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", "nonsense")
    with pytest.raises(IdentityUnusable, match="no address of a Workload API"):
        default_source().open(lambda: None)


def test_a_key_that_others_may_read(workload: Workload) -> None:
    """A key file with rights for others is refused, and the text says how to mend it."""
    key = (workload.folder / "svid.key").resolve()
    key.chmod(0o644)
    with pytest.raises(IdentityUnusable, match="chmod 600"):
        workload.files().open(lambda: None)
    assert stat.S_IMODE(key.stat().st_mode) == 0o644


async def test_an_identity_that_nobody_renewed(rig: Rig, workload: Workload) -> None:
    """An SVID that ended while a client runs is told as such, before anything is connected; a new one mends it."""
    source = workload.files()
    async with AsyncClient(f"127.0.0.1:{rig.port}", server_id=SERVER_ID, identity=source) as sms:
        workload.rotate(not_before=utc_now() - dt.timedelta(hours=2), not_after=utc_now() - dt.timedelta(hours=1))
        async with asyncio.timeout(20):
            while source.current().svid.expires_at > utc_now():
                await asyncio.sleep(0.01)
        with pytest.raises(IdentityUnusable, match="does what renews it still run"):
            await sms.send(otp(), timeout_s=5)
        workload.rotate()
        async with asyncio.timeout(20):
            while source.current().svid.expires_at < utc_now():
                await asyncio.sleep(0.01)
        assert isinstance(await sms.send(otp()), Sent)


def test_a_server_of_an_unknown_trust_domain(workload: Workload) -> None:
    """Without the bundle of the server's trust domain the client does not even begin."""
    with (
        pytest.raises(IdentityUnusable, match=r"no bundle of other\.org"),
        workload.client(1, server_id="spiffe://other.org/gateway"),
    ):
        pass
