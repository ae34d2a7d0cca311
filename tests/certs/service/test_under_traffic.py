"""Authorities rotate and are tainted, and certificates are revoked, while nodes call: only the revoked ones fail."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import pytest

from certs.ca import rotation
from certs.ca.crl_profile import DEFAULT_LIFETIME
from certs.ca.crl_publisher import CrlPublisher
from certs.ca.revocations import Code, Order, revoke_serial
from certs.service.rates import Rate
from certs.service.servicer import Rates
from certs.service.status import reason_of
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid
from smsgw.v1 import certificate_service_pb2 as pb
from smsgw.v1 import certificate_service_pb2_grpc as rpc
from tests.certificates import new_key
from tests.certs.ca.requests import csr
from tests.certs.service.rig import DOMAIN, NODE, Rig, real_now, svid_of
from tests.certs.service.test_service import BILLING

WEB2 = SpiffeId(DOMAIN, "/node/web2")
ROUNDS = 8
_PLENTY = Rate(per_s=100_000.0, burst=100_000)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Run a service that limits nobody."""
    running = Rig.start(tmp_path, rates=Rates(callers=_PLENTY, joining=_PLENTY))
    yield running
    running.server.stop()


@dataclass(kw_only=True)
class Node:
    """A node that calls without a pause, as an agent does: told of another authority, it renews."""

    rig: Rig
    svid: X509Svid
    stop: threading.Event = field(default_factory=threading.Event)
    calls: int = 0
    renewed: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Call until told to stop; what fails is kept."""
        stub = self.rig.stub(self.svid)
        while not self.stop.is_set():
            try:
                state = stub.SyncNode(pb.SyncNodeRequest(), timeout=30)
                if state.authority_key_id != self.svid.authority_key_id:
                    stub = self._renew()
                stub.IssueCertificate(pb.IssueCertificateRequest(spiffe_id=BILLING, csr=csr()), timeout=30)
                self.calls += 2
            except grpc.RpcError as refused:
                if reason_of(refused) != "AUTHORITY_STATE":  # tainted meanwhile: what a node then does is renew
                    self.failures.append(f"{refused.code()} {reason_of(refused)} {refused.details()}")
                    return
                stub = self._renew()

    def _renew(self) -> rpc.CertificateServiceStub:
        key = new_key()
        reply = self.rig.stub(self.svid).RenewCertificate(pb.RenewCertificateRequest(csr=csr(key)), timeout=30)
        self.svid, self.renewed = svid_of(reply.certificate, key), self.renewed + 1
        return self.rig.stub(self.svid)


def refused(call: Callable[[], object]) -> str:
    """Return the reason of a call that must be refused."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    return reason_of(error.value)


def test_rotations_taints_and_revocations(rig: Rig, tmp_path: Path) -> None:
    """In each round another authority issues, one node's certificate is revoked, and the other nodes notice nothing."""
    nodes = [Node(rig=rig, svid=rig.join(NODE)) for _ in range(2)]
    threads = [threading.Thread(target=node.run) for node in nodes]
    publisher = CrlPublisher(rig.authority, tmp_path / "crl", DEFAULT_LIFETIME)
    for thread in threads:
        thread.start()
    revoked: list[X509Svid] = []
    try:
        for number in range(ROUNDS):
            if number % 4 == 3:
                moment = real_now() + dt.timedelta(seconds=1)  # the record counts whole seconds
                rotation.taint(rig.authority, rig.authority.active, moment, moment)
            else:
                rotation.activate(rig.authority, real_now())
            rig.server.refresh()
            rotation.prepare(rig.authority, tmp_path / "root", real_now())
            victim = rig.join(WEB2)
            order = Order(code=Code.KEY_COMPROMISE, reason="stolen", asked_by="me")
            revoke_serial(rig.authority.ledger, victim.serial, order, real_now())
            assert publisher.refresh(real_now()).failed == ()
            assert victim.serial in publisher.published[victim.authority_key_id].serials
            revoked.append(victim)
            for gone in revoked:
                assert refused(partial(rig.stub(gone).SyncNode, pb.SyncNodeRequest(), timeout=30)) == "REVOKED"
    finally:
        for node in nodes:
            node.stop.set()
        for thread in threads:
            thread.join(60)
    assert [node.failures for node in nodes] == [[], []]
    assert all(node.calls >= 2 * ROUNDS and node.renewed >= 2 for node in nodes), [node.calls for node in nodes]
