"""What the list names, asked over real TLS: authorities that cannot be evaded, and certificates before and after."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from certs.svid import X509Svid
from certs.verify import public_key_hash
from gateway.api.revocation_requests import entry_of
from gateway.errors import Unauthenticated
from gateway.identity import CallerResolver
from gateway.revocation.dating import CLOCK, Dated, cutoff_of
from gateway.revocation.entries import NEVER
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.message_service_pb2 import ListMessagesRequest
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.certificates import IssuedSvid, cert_pem
from tests.gateway.api.refusals import from_error
from tests.gateway.api.rig import AUTHORITY, TIMEOUT_S, Rig, running_rig
from tests.gateway.revocation.samples import NOW, SECOND, authority, certificate, deny_list

WHO = "spiffe://example.org/payments/api"
PATH = "/payments/api"
REVOKED = (grpc.StatusCode.UNAUTHENTICATED, "REVOKED")
OK = (grpc.StatusCode.OK, "")
SPIRE = Dated(backdating=10 * SECOND, longest=3600 * SECOND)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run an API."""
    async with running_rig(tmp_path) as running:
        yield running


async def outcome(rig: Rig, svid: IssuedSvid) -> tuple[grpc.StatusCode, str]:
    """Call with an SVID; how that ends."""
    stub: Any = MessageServiceStub(rig.channel(svid))
    try:
        await stub.ListMessages(ListMessagesRequest(), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:  # TLS itself has refused it
            return error.code(), ""
        refused = from_error(error)
        return refused.code, refused.reason
    return OK


async def test_a_tainted_authority_cannot_be_evaded(rig: Rig) -> None:
    """Not by another key id in the leaf, nor by another certificate for the same key; what another authority has signed
    passes, unless that is below a tainted one."""
    tainted = authority(public_key_hash(AUTHORITY.intermediate))
    rig.revoked.apply(deny_list(tainted))
    plain = AUTHORITY.svid(PATH)
    assert await outcome(rig, plain) == REVOKED
    forged = AUTHORITY.svid(PATH, authority_key_id=b"\x11" * 20)
    assert await outcome(rig, forged) != OK  # TLS finds no path already
    with pytest.raises(Unauthenticated, match="authority"):  # nor would the node, where TLS is more lenient
        CallerResolver(rig.bundles, lambda _: "payments").resolve(forged.auth_context())
    without = AUTHORITY.svid(PATH, authority_key_id=False)
    assert (await outcome(rig, without))[0] is grpc.StatusCode.UNAUTHENTICATED
    issued_anew = cert_pem(AUTHORITY.sub_authority(AUTHORITY.intermediate_key))
    again = IssuedSvid(leaf_pem=plain.leaf_pem, chain_pem=issued_anew, key_pem=plain.key_pem)
    assert again.chain_pem != plain.chain_pem
    rig.bundles.replace(rig.bundles.all())  # nothing is remembered of the leaf
    assert await outcome(rig, again) == REVOKED
    by_root = AUTHORITY.svid(PATH, by_root=True)
    assert await outcome(rig, by_root) == OK
    rig.revoked.apply(deny_list(authority(public_key_hash(AUTHORITY.root))))
    assert await outcome(rig, by_root) == await outcome(rig, plain) == REVOKED


async def test_an_authority_is_not_named_by_a_key_id(rig: Rig) -> None:
    """The certificates that an entry names are those of one serial number: a key id alone taints nothing."""
    svid = AUTHORITY.svid(PATH)
    facts = X509Svid.from_pem(svid.presented_pem, svid.key_pem).facts
    rig.revoked.apply(deny_list(certificate(facts.serial, facts.authority_key_id)))
    assert await outcome(rig, svid) == REVOKED
    assert await outcome(rig, AUTHORITY.svid(PATH)) == OK


@pytest.mark.parametrize(
    ("issued_after_s", "dated", "passes"),
    [
        (-1800, SPIRE, False),  # what a thief has
        (-1, SPIRE, False),
        (1, SPIRE, False),  # an authority's clock may be ahead of ours
        (4, SPIRE, True),
        (4, Dated(), False),  # nothing is known of the backdating: on the side of refusing
        (13, Dated(), True),
    ],
)
async def test_a_foreign_identity_by_when_it_was_issued(
    rig: Rig, issued_after_s: int, dated: Dated, passes: bool
) -> None:
    """The authority dates back by ten seconds: leaves issued up to the revocation are refused, later ones pass."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    revoked_at = now - dt.timedelta(seconds=60)
    target = pb.RevocationTarget(identity=pb.IdentityTarget(spiffe_id=WHO))
    at = int(revoked_at.timestamp()) * SECOND
    rig.revoked.apply(deny_list(entry_of(target, 0, lambda _: dated, by="", reason="stolen", now=at)))
    issued = revoked_at + dt.timedelta(seconds=issued_after_s)
    svid = AUTHORITY.svid(PATH, not_before=issued - dt.timedelta(seconds=10))
    assert await outcome(rig, svid) == (OK if passes else REVOKED)


def test_the_cutoff() -> None:
    """It ends when the longest of the certificates that it names has; that is not known of every authority."""
    assert cutoff_of(SPIRE, NOW) == (NOW + CLOCK - 10 * SECOND, NOW + CLOCK + 3590 * SECOND)
    assert cutoff_of(Dated(), NOW) == (NOW + CLOCK, NEVER)
    assert cutoff_of(Dated(backdating=NOW * 2), NOW)[0] == 0
