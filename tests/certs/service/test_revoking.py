"""RevokeCertificates over real TLS: who may call it, what it answers, and what is refused from then on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest

from certs.ca import rotation
from certs.ca.desk import Desk
from certs.ca.profile import LeafRequest
from certs.ca.registration import RegistrationFile
from certs.ca.revocations import revocation
from certs.errors import ProfileRefused
from certs.service import servicer
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from smsgw.v1 import certificate_service_pb2 as pb
from smsgw.v1 import certificate_service_pb2_grpc as rpc
from tests.certificates import new_key
from tests.certs.ca.requests import csr
from tests.certs.service.rig import DOMAIN, NODE, Rig, real_now, svid_of
from tests.certs.service.test_service import BILLING, WEB2, issue, refusal, renewed

ADMIN = SpiffeId(DOMAIN, "/admin/security")
DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Run a service."""
    running = Rig.start(tmp_path)
    yield running
    running.server.stop()


def holding(rig: Rig, spiffe_id: SpiffeId) -> X509Svid:
    """Issue an SVID as the command line does."""
    return rig.authority.issue(LeafRequest(spiffe_id=spiffe_id), real_now())


def asking(rig: Rig, spiffe_id: SpiffeId = ADMIN) -> rpc.CertificateServiceStub:
    """Return a stub of an administrator, or of somebody else."""
    return rig.stub(holding(rig, spiffe_id))


def order(
    *, spiffe_id: str = "", serial: str = "", reason: str = "host taken over", code: int = 1, page: str = ""
) -> pb.RevokeCertificatesRequest:
    """Return a request."""
    request = pb.RevokeCertificatesRequest(reason=reason, page_token=page)
    request.code = code  # type: ignore[assignment]  # a number beyond the enumeration is what a test sends
    if spiffe_id:
        request.spiffe_id = spiffe_id
    if serial:
        request.serial = serial
    return request


def test_a_revoked_node_gets_nothing(rig: Rig) -> None:
    """After its revocation a node neither renews, syncs, issues nor gets a token; its workloads' SVIDs go with it."""
    node, other = rig.join(), rig.join(WEB2)
    workload = issue(rig.stub(node))
    reply = asking(rig).RevokeCertificates(order(spiffe_id=str(NODE)), timeout=30)
    by_serial = {one.serial: one for one in reply.certificates}
    assert len(by_serial) == 2
    assert by_serial[node.serial].authority_key_id == node.authority_key_id
    assert by_serial[node.serial].not_after.seconds == int(node.facts.not_after.timestamp())
    assert by_serial[node.serial].spiffe_id == str(NODE)
    assert {one.spiffe_id for one in reply.certificates} == {str(NODE), workload.spiffe_id}
    stub = rig.stub(node)
    for call in (
        lambda: renewed(rig, node),
        lambda: stub.SyncNode(pb.SyncNodeRequest(), timeout=30),
        lambda: issue(stub),
        lambda: stub.IssueJwtSvid(pb.IssueJwtSvidRequest(spiffe_id=BILLING, audiences=["a"]), timeout=30),
    ):
        assert refusal(call) == (DENIED, "REVOKED")
    assert rig.stub(other).SyncNode(pb.SyncNodeRequest(), timeout=30).entries
    assert rig.join().spiffe_id == NODE, "it is registered: with a token that is made now, it joins anew"


def test_a_revoked_key_is_not_certified(rig: Rig) -> None:
    """A request for a revoked key is refused when joining, before the token is used up, and when renewing."""
    key, node = new_key(), rig.join()
    reply = rig.stub(node).RenewCertificate(pb.RenewCertificateRequest(csr=csr(key)), timeout=30)
    asking(rig).RevokeCertificates(order(serial=svid_of(reply.certificate, key).serial), timeout=30)
    token = rig.token()
    again = pb.JoinNodeRequest(token=token, csr=csr(key))
    assert refusal(lambda: rig.stub().JoinNode(again, timeout=30)) == (DENIED, "REVOKED")
    assert refusal(lambda: rig.stub(node).RenewCertificate(pb.RenewCertificateRequest(csr=csr(key)), timeout=30)) == (
        DENIED,
        "REVOKED",
    )
    assert rig.stub().JoinNode(pb.JoinNodeRequest(token=token, csr=csr()), timeout=30).certificate.chain


def test_a_node_is_told_what_to_replace(rig: Rig) -> None:
    """A revoked workload is told to its node, which may have it issued anew."""
    node, key = rig.join(), new_key()
    stub = rig.stub(node)
    request = pb.IssueCertificateRequest(spiffe_id=BILLING, csr=csr(key))
    workload = svid_of(stub.IssueCertificate(request, timeout=30).certificate, key)
    assert not stub.SyncNode(pb.SyncNodeRequest(), timeout=30).revoked_serials
    asking(rig).RevokeCertificates(order(spiffe_id=BILLING), timeout=30)
    assert list(stub.SyncNode(pb.SyncNodeRequest(), timeout=30).revoked_serials) == [workload.serial]
    assert issue(stub).spiffe_id == BILLING


def test_who_may_revoke(rig: Rig) -> None:
    """Nodes, workloads and names that only begin alike may not; nor may a revoked administrator."""
    victim = holding(rig, SpiffeId.parse(BILLING))
    for path in ("/node/web1", "/billing", "/administrator", "/Admin/x", "/x/admin"):
        call = partial(asking(rig, SpiffeId(DOMAIN, path)).RevokeCertificates, order(serial=victim.serial), timeout=30)
        assert refusal(call) == (DENIED, "NOT_ADMIN")
    admin = holding(rig, ADMIN)
    assert rig.stub(admin).RevokeCertificates(order(spiffe_id=str(ADMIN)), timeout=30).certificates
    again = rig.stub(admin)
    assert refusal(lambda: again.RevokeCertificates(order(serial=victim.serial), timeout=30)) == (DENIED, "REVOKED")
    assert revocation(rig.authority.ledger, victim.serial) is None
    unknown = rig.stub()
    assert refusal(lambda: unknown.RevokeCertificates(order(serial="1f"), timeout=30))[0] is (
        grpc.StatusCode.UNIMPLEMENTED
    ), "the port for joining, where nobody is known"


def test_an_administrator_below_a_tainted_authority(rig: Rig) -> None:
    """A key in other hands can make administrators: below a tainted authority nobody revokes."""
    admin, victim = holding(rig, ADMIN), holding(rig, SpiffeId.parse(BILLING))
    moment = real_now()
    rotation.taint(rig.authority, rig.authority.active, moment, moment)
    rig.server.refresh()
    stub = rig.stub(admin)
    code, reason = refusal(lambda: stub.RevokeCertificates(order(serial=victim.serial), timeout=30))
    assert (code, reason) == (DENIED, "AUTHORITY_STATE")


def test_other_administrators(tmp_path: Path) -> None:
    """Who is named instead of /admin may revoke, and then /admin may not."""
    rig = Rig.start(tmp_path, [SpiffeId(DOMAIN, "/ops/red"), SpiffeId(DOMAIN, "/ops/blue")])
    try:
        serial = holding(rig, SpiffeId.parse(BILLING)).serial
        assert refusal(lambda: asking(rig).RevokeCertificates(order(serial=serial), timeout=30))[1] == "NOT_ADMIN"
        for path in ("/ops/blue", "/ops/red/anna"):
            reply = asking(rig, SpiffeId(DOMAIN, path)).RevokeCertificates(order(serial=serial), timeout=30)
            assert [one.serial for one in reply.certificates] == [serial]
        revoked = revocation(rig.authority.ledger, serial)
        assert revoked is not None
        assert revoked.asked_by.startswith("spiffe://example.org/ops/blue (svid "), "the first one counts"
        entries = RegistrationFile(rig.entries, DOMAIN)
        for nobody in (SpiffeId(DOMAIN), SpiffeId(TrustDomain("other.org"), "/admin")):
            with pytest.raises(ProfileRefused):
                Desk(rig.authority, entries, [nobody])
    finally:
        rig.server.stop()


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (order(), grpc.StatusCode.INVALID_ARGUMENT, "PROFILE"),
        (order(spiffe_id=BILLING, reason=""), grpc.StatusCode.INVALID_ARGUMENT, "PROFILE"),
        (order(spiffe_id=BILLING, reason="a\nb"), grpc.StatusCode.INVALID_ARGUMENT, "PROFILE"),
        (order(spiffe_id=BILLING, code=6), grpc.StatusCode.INVALID_ARGUMENT, "PROFILE"),
        (order(spiffe_id="billing"), grpc.StatusCode.INVALID_ARGUMENT, "BAD_SPIFFE_ID"),
        (order(spiffe_id="spiffe://other.org/x"), grpc.StatusCode.INVALID_ARGUMENT, "WRONG_TRUST_DOMAIN"),
        (order(serial="abcdef"), grpc.StatusCode.NOT_FOUND, "NOT_RECORDED"),
    ],
)
def test_requests_that_make_no_sense(
    rig: Rig, request_: pb.RevokeCertificatesRequest, code: grpc.StatusCode, reason: str
) -> None:
    """Each is refused with what is wrong."""
    assert refusal(lambda: asking(rig).RevokeCertificates(request_, timeout=30)) == (code, reason)


def test_pages(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit one reply comes in the next ones, each certificate once; all are revoked by the first."""
    monkeypatch.setattr(servicer, "PAGE", 2)
    held = sorted(holding(rig, SpiffeId.parse(BILLING)).serial for _ in range(5))
    stub, page, found = asking(rig), "", []
    for _ in range(3):
        reply = stub.RevokeCertificates(order(spiffe_id=BILLING, page=page), timeout=30)
        assert all(revocation(rig.authority.ledger, serial) for serial in held)
        found += [one.serial for one in reply.certificates]
        page = reply.next_page_token
    assert (found, page) == (held, "")


def test_the_service_replaces_its_own(rig: Rig) -> None:
    """When its own identity is revoked, the service presents another SVID at its next look."""
    before = rig.server.own.serial
    asking(rig).RevokeCertificates(order(spiffe_id="spiffe://example.org/ca"), timeout=30)
    rig.server.refresh()
    assert rig.server.own.serial != before
    assert rig.join().spiffe_id == NODE
