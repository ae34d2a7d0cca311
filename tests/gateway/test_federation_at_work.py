"""A node that federates: whom it believes while bundles are fetched, rotated, emptied, too old, or forged by another
trust domain's authority. Everything over real mutual TLS, with our own endpoint on the other side."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from certs.bundle import Bundle, TrustBundles
from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.profile import LeafRequest
from certs.federation.answering import Page
from certs.federation.relationship import keys_digest
from certs.service.publishing import BundleEndpoints, Publication
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from gateway.audit.records import ConfigLoaded, Decision, Record
from gateway.config.loader import load
from gateway.node import Node
from tests.appliance import SMSGW, Running, run
from tests.certificates import TestAuthority
from tests.gateway.api.refusals import Refusal, refusal
from tests.gateway.federated import PARTNER, endpoint, loaded, records, write_site
from tests.gateway.site import TIMEOUT_S, Channel, connected, node_of

OURS = TestAuthority("example.org")
THEIRS = TestAuthority(PARTNER, now=OURS.now)
DOMAIN = TrustDomain(PARTNER)
TRUSTED = TrustBundles([Bundle.from_pem(TrustDomain("example.org"), OURS.bundle_pem)])
OUR_CALLER = loaded(OURS.svid("/demo"))
THEIR_CALLER = loaded(THEIRS.svid("/demo"))


def bundle(sequence: int, *authorities: TestAuthority) -> bytes:
    """Return a document of partner.example."""
    roots = tuple(found.root for found in authorities)
    return Bundle(trust_domain=DOMAIN, authorities=roots, sequence=sequence, refresh_hint_s=1).to_jwks()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.02)


async def until_trusted(node: Node, trusted: bool) -> dict[str, Any]:
    """Wait until partner.example is believed, or is not; return how it stands then."""
    async with asyncio.timeout(TIMEOUT_S):
        while (found := await standing(node))["trusted"] is not trusted:
            await asyncio.sleep(0.02)
    return found


async def standing(node: Node) -> dict[str, Any]:
    """Return what `smsgw status` shows of partner.example."""
    shown = (await node.snapshot())["federation"]
    assert isinstance(shown, list)
    (found,) = shown
    assert isinstance(found, dict)
    return found


async def calls(node: Node, svid: X509Svid) -> None:
    """Have a caller send a message, on a connection of its own."""
    async with connected(node.api_address, svid, TRUSTED) as channel:
        await channel.send()


async def refused(node: Node, svid: X509Svid) -> Refusal:
    """Return how a caller is refused after its handshake."""
    async with connected(node.api_address, svid, TRUSTED) as channel:
        return await refusal(channel.send())


async def test_pooled_roots(tmp_path: Path) -> None:
    """The authority of one trust domain mints callers of the other, in both directions: TLS, which knows the roots of
    both, lets them in, and the call is refused, counted and on record; each domain's own callers are served."""
    with endpoint(bundle(1, THEIRS)) as (_, port):
        async with node_of(write_site(tmp_path, OURS, port)) as node:
            await until_trusted(node, trusted=True)
            await calls(node, OUR_CALLER)
            await calls(node, THEIR_CALLER)
            forged = [
                loaded(THEIRS.svid("/x", uris=("spiffe://example.org/demo",))),
                loaded(OURS.svid("/x", uris=(f"spiffe://{PARTNER}/demo",))),
            ]
            for svid in forged:
                found = await refused(node, svid)
                assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNTRUSTED")
            page = (await asyncio.to_thread(node._telemetry.page)).decode()
            assert 'smsgw_denials_total{reason="UNTRUSTED"} 2.0' in page
            assert f'smsgw_federation_trusted{{trust_domain="{PARTNER}"}} 1.0' in page
            async with asyncio.timeout(TIMEOUT_S):
                while not (digests := bundles_on_record(found_records := await records(node))):
                    await asyncio.sleep(0.05)
    decisions = [record for record in found_records if isinstance(record, Decision)]
    denied = [record for record in decisions if not record.allowed]
    assert [(record.reason, record.caller) for record in denied] == [("UNTRUSTED", "")] * len(denied)
    assert sum(record.times for record in denied) == 2
    allowed = {record.caller for record in decisions if record.allowed}
    assert allowed == {"spiffe://example.org/demo", f"spiffe://{PARTNER}/demo"}
    assert digests == [keys_digest(Bundle.from_jwks(DOMAIN, bundle(1, THEIRS)))]


def bundles_on_record(found: list[Record]) -> list[str]:
    """Return the digests of the bundles of partner.example that came into force."""
    loaded_records = [record for record in found if isinstance(record, ConfigLoaded)]
    return [record.digest for record in loaded_records if record.what == f"bundle of {PARTNER}"]


async def test_before_and_after_the_first_fetch(tmp_path: Path) -> None:
    """A node starts without the bundle and says so; the domain's callers are refused until it is there, and then
    served without a restart. After a restart, with the endpoint away, what was kept counts at once."""
    with endpoint(b"{}") as (server, port):
        site = write_site(tmp_path, OURS, port)
        async with node_of(site) as node:
            await calls(node, OUR_CALLER)
            assert (await standing(node))["origin"] == ""
            with pytest.raises(grpc.aio.AioRpcError):  # its roots are not those of the handshake either
                await calls(node, THEIR_CALLER)
            await until(lambda: server.answered["answered"] > 0)
            server.page = Page(path="/bundle.json", document=bundle(1, THEIRS))
            found = await until_trusted(node, trusted=True)
            assert (found["sequence"], found["authorities"], found["origin"]) == (1, 1, "endpoint")
            await calls(node, THEIR_CALLER)
    async with node_of(site) as node:
        await calls(node, THEIR_CALLER)
        await until_failing(node, "UNREACHABLE")
        await calls(node, THEIR_CALLER)


async def until_failing(node: Node, reason: str) -> None:
    """Wait until the last fetch failed for this reason."""
    async with asyncio.timeout(TIMEOUT_S):
        while (await standing(node))["reason"] != reason:
            await asyncio.sleep(0.02)


async def test_rollback_and_emptying(tmp_path: Path) -> None:
    """An older bundle brings no revoked authority back, which is an alert; an emptied one cuts its domain off, on a
    connection that is open too, and nobody else."""
    again = TestAuthority(PARTNER, now=OURS.now)
    with endpoint(bundle(5, THEIRS)) as (server, port):
        async with node_of(write_site(tmp_path, OURS, port)) as node:
            await until_trusted(node, trusted=True)
            async with connected(node.api_address, THEIR_CALLER, TRUSTED) as channel:
                await channel.send()
                server.page = Page(path="/bundle.json", document=bundle(4, again))
                await until_failing(node, "SEQUENCE")
                await channel.send()
                shown = (await node.snapshot())["alerts"]
                assert isinstance(shown, list)
                assert [alert["alert"] for alert in shown] == ["federation_odd"]
                server.page = Page(path="/bundle.json", document=bundle(6))
                await until_authorities(node, 0)
                found = await refusal(channel.send())
                assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNTRUSTED")
            await calls(node, OUR_CALLER)


async def test_too_old(tmp_path: Path) -> None:
    """When the endpoint stays away for longer than the maximum age, nobody of its domain is believed any more, on a
    connection that is open too; once it answers again, they are."""
    with endpoint(bundle(1, THEIRS)) as (_, port):
        node = Node(load(write_site(tmp_path, OURS, port, max_age="2s")))
        await node.start()
        await until_trusted(node, trusted=True)
        connection = connected(node.api_address, THEIR_CALLER, TRUSTED)
        channel = await connection.__aenter__()
        await channel.send()
    try:
        await until_trusted(node, trusted=False)
        found = await refusal(channel.send())
        assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "WRONG_TRUST_DOMAIN")
        await calls(node, OUR_CALLER)
        with endpoint(bundle(1, THEIRS), port):
            await until_trusted(node, trusted=True)
            await channel.send()
    finally:
        await connection.__aexit__(None, None, None)
        await node.stop()


async def test_policies(tmp_path: Path) -> None:
    """Policies see who is federated: one that forbids it denies the partner's callers, and nobody else."""
    with endpoint(bundle(1, THEIRS)) as (_, port):
        site = write_site(tmp_path, OURS, port)
        policy = tmp_path / "policy" / "90-partners.cedar"
        policy.touch(mode=0o600)
        policy.write_text(
            '@id("no-partners")\nforbid (principal is Caller, action, resource) when { principal.federated };\n'
        )
        async with node_of(site) as node:
            await until_trusted(node, trusted=True)
            await calls(node, OUR_CALLER)
            found = await refused(node, THEIR_CALLER)
    assert found.code is grpc.StatusCode.PERMISSION_DENIED
    assert "no-partners" in found.text


async def test_development_authorities(tmp_path: Path) -> None:
    """In production the bundle of a development authority is refused, wherever it comes from."""
    now = dt.datetime.now(dt.UTC)
    with closing(Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "r", now, development=True)) as theirs:
        document = theirs.bundle.to_jwks()
    with endpoint(document) as (_, port):
        async with node_of(write_site(tmp_path, OURS, port)) as node:
            await until_failing(node, "BUNDLE")
            assert not (await standing(node))["trusted"]


# Two real authorities: theirs serves https_spiffe, and rotates.


@dataclass
class Traffic:
    """Calls of a partner's caller, on a connection that stays and on new ones: each of them has to succeed."""

    node: Node
    svid: X509Svid
    done: int = 0
    ending: bool = False

    async def run(self, channel: Channel) -> None:
        """Call until told to end."""
        while not self.ending:
            await channel.send()
            await calls(self.node, self.svid)
            self.done += 1


@asynccontextmanager
async def under_traffic(node: Node, svid: X509Svid) -> AsyncIterator[Traffic]:
    """Have calls run beside what a test does."""
    traffic = Traffic(node, svid)
    async with asyncio.TaskGroup() as tasks, connected(node.api_address, svid, TRUSTED) as channel:
        running = tasks.create_task(traffic.run(channel))
        try:
            yield traffic
        finally:
            traffic.ending = True
            await running


async def test_rotation_under_traffic(tmp_path: Path) -> None:
    """Theirs is an authority of smsgw with an https_spiffe endpoint; it changes its root under traffic. No call fails,
    those of the new root are served, those of the revoked one are refused, and every fetch succeeds."""
    now = dt.datetime.now(dt.UTC)
    with (
        closing(Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", now)) as theirs,
        closing(Authority.open(tmp_path / "ca")) as serving,
        BundleEndpoints(
            serving,
            Publication(path="/bundle.json", web=None, certificate=None, key=None, spiffe="127.0.0.1:0"),
            lambda: dt.datetime.now(dt.UTC),
        ) as endpoints,
    ):
        port = endpoints.start()[1]
        assert port is not None
        (tmp_path / "partner.json").write_bytes(theirs.bundle.to_jwks())
        site = write_site(
            tmp_path,
            OURS,
            port,
            ca_file=None,
            profile="https_spiffe",
            server_id=f"spiffe://{PARTNER}/bundle-endpoint",
            bootstrap_file="partner.json",
        )
        request = LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/demo"))
        before = theirs.issue(request, now)
        (old_root,) = [record for record in theirs.records if record.kind.value == "root"]
        async with node_of(site) as node:
            await calls(node, before)  # by the bundle to begin with
            async with under_traffic(node, before) as traffic:
                rotation.add_root(theirs, tmp_path / "root2", now)
                endpoints.refresh()
                await until_authorities(node, 2)
                rotation.activate(theirs, now)
                rotation.prepare(theirs, tmp_path / "root2", now)
                rotation.activate(theirs, now)
                endpoints.refresh()
                after = theirs.issue(request, now)
                assert after.authority_key_id != before.authority_key_id
                await calls(node, after)
                seen = traffic.done
                await until(lambda: traffic.done > seen)
            rotation.revoke(theirs, theirs.find(old_root.key_id), now)
            endpoints.refresh()
            await until_authorities(node, 1)
            await calls(node, after)
            with pytest.raises(grpc.aio.AioRpcError):
                await calls(node, before)
            assert (await standing(node))["failures"] == 0


async def until_authorities(node: Node, count: int) -> None:
    """Wait until so many authorities of partner.example count."""

    def counts() -> bool:
        found = node._trust.get(DOMAIN)
        return found is not None and len(found.authorities) == count

    await until(counts)


async def test_a_process(tmp_path: Path) -> None:
    """`smsgw serve` federates, on the loop that it runs on, and `smsgw status` shows how it stands."""
    with endpoint(bundle(1, THEIRS)) as (_, port):
        site = write_site(tmp_path, OURS, port)
        with Running([SMSGW, "serve", "--config", str(site)], log=tmp_path / "log") as node:
            await asyncio.to_thread(node.line)
            async with asyncio.timeout(TIMEOUT_S):
                while not (shown := json.loads(await status(site, "--json")))["federation"][0]["trusted"]:
                    await asyncio.sleep(0.1)
            (found,) = shown["federation"]
            assert (found["trust_domain"], found["sequence"], found["authorities"]) == (PARTNER, 1, 1)
            assert PARTNER in shown["identity"]["believes"]
            assert PARTNER in await status(site)
            assert await asyncio.to_thread(node.end) == 0


async def status(site: Path, *arguments: str) -> str:
    """Return what `smsgw status` prints."""
    return await asyncio.to_thread(run, "status", "--config", str(site), *arguments)
