"""The agent's side of the authority: joining, restarting, renewing, and being refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.agent.keeper import Files, Keeper
from certs.agent.link import Authorities
from certs.ca import rotation
from certs.ca.revocations import Code, Order, revoke_identity, revoke_serial
from certs.errors import SvidFileError
from certs.service.rates import Rate
from certs.service.servicer import Rates
from certs.svid import X509Svid
from tests.certs.agent.rig import NODES, TWO, entry, keeper_for
from tests.certs.service.rig import DOMAIN, NAME, NODE, Rig, real_now

ORDER = Order(code=Code.KEY_COMPROMISE, reason="host taken over", asked_by="me")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Run a certificate service."""
    service = Rig.start(tmp_path)
    service.register(TWO)
    yield service
    service.server.stop()


async def test_join_and_restart(rig: Rig, tmp_path: Path) -> None:
    """A token is used once and deleted; after a restart the kept SVID does, and keys lie in files of mode 0600."""
    keeper = keeper_for(rig, tmp_path)
    assert (await keeper.round()).error == ""
    assert not (tmp_path / "join.token").exists()
    assert sorted(keeper.holder.now.svids) == [f"spiffe://example.org/{name}" for name in ("billing", "no", "second")]
    await keeper.close()
    kept = X509Svid.load(tmp_path / "state" / "node.pem", tmp_path / "state" / "node.key")
    assert kept.spiffe_id == NODE
    again = keeper_for(rig, tmp_path)
    assert (await again.round()).error == ""
    assert again.link is not None
    assert again.link.svid == kept
    await again.close()


async def test_nothing_to_begin_with(rig: Rig, tmp_path: Path) -> None:
    """Without an SVID and without a token, it is said what to do; with a token that was used, too."""
    keeper = keeper_for(rig, tmp_path)
    token = (tmp_path / "join.token").read_text()
    (tmp_path / "join.token").unlink()
    assert "smsgw ca token" in (await keeper.round()).error
    (tmp_path / "join.token").touch(mode=0o600)
    (tmp_path / "join.token").write_text(token)
    assert (await keeper.round()).error == ""
    (tmp_path / "join.token").touch(mode=0o600)
    (tmp_path / "join.token").write_text(token)
    assert (await keeper.round()).error == ""  # what is held is good
    await keeper.close()
    bundle = tmp_path / "ca" / "root.pem"
    (tmp_path / "fresh").mkdir(mode=0o700)
    where = Authorities(
        trust_domain=DOMAIN,
        address=f"127.0.0.1:{rig.port}",
        join_address=f"127.0.0.1:{rig.join_port}",
        server_name=NAME,
    )
    files = Files(state=tmp_path / "fresh", bundle=bundle, token=tmp_path / "join.token")
    fresh = Keeper(where, files, real_now)
    assert "[JOIN_TOKEN]" in (await fresh.round()).error
    assert (await fresh.round()).lasts_until is None
    await fresh.close()


async def test_half_life(rig: Rig, tmp_path: Path) -> None:
    """The node's SVID and the workloads' are renewed at half their life, and not before."""
    ahead = dt.timedelta()
    keeper = keeper_for(rig, tmp_path)
    keeper._clock = lambda: real_now() + ahead
    await keeper.round()
    node, workloads = keeper.link and keeper.link.svid, dict(keeper.holder.now.svids)
    await keeper.round()
    assert (keeper.link and keeper.link.svid, dict(keeper.holder.now.svids)) == (node, workloads)
    ahead = dt.timedelta(minutes=31)
    assert (await keeper.round()).error == ""
    assert (keeper.link and keeper.link.svid) != node
    assert all(keeper.holder.now.svids[name] != svid for name, svid in workloads.items())
    await keeper.close()


async def test_a_service_that_is_not_the_authority(rig: Rig, tmp_path: Path) -> None:
    """A server of another authority gets no token: its certificate does not verify."""
    (tmp_path / "elsewhere").mkdir()
    other = Rig.start(tmp_path / "elsewhere")
    try:
        keeper = keeper_for(rig, tmp_path)
        where = Authorities(
            trust_domain=DOMAIN,
            address=f"127.0.0.1:{other.port}",
            join_address=f"127.0.0.1:{other.join_port}",
            server_name=NAME,
        )
        misled = Keeper(where, keeper._files, real_now)
        assert "UNAVAILABLE" in (await misled.round()).error
        assert (tmp_path / "join.token").exists()
        await misled.close()
    finally:
        other.server.stop()


async def test_a_token_that_others_can_read(rig: Rig, tmp_path: Path) -> None:
    """A token in a file that others may read is not used."""
    keeper = keeper_for(rig, tmp_path)
    (tmp_path / "join.token").chmod(0o644)
    assert "chmod 600" in (await keeper.round()).error
    await keeper.close()


async def test_a_new_root_is_kept_across_a_restart(rig: Rig, tmp_path: Path) -> None:
    """The bundle that the authority told last counts after a restart, though the file given is older."""
    given = tmp_path / "given.pem"
    given.write_bytes(rig.authority.bundle.to_pem())
    keeper = keeper_for(rig, tmp_path)
    await keeper.round()
    rotation.add_root(rig.authority, tmp_path / "root2", real_now())
    rig.server.refresh()
    assert (await keeper.round()).error == ""
    await keeper.close()
    where = Authorities(
        trust_domain=DOMAIN,
        address=f"127.0.0.1:{rig.port}",
        join_address=f"127.0.0.1:{rig.join_port}",
        server_name=NAME,
    )
    again = Keeper(where, Files(state=tmp_path / "state", bundle=given, token=None), real_now)
    assert len(again.holder.now.bundle.authorities) == 2
    assert (await again.round()).error == ""
    await again.close()


async def test_no_bundle(rig: Rig, tmp_path: Path) -> None:
    """Without a bundle the agent does not begin: it could not know the authority."""
    where = Authorities(trust_domain=DOMAIN, address="127.0.0.1:1", join_address="127.0.0.1:1", server_name=NAME)
    with pytest.raises(SvidFileError, match="cannot be read"):
        Keeper(where, Files(state=tmp_path, bundle=tmp_path / "none.pem", token=None), real_now)


async def test_cast_out_and_back(rig: Rig, tmp_path: Path) -> None:
    """A node that is taken out holds nothing; registered again, it is served again, without a restart."""
    keeper = keeper_for(rig, tmp_path)
    await keeper.round()
    rig.register("nodes: []")
    assert "[NOT_REGISTERED]" in (await keeper.round()).error
    assert (keeper.holder.now.svids, keeper.holder.now.entries) == ({}, ())
    rig.register(NODES + entry("/billing"))
    assert (await keeper.round()).error == ""
    assert list(keeper.holder.now.svids) == ["spiffe://example.org/billing"]
    await keeper.close()


async def test_a_revoked_workload_is_replaced(rig: Rig, tmp_path: Path) -> None:
    """A workload's SVID that is revoked is exchanged in the next round, and the others stay."""
    keeper = keeper_for(rig, tmp_path)
    await keeper.round()
    before = dict(keeper.holder.now.svids)
    billing = "spiffe://example.org/billing"
    revoke_serial(rig.authority.ledger, before[billing].serial, ORDER, real_now())
    assert (await keeper.round()).error == ""
    after = dict(keeper.holder.now.svids)
    assert [name for name, svid in after.items() if svid != before[name]] == [billing]
    await keeper.round()
    assert dict(keeper.holder.now.svids) == after
    await keeper.close()


async def test_a_revoked_node_holds_nothing(rig: Rig, tmp_path: Path) -> None:
    """A node that is revoked serves nothing from then on; a new token makes it a node again."""
    keeper = keeper_for(rig, tmp_path)
    await keeper.round()
    revoke_identity(rig.authority.ledger, NODE, ORDER, real_now())
    assert "[REVOKED]" in (await keeper.round()).error
    assert keeper.holder.now.svids == {}
    (tmp_path / "join.token").touch(mode=0o600)
    (tmp_path / "join.token").write_text(rig.token())
    assert (await keeper.round()).error == ""
    assert len(keeper.holder.now.svids) == 3
    await keeper.close()


async def test_an_authority_that_asks_to_wait(tmp_path: Path) -> None:
    """Beyond its rate the agent stops asking in this round, waits as long as it is told, and has all at last."""
    at = [1000.0]
    rates = Rates(callers=Rate(per_s=0.1, burst=2), monotonic=lambda: at[0])
    rig = Rig.start(tmp_path, rates=rates)
    try:
        rig.register(TWO)
        keeper = keeper_for(rig, tmp_path)
        done = await keeper.round()
        assert len(keeper.holder.now.svids) == 1, "one call told it what to serve, one gave an SVID"
        assert done.next_in_s == pytest.approx(10.0, abs=0.01)
        held = dict(keeper.holder.now.svids)
        at[0] += 30.0
        await keeper.round()
        assert len(keeper.holder.now.svids) == 2
        assert held.items() <= dict(keeper.holder.now.svids).items()
        assert "[RATE]" in (await keeper.round()).error
        at[0] += 30.0
        assert (await keeper.round()).error == ""
        assert len(keeper.holder.now.svids) == 3
        await keeper.close()
    finally:
        rig.server.stop()
