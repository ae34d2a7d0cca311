"""Two nodes over real TLS: the push arrives, streams are cut, a cut-off node refuses and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.audit.codec import decode, split
from gateway.audit.records import ConfigLoaded, Record, RevocationChanged
from gateway.node import Node
from gateway.revocation.files import ListFiles
from gateway.revocation.keys import new_key_pair
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub
from tests.appliance import OPERATOR, TRUST_DOMAIN
from tests.gateway.api.refusals import from_error
from tests.gateway.revocation import site as sites
from tests.gateway.revocation.site import CALLER, NODE_2, TIMEOUT_S, Site

REVOKED = (grpc.StatusCode.UNAUTHENTICATED, "REVOKED")
STALE = (grpc.StatusCode.UNAVAILABLE, "DENY_LIST_STALE")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Make keys and certificates once."""
    return sites.make(tmp_path_factory.mktemp("deny") / "site")


@pytest.fixture
def site(made: Site) -> Site:
    """Begin with empty nodes."""
    sites.forget(made)
    return made


def message() -> api.SendMessageRequest:
    """Return a good message."""
    content = message_pb2.Content(text="hello")
    wanted = message_pb2.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_TRANSACTIONAL, content=content
    )
    return api.SendMessageRequest(message=wanted)


def identity(spiffe_id: str = CALLER, *, for_good: bool = False) -> pb.RevocationTarget:
    """Return an identity as a target."""
    return pb.RevocationTarget(identity=pb.IdentityTarget(spiffe_id=spiffe_id, for_good=for_good))


async def revoke(site: Site, node: Node, *targets: pb.RevocationTarget, **fields: object) -> pb.RevokeResponse:
    """Revoke as an operator."""
    request = pb.RevokeRequest(targets=targets, reason="stolen, ticket 4711", **fields)  # type: ignore[arg-type]
    return await site.operator(node).Revoke(request, timeout=TIMEOUT_S)


async def outcome(site: Site, node: Node, who: str = "caller-0") -> tuple[grpc.StatusCode, str]:
    """Send one message on a connection of its own; how that ends."""
    try:
        await site.caller(node, who).SendMessage(message(), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return refusal(error)
    return grpc.StatusCode.OK, ""


async def health(site: Site, node: Node) -> int:
    """Return what the node says of itself."""
    stub: Any = health_pb2_grpc.HealthStub(site.channel("caller-1", node.api_address))
    return int((await stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)).status)


def refusal(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    """Return the code and the stable reason of a refusal."""
    refused = from_error(error)
    return refused.code, refused.reason


async def until(done: Callable[[], object]) -> None:
    """Wait until `done`."""
    async with asyncio.timeout(TIMEOUT_S):
        while not done():
            await asyncio.sleep(0.01)


def version(node: Node) -> int:
    """Return the version of the list in force on a node."""
    return node.deny_list.deny.version


async def records(node: Node) -> list[Record]:
    """Return the audit of a node."""
    found: list[Record] = []
    seq = 0
    while commits := await node.store.audit_read(seq, 1_000):
        found += [decode(octets) for commit in commits for octets in split(commit.records)]
        seq = commits[-1].seq
    return found


async def test_a_revocation_is_pushed_and_cuts_a_stream_on_the_other_node(site: Site) -> None:
    """A watch on the node that follows ends with REVOKED, new calls there are refused, and others go on."""
    async with sites.both(site) as (first, second):
        watch = site.caller(second).WatchEvents(api.WatchEventsRequest(), timeout=TIMEOUT_S)
        other = site.caller(second, "caller-1").WatchEvents(api.WatchEventsRequest(), timeout=TIMEOUT_S)
        await watch.read()
        await other.read()
        done = await revoke(site, first, identity())
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await watch.read()
        assert refusal(cut.value) == REVOKED
        assert version(second) == done.version
        assert second.deny_list.digest == first.deny_list.digest
        assert await outcome(site, first) == await outcome(site, second) == REVOKED
        assert await outcome(site, second, "caller-1") == (grpc.StatusCode.OK, "")
        other.cancel()
        site.issue(CALLER, "caller-0-again")  # dated back by 30 s: before the revocation
        assert await outcome(site, second, "caller-0-again") == REVOKED
        (entry,) = done.revocations
        await site.operator(first).Restore(pb.RestoreRequest(id=entry.id, reason="a mistake"), timeout=TIMEOUT_S)
        await until(lambda: version(second) == version(first))
        assert await outcome(site, second) == (grpc.StatusCode.OK, "")


async def test_both_nodes_record_it(site: Site) -> None:
    """The publisher records who asked, before it is done; the follower that it has taken up list and entry."""
    async with sites.both(site) as (first, second):
        (entry,) = (await revoke(site, first, identity())).revocations
        await until(lambda: version(second) == version(first))
        listed = await site.operator(first).ListRevocations(pb.ListRevocationsRequest(), timeout=TIMEOUT_S)
        assert list(listed.status.followers) == [NODE_2]
        assert [each.id for each in listed.revocations] == [entry.id]
        both = [ListFiles(site.folder / f"data-{name}") for name in ("node-1", "node-2")]
        await until(lambda: all(files.memory().settled == version(first) for files in both))
    for name, who in (("node-1", OPERATOR), ("node-2", OPERATOR)):
        async with sites.node(site.folder / f"{name}.yaml") as node:
            found = await records(node)
            changed = [record for record in found if isinstance(record, RevocationChanged)]
            assert [(each.node, each.by, each.revocation, each.spiffe_id) for each in changed] == [
                (name, who, entry.id, CALLER)
            ]
            loaded = {record.digest for record in found if isinstance(record, ConfigLoaded) and "deny" in record.what}
            assert listed.status.digest in loaded


async def test_a_node_that_is_cut_off_refuses_and_comes_back(site: Site) -> None:
    """Within its age it serves; then every call is refused and every stream cut, with an alert; reached again, it has
    what was revoked meanwhile before it lets anybody in."""
    async with sites.both(site) as (first, second):
        watch = site.caller(second, "caller-1").WatchEvents(api.WatchEventsRequest(), timeout=TIMEOUT_S)
        await watch.read()
        await site.proxy.cut()
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await watch.read()
        assert refusal(cut.value) == STALE
        assert await outcome(site, second, "caller-1") == STALE
        assert await health(site, second) == health_pb2.HealthCheckResponse.NOT_SERVING
        alerts = (await second.snapshot())["alerts"]
        assert isinstance(alerts, list)
        assert [alert["alert"] for alert in alerts] == ["deny_list_stale"]
        assert await outcome(site, first, "caller-1") == (grpc.StatusCode.OK, "")
        await revoke(site, first, identity())
        assert await outcome(site, second) == STALE
        site.proxy.mend()
        await until(lambda: not second.deny_list.stale)
        assert await outcome(site, second) == REVOKED
        assert await outcome(site, second, "caller-1") == (grpc.StatusCode.OK, "")
        assert await health(site, second) == health_pb2.HealthCheckResponse.SERVING
        assert (await second.snapshot())["alerts"] == []


async def test_a_node_without_its_publisher_starts_and_refuses(site: Site) -> None:
    """Never having had a list it lets nobody in; once the publisher is there it serves by itself."""
    async with sites.proxied(site):
        await site.proxy.cut()
        async with sites.node(site.write_follower()) as second:
            assert await outcome(site, second) == STALE
            async with sites.publisher(site):
                site.proxy.mend()
                await until(lambda: not second.deny_list.stale)
                assert await outcome(site, second) == (grpc.StatusCode.OK, "")


async def test_an_older_list_is_refused_over_a_restart(site: Site) -> None:
    """A publisher that was put back to a copy of before signs it anew: the follower, restarted too, does not follow."""
    async with sites.both(site) as (first, second):
        copy = (site.folder / "data-node-1" / "deny-list").read_bytes()
        await revoke(site, first, identity())
        await until(lambda: version(second) == version(first))
    data = site.folder / "data-node-1"
    (data / "deny-list").write_bytes(copy)
    (data / "deny-list.seen").unlink()  # or the publisher itself would not start
    (site.folder / "data-node-2" / "deny-list").unlink()
    async with sites.both(site) as (first, second):
        assert await outcome(site, first) == (grpc.StatusCode.OK, "")
        await until(lambda: second.deny_list.refused["OldDenyList"] > 0)
        assert await outcome(site, second) == STALE
        await revoke(site, first, identity(f"spiffe://{TRUST_DOMAIN}/demo/caller-1"))  # any change makes a newer one
        await until(lambda: not second.deny_list.stale)
        assert await outcome(site, second) == (grpc.StatusCode.OK, "")


@pytest.mark.parametrize("pinned", ["other key", "other publisher"])
async def test_a_list_of_somebody_else_is_not_taken_up(site: Site, pinned: str) -> None:
    """Another key than the pinned one, or another identity at the publisher's address: the node refuses everybody."""
    changes: dict[str, object] = {"publisher_id": f"spiffe://{TRUST_DOMAIN}/gateway-1"}
    if pinned == "other key":
        (site.folder / "other.pub").write_bytes(new_key_pair()[1])
        changes = {"public_key_files": ["other.pub"]}
    async with sites.proxied(site), sites.publisher(site), sites.node(site.write_follower(**changes)) as second:
        if pinned == "other key":
            await until(lambda: second.deny_list.refused["ForgedDenyList"] > 0)
        assert await outcome(site, second) == STALE
        assert second.deny_list.deny.version == 0


async def test_who_may_not_follow_gets_nothing(site: Site) -> None:
    """A node that the publisher does not name is refused there, and so refuses its callers."""
    async with (
        sites.proxied(site),
        sites.publisher(site) as first,
        sites.node(site.write_follower()) as second,
    ):
        assert await outcome(site, second) == (grpc.StatusCode.OK, "")
        stranger = RevocationServiceStub(site.channel("caller-0", first.admin_address))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stranger.GetDenyList(pb.GetDenyListRequest(), timeout=TIMEOUT_S)
        assert refusal(refused.value) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_AN_OPERATOR")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await revoke(site, second, identity())
        assert refusal(refused.value) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_THE_PUBLISHER")


async def test_a_follower_that_is_revoked_grows_stale(site: Site) -> None:
    """Its stream is cut, it gets no other, and so it refuses: a node that was taken over is put out of service."""
    async with sites.both(site) as (first, second):
        await revoke(site, first, identity(NODE_2, for_good=True))
        await until(lambda: second.deny_list.stale)
        assert await outcome(site, second) == STALE


def test_folders(made: Site) -> None:
    """Nothing of a signing key is in the folder of the node that follows."""
    follower = Path(made.folder / "node-2.yaml")
    if follower.exists():
        assert "signing_key" not in str(yaml.safe_load(follower.read_text())["revocation"])
