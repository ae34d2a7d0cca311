"""CertificateService over real TLS: joining, renewing, issuing, and who may not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from certs.bundle import Bundle, TrustBundles
from certs.ca import rotation
from certs.ca.authority import Asked
from certs.ca.events import events_after, newest
from certs.ca.profile import LeafRequest
from certs.service.rates import Rate
from certs.service.servicer import Rates
from certs.service.status import reason_of, retry_after_s
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid
from certs.tls import check_own_svid
from smsgw.v1 import certificate_service_pb2 as pb
from smsgw.v1 import certificate_service_pb2_grpc as rpc
from tests.certificates import TestAuthority, new_key
from tests.certs.ca.requests import csr
from tests.certs.service.rig import DOMAIN, ENTRIES, NODE, Rig, real_now, svid_of

WEB2 = SpiffeId(DOMAIN, "/node/web2")
BILLING = "spiffe://example.org/billing"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Run a service."""
    running = Rig.start(tmp_path)
    yield running
    running.server.stop()


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Return code and reason of a call that must be refused."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code(), reason_of(refused.value)


def issue(stub: rpc.CertificateServiceStub, spiffe_id: str = BILLING) -> pb.IssuedCertificate:
    """Ask for a workload's certificate."""
    request = pb.IssueCertificateRequest(spiffe_id=spiffe_id, csr=csr())
    return stub.IssueCertificate(request, timeout=30).certificate


def renewed(rig: Rig, svid: X509Svid) -> X509Svid:
    """Renew an SVID over the connection that it makes."""
    key = new_key()
    reply = rig.stub(svid).RenewCertificate(pb.RenewCertificateRequest(csr=csr(key)), timeout=30)
    return svid_of(reply.certificate, key)


def test_a_token_makes_a_node(rig: Rig) -> None:
    """A token gives the node's SVID, as registered, and is on record with how it was attested; it works once."""
    token, key = rig.token(), new_key()
    reply = rig.stub().JoinNode(pb.JoinNodeRequest(token=token, csr=csr(key)), timeout=30)
    svid = svid_of(reply.certificate, key)
    check_own_svid(svid, TrustBundles([rig.authority.bundle]), real_now())
    assert (svid.spiffe_id, reply.certificate.spiffe_id) == (NODE, str(NODE))
    assert reply.certificate.expires_at.ToDatetime(dt.UTC) == svid.expires_at
    assert svid.expires_at - real_now() < dt.timedelta(minutes=31)
    record = rig.authority.ledger.issued(svid.serial)
    assert record is not None
    assert (record.asked_by, record.attested_by) == (str(NODE), "token")
    again = pb.JoinNodeRequest(token=token, csr=csr())
    assert refusal(lambda: rig.stub().JoinNode(again, timeout=30)) == (grpc.StatusCode.UNAUTHENTICATED, "JOIN_TOKEN")


def test_a_bad_request_uses_no_token_up(rig: Rig) -> None:
    """The signing request is judged before the token is used."""
    token = rig.token()
    bad = pb.JoinNodeRequest(token=token, csr=b"rubbish")
    assert refusal(lambda: rig.stub().JoinNode(bad, timeout=30)) == (grpc.StatusCode.INVALID_ARGUMENT, "CSR")
    assert rig.stub().JoinNode(pb.JoinNodeRequest(token=token, csr=csr()), timeout=30).certificate.chain


def test_a_token_for_nobody(rig: Rig) -> None:
    """A token whose node is not registered gives nothing."""
    request = pb.JoinNodeRequest(token=rig.token(SpiffeId(DOMAIN, "/node/gone")), csr=csr())
    assert refusal(lambda: rig.stub().JoinNode(request, timeout=30))[1] == "NOT_REGISTERED"


def test_renewal_by_the_current_svid(rig: Rig) -> None:
    """A node renews by its SVID; taken out of the registration, it renews no more."""
    first = rig.join()
    second = renewed(rig, first)
    assert second.spiffe_id == NODE
    assert second.serial != first.serial
    record = rig.authority.ledger.issued(second.serial)
    assert record is not None
    assert record.attested_by == f"svid {first.serial}"
    rig.register(ENTRIES.replace("node/web1", "node/web9"))
    assert refusal(lambda: renewed(rig, second)) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_REGISTERED")


def test_a_node_learns_and_gets_what_is_registered_there(rig: Rig) -> None:
    """A node is told its entries, the bundle and the authority, and gets SVIDs of its own workloads only."""
    stub = rig.stub(rig.join())
    state = stub.SyncNode(pb.SyncNodeRequest(), timeout=30)
    (entry,) = state.entries
    assert (entry.spiffe_id, entry.uid, entry.path, entry.hint) == (BILLING, 1001, "/usr/bin/billing", "internal")
    assert not entry.HasField("gid")
    rig.authority.refresh()
    assert Bundle.from_jwks(DOMAIN, state.bundle) == rig.authority.bundle
    assert state.authority_key_id == rig.authority.active.key_id
    key = new_key()
    request = pb.IssueCertificateRequest(spiffe_id=BILLING, csr=csr(key))
    svid = svid_of(stub.IssueCertificate(request, timeout=30).certificate, key)
    assert (str(svid.spiffe_id), svid.facts.dns_names) == (BILLING, ("billing.example.org",))
    record = rig.authority.ledger.issued(svid.serial)
    assert record is not None
    assert record.asked_by == str(NODE)
    denied = (grpc.StatusCode.PERMISSION_DENIED, "NOT_REGISTERED")
    assert refusal(lambda: issue(stub, "spiffe://example.org/other")) == denied
    assert refusal(lambda: issue(stub, str(NODE))) == denied
    assert refusal(lambda: issue(stub, "nonsense")) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_SPIFFE_ID")


def test_a_workload_is_no_node(rig: Rig) -> None:
    """A workload's SVID, though this authority issued it, neither issues nor syncs."""
    request = LeafRequest(spiffe_id=SpiffeId.parse(BILLING))
    workload = rig.authority.issue(request, real_now(), Asked(by="me", attested="local"))
    stub = rig.stub(workload)
    assert refusal(lambda: issue(stub))[1] == "NOT_REGISTERED"
    assert refusal(lambda: stub.SyncNode(pb.SyncNodeRequest(), timeout=30))[1] == "NOT_REGISTERED"


def test_each_port_serves_its_own(rig: Rig) -> None:
    """The port for joining answers nothing else, and the other one lets nobody in without a certificate."""
    for call in (
        lambda: rig.stub().SyncNode(pb.SyncNodeRequest(), timeout=30),
        lambda: rig.stub(rig.join()).JoinNode(pb.JoinNodeRequest(token=rig.token(), csr=csr()), timeout=30),
    ):
        assert refusal(call)[0] is grpc.StatusCode.UNIMPLEMENTED
    nobody = rig.stub(port=rig.port)
    assert refusal(lambda: nobody.SyncNode(pb.SyncNodeRequest(), timeout=5))[0] in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }


def test_a_stranger_is_cut_off(rig: Rig) -> None:
    """A certificate of another authority for a node's name does not pass TLS."""
    foreign = TestAuthority("example.org").svid("/node/web1")
    stub = rig.stub(X509Svid.from_pem(foreign.presented_pem, foreign.key_pem))
    assert refusal(lambda: issue(stub))[0] is grpc.StatusCode.UNAVAILABLE


def test_recovery_after_a_compromise(rig: Rig) -> None:
    """Below a tainted authority a node can renew, and nothing else; renewed, it goes on, and the bundle stays."""
    node = rig.join()
    workload = issue(rig.stub(node))
    moment = real_now() + dt.timedelta(seconds=1)
    rotation.taint(rig.authority, rig.authority.active, moment, moment)
    rig.server.refresh()
    assert refusal(lambda: issue(rig.stub(node))) == (grpc.StatusCode.PERMISSION_DENIED, "AUTHORITY_STATE")
    after = renewed(rig, node)
    assert after.authority_key_id == rig.authority.active.key_id != node.authority_key_id
    assert issue(rig.stub(after)).chain[1] != workload.chain[1]
    state = rig.stub(after).SyncNode(pb.SyncNodeRequest(), timeout=30)
    assert state.authority_key_id == rig.authority.active.key_id


def test_a_renewed_svid_of_the_service_itself(rig: Rig) -> None:
    """After a rotation the service presents an SVID of the new intermediate, without a restart."""
    node = rig.join()
    rotation.activate(rig.authority, real_now())
    rig.server.refresh()
    rotation.revoke(rig.authority, rig.authority.find(node.authority_key_id), real_now())
    rig.server.refresh()
    assert rig.join(WEB2).authority_key_id == rig.authority.active.key_id


def test_a_root_that_left_the_bundle(rig: Rig, tmp_path: Path) -> None:
    """After the revocation of its root, an SVID passes neither TLS nor the desk."""
    node, old = rig.join(), rig.authority.bundle.authorities[0]
    assert rig.authority.standby is not None
    rotation.revoke(rig.authority, rig.authority.standby, real_now())
    rotation.add_root(rig.authority, tmp_path / "root2", real_now())
    rotation.prepare(rig.authority, tmp_path / "root2", real_now())
    rotation.activate(rig.authority, real_now())
    stub = rig.stub(node)
    rotation.revoke(rig.authority, next(one for one in rig.authority.records if one.certificate == old), real_now())
    rig.server.refresh()
    assert refusal(lambda: issue(stub))[0] in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
    assert rig.join(WEB2).chain[1].issuer != node.chain[1].issuer


def test_nothing_of_the_inside(rig: Rig) -> None:
    """When the authority cannot issue, callers learn that and no path."""
    node = rig.join()
    rotation.activate(rig.authority, real_now())
    moment = real_now()
    rotation.taint(rig.authority, rig.authority.active, moment, moment)
    rig.server.refresh()
    with pytest.raises(grpc.RpcError) as refused:
        issue(rig.stub(node))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "/" not in (refused.value.details() or "")


def test_callers_that_call_too_often(tmp_path: Path) -> None:
    """Each SPIFFE ID, and each address that joins, has its rate: beyond it the answer says how long to wait."""
    at = [1000.0]
    slow = Rates(callers=Rate(per_s=0.1, burst=2), joining=Rate(per_s=0.5, burst=3), monotonic=lambda: at[0])
    rig = Rig.start(tmp_path, rates=slow)
    try:
        first, second = rig.join(), rig.join(WEB2)
        stub = rig.stub(first)
        for _ in range(2):
            stub.SyncNode(pb.SyncNodeRequest(), timeout=30)
        for call in (lambda: issue(stub), lambda: renewed(rig, first)):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE")
            assert retry_after_s(refused.value) == pytest.approx(10.0, abs=0.01)
        rig.stub(second).SyncNode(pb.SyncNodeRequest(), timeout=30)
        at[0] += 10.0
        stub.SyncNode(pb.SyncNodeRequest(), timeout=30)
        nothing = pb.JoinNodeRequest(token="x", csr=csr())
        seen = {refusal(lambda: rig.stub().JoinNode(nothing, timeout=30))[1] for _ in range(5)}
        assert seen == {"JOIN_TOKEN", "RATE"}, "also who has no token is counted"
    finally:
        rig.server.stop()


def test_what_is_refused_is_on_record(rig: Rig) -> None:
    """Each refusal is on disk before it is told: why, whose, and who called: by identity, or by address."""
    node = rig.join()
    begin = newest(rig.authority.ledger)
    bad = pb.JoinNodeRequest(token="made up", csr=csr())
    assert refusal(lambda: rig.stub().JoinNode(bad, timeout=30))[1] == "JOIN_TOKEN"
    assert refusal(lambda: issue(rig.stub(node), "spiffe://example.org/other"))[1] == "NOT_REGISTERED"
    first, second = events_after(rig.authority.ledger, begin, limit=10)
    assert (first.what, first.reason, first.asked_by) == ("CALL_REFUSED", "JOIN_TOKEN", "127.0.0.1")
    assert (second.what, second.reason, second.subject) == (
        "CALL_REFUSED", "NOT_REGISTERED", "spiffe://example.org/other",
    )  # fmt: skip
    assert second.asked_by == f"{NODE} (svid {node.serial})"
    assert second.detail.startswith("issue: ")
    assert "made up" not in repr(first)


def test_a_jwt_svid_is_on_record(rig: Rig) -> None:
    """Who got one for whom, and for which audiences."""
    node = rig.join()
    begin = newest(rig.authority.ledger)
    request = pb.IssueJwtSvidRequest(spiffe_id="spiffe://example.org/billing", audiences=["orders"])
    assert rig.stub(node).IssueJwtSvid(request, timeout=30).token
    (event,) = events_after(rig.authority.ledger, begin, limit=10)
    assert (event.what, event.subject, event.detail) == ("JWT_ISSUED", "spiffe://example.org/billing", "for orders")
    assert event.asked_by == f"{NODE} (svid {node.serial})"


def test_all_who_join_together(tmp_path: Path) -> None:
    """Many addresses that join leave room: beyond a rate of all together nobody joins, and nodes go on."""
    rates = Rates(everybody=Rate(per_s=0.1, burst=2), monotonic=lambda: 1000.0)
    rig = Rig.start(tmp_path, rates=rates)
    try:
        node = rig.join()
        rig.join(WEB2)
        request = pb.JoinNodeRequest(token=rig.token(), csr=csr())
        assert refusal(lambda: rig.stub().JoinNode(request, timeout=30)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE")
        assert rig.stub(node).SyncNode(pb.SyncNodeRequest(), timeout=30).entries
    finally:
        rig.server.stop()
