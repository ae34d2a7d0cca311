"""What the commands call a node by: the server that client.yaml means, and errors that are told as the package's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gateway.client import IdentityUnusable, ServerNotVerified, connect, explained, server_of, watch
from gateway.config.client_file import ClientSettings
from gateway.config.kinds import Address
from smsgw.client.errors import Unavailable
from smsgw.v1 import message_service_pb2 as api
from tests.client.callers import SERVER_ID, Workload
from tests.gateway.api.rig import running_rig


def settings_of(workload: Workload, port: int, **changes: object) -> ClientSettings:
    """Return the settings of a client.yaml for this workload."""
    settings = ClientSettings(
        target=Address("127.0.0.1", port),
        server_name="localhost",
        server_id=SERVER_ID,
        workload_api=None,
        spiffe_id=None,
        svid_file=workload.folder / "svid.pem",
        svid_key_file=workload.folder / "svid.key",
        bundle_file=workload.bundle_file,
        admin=None,
        ca=None,
    )
    return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]  # fields by name


async def test_both_names_are_verified(tmp_path: Path) -> None:
    """The SPIFFE ID counts where client.yaml names one, and the DNS name always."""
    workload = Workload(tmp_path / "workload")
    async with running_rig(tmp_path / "node") as rig:
        for server_id in (SERVER_ID, None):
            async with connect(settings_of(workload, rig.port, server_id=server_id)) as stub:
                with explained(settings_of(workload, rig.port)):
                    assert not (await stub.ListMessages(api.ListMessagesRequest(), timeout=10)).messages
        for changes, text in (
            ({"server_id": f"{SERVER_ID}/x"}, "gateway answers"),
            ({"server_name": "other.example"}, "another DNS name"),
        ):
            settings = settings_of(workload, rig.port, **changes)
            async with connect(settings) as stub:
                with pytest.raises(ServerNotVerified, match=text), explained(settings):
                    await stub.ListMessages(api.ListMessagesRequest(), timeout=10)


async def test_a_watch_that_cannot_begin(tmp_path: Path) -> None:
    """A watch fails at once when no node is there; it waits for one only after it has had one."""
    settings = settings_of(Workload(tmp_path / "workload"), 1)
    assert server_of(settings).target == "127.0.0.1:1"
    with pytest.raises(Unavailable, match="no node listens"):
        await anext(watch(settings, api.WatchEventsRequest()))


async def test_missing_files_are_named(tmp_path: Path) -> None:
    """An identity that is not there is told before any connection."""
    workload = Workload(tmp_path / "workload")
    (workload.folder / "svid.key").unlink()
    with pytest.raises(IdentityUnusable, match=r"svid\.(pem|key)"):
        async with connect(settings_of(workload, 1)):
            pass
