"""Who the node is: from files and from a Workload API, through one contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from certs.errors import BundleError, IdentityRefused, NoIdentity
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid, publish
from certs.tls import BundleFiles, SvidFiles
from certs.workload import following
from certs.workload.endpoint import Endpoint
from certs.workload.source import X509Source
from certs.workload.state import Pick
from gateway import own_identity
from gateway.identity import utc_now
from gateway.identity_watch import Validity, validity
from gateway.own_identity import (
    IdentityFiles,
    IdentityFromWorkloadApi,
    OwnIdentity,
    fit_to_serve,
)
from tests.certificates import IssuedSvid, TestAuthority, cert_pem
from tests.certs.workload.spire import BOUND_S, Spire, der, identity, response, serving

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)
C = TestAuthority("third.org", now=A.now)
NAME = "gateway.example.org"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a source begin anew sooner than it would."""
    monkeypatch.setattr(following, "RETRY_MIN_S", 0.02)


def gateway_svid(authority: TestAuthority = A, **changes: object) -> IssuedSvid:
    """Return an SVID that a node can serve with."""
    return authority.svid("/gateway", **{"dns": (NAME,), **changes})


def message(issued: IssuedSvid | None = None, authority: TestAuthority = A) -> bytes:
    """Return a message of the Workload API, in which two other trust domains are federated."""
    return response(
        identity(authority, issued or gateway_svid(authority), "/gateway"),
        federated={"spiffe://other.org": der(B.root), "spiffe://third.org": der(C.root)},
    )


def trusted(own: OwnIdentity) -> list[str]:
    """Return the trust domains that are believed."""
    return [bundle.trust_domain.name for bundle in own.bundles.all()]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await asyncio.sleep(0.01)


class Rig:
    """An identity from a Workload API, and what it tells."""

    def __init__(self, endpoint: str, others: BundleFiles | None = None, *, wait_s: float = BOUND_S) -> None:
        self.source = X509Source(
            Endpoint.parse(endpoint),
            Pick(trust_domain=TrustDomain("example.org")),
            frozenset({TrustDomain("other.org")}),
            fit_to_serve(development=False),
        )
        self.own = IdentityFromWorkloadApi(
            self.source, others or BundleFiles({}), wait_s=wait_s, development=False, clock=utc_now
        )
        self.told: list[tuple[str, str]] = []

    async def tell(self, what: str, serial: str) -> None:
        """Hear of a renewal."""
        self.told.append((what, serial))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it."""
        task = asyncio.create_task(self.own.run(self.tell))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


@asynccontextmanager
async def followed(
    spire: Spire, folder: Path, others: BundleFiles | None = None
) -> AsyncIterator[tuple[Rig, OwnIdentity]]:
    """Run an identity that is ready."""
    async with serving(spire, folder / "api.sock") as text:
        rig = Rig(text, others)
        async with rig.running():
            await rig.own.ready()
            yield rig, rig.own


async def test_from_a_workload_api(tmp_path: Path) -> None:
    """SVID and bundles come, of the other trust domains the one that is named, and renewals are told."""
    first = gateway_svid()
    async with followed(Spire(message(first)), tmp_path) as (rig, own):
        assert own.svid.serial == f"{first.leaf.serial_number:x}"
        assert (trusted(own), own.faults) == (["example.org", "other.org"], {})
        assert own.source == f"Workload API: unix://{tmp_path}/api.sock"
        assert own.expires_at == first.leaf.not_valid_after_utc
        assert rig.told == []


async def test_renewals_are_told(tmp_path: Path) -> None:
    """A new SVID is told with its serial number, a new bundle as such; the versions grow apart."""
    spire = Spire(message())
    async with followed(spire, tmp_path) as (rig, own):
        versions = own.version, own.bundles.version
        second = gateway_svid()
        spire.say(message(second))
        await until(lambda: bool(rig.told))
        assert rig.told == [("svid", f"{second.leaf.serial_number:x}")]
        assert (own.version, own.bundles.version) == (versions[0] + 1, versions[1])
        renewed = identity(A, second, "/gateway")
        renewed.bundle += der(C.root)
        spire.say(response(renewed))
        await until(lambda: len(rig.told) == 2)
        assert rig.told[1] == ("bundles", "")
        assert trusted(own) == ["example.org"]


async def test_files_of_other_trust_domains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust domains beside the Workload API's stand in files, which are read again; a bad one changes nothing."""
    monkeypatch.setattr(own_identity, "_REFRESH_S", 0.02)
    file = tmp_path / "third.pem"
    file.write_bytes(cert_pem(C.root))
    others = BundleFiles({TrustDomain("third.org"): file})
    spire = Spire(message())
    async with followed(spire, tmp_path, others) as (rig, own):
        assert trusted(own) == ["example.org", "other.org", "third.org"]
        file.write_bytes(b"nothing")
        await until(lambda: "third" in own.faults.get("bundles", ""))
        assert trusted(own) == ["example.org", "other.org", "third.org"]
        file.write_bytes(cert_pem(C.root) + cert_pem(B.root))
        await until(lambda: ("bundles", "") in rig.told)
        bundle = own.bundles.get(TrustDomain("third.org"))
        assert bundle is not None
        assert (len(bundle.authorities), own.faults) == (2, {})


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (message(gateway_svid(dns=())), "no DNS name"),
        (message(gateway_svid(TestAuthority("example.org"))), "no path leads"),
        (message(gateway_svid(B), B), "no identity for this process with the trust domain example.org"),
    ],
)
async def test_what_no_node_can_serve_with(bad: bytes, text: str, tmp_path: Path) -> None:
    """An SVID without a DNS name, or of another trust domain, is not taken up, at the start and later."""
    async with serving(Spire(bad), tmp_path / "bad.sock") as endpoint:
        rig = Rig(endpoint, wait_s=0.3)
        async with rig.running():
            with pytest.raises(NoIdentity, match=text):
                await rig.own.ready()
    spire = Spire(message())
    async with followed(spire, tmp_path) as (_, own):
        before = own.svid
        spire.say(bad)
        await until(lambda: text in own.faults.get("source", ""))
        assert own.svid is before


class Development(TestAuthority):
    """An authority whose root says that it is for development."""

    __test__ = False

    def __init__(self, trust_domain: str = "example.org") -> None:
        super().__init__(trust_domain)
        self.root = self._authority("smsgw development root", self.root_key, path_length=1)
        self.intermediate = self.sub_authority(self.intermediate_key)


async def test_a_development_authority(tmp_path: Path) -> None:
    """A production node refuses the bundle of a development CA, also by the Workload API."""
    authority = Development()
    octets = message(gateway_svid(authority), authority)
    async with serving(Spire(octets), tmp_path / "api.sock") as endpoint:
        rig = Rig(endpoint, wait_s=0.3)
        async with rig.running():
            with pytest.raises(NoIdentity, match="development CA"):
                await rig.own.ready()
        source = X509Source(Endpoint.parse(endpoint), accept=fit_to_serve(development=True))
        async with source:
            await source.ready(BOUND_S)


async def test_a_development_authority_of_another_trust_domain(tmp_path: Path) -> None:
    """Nor does it begin to believe the development CA of another trust domain that is named."""
    octets = response(
        identity(A, gateway_svid(), "/gateway"), federated={"spiffe://other.org": der(Development("other.org").root)}
    )
    async with serving(Spire(octets), tmp_path / "api.sock") as endpoint:
        rig = Rig(endpoint)
        async with rig.running():
            with pytest.raises(BundleError, match=r"other\.org is of a development CA"):
                await rig.own.ready()


async def test_waiting_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that waits says for what, again and again, and gives up with the reason."""
    monkeypatch.setattr(own_identity, "_TELL_S", 0.05)
    caplog.set_level("INFO")
    rig = Rig(f"unix://{tmp_path}/none.sock", wait_s=0.5)
    async with rig.running():
        with pytest.raises(NoIdentity, match=r"none\.sock: it cannot be reached \(UNAVAILABLE"):
            await rig.own.ready()
    waits = [record for record in caplog.records if record.msg == "waiting_for_identity"]
    assert len(waits) > 2
    assert str(tmp_path) in waits[0].__dict__["source"]
    assert "UNAVAILABLE" in waits[-1].__dict__["why"]


async def test_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an identity the node believes nobody, and its SVID has ended; given anew, it goes on."""
    monkeypatch.setattr(following, "DENIED_FOR_S", 0.1)
    spire = Spire(message())
    async with followed(spire, tmp_path) as (_, own):
        spire.refuse(grpc.StatusCode.PERMISSION_DENIED)
        await until(lambda: not trusted(own))
        assert validity(own, utc_now()) is Validity.ENDED
        assert own.svid.facts.dns_names == (NAME,)  # what a handshake is still given
        assert "the Workload API is denied: this process has no identity" in own.faults["source"]
        spire.say(message())
        await until(lambda: trusted(own) == ["example.org", "other.org"])
        assert validity(own, utc_now()) is Validity.GOOD


def in_files(folder: Path, issued: IssuedSvid) -> IdentityFiles:
    """Return an identity in files."""
    bundle = folder / "bundle.pem"
    bundle.write_bytes(cert_pem(A.root))
    publish(X509Svid.from_pem(issued.presented_pem, issued.key_pem), folder / "own.pem", folder / "own.key")
    files = SvidFiles(folder / "own.pem", folder / "own.key")
    return IdentityFiles(files, BundleFiles({TrustDomain("example.org"): bundle}), utc_now)


async def test_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are taken up when they change; a bad one leaves the old in force, and is trouble till then."""
    monkeypatch.setattr(own_identity, "_REFRESH_S", 0.02)
    own = in_files(tmp_path, gateway_svid())
    await own.ready()
    told: list[tuple[str, str]] = []

    async def tell(what: str, serial: str) -> None:
        told.append((what, serial))

    task = asyncio.create_task(own.run(tell))
    renewed = gateway_svid()
    publish(X509Svid.from_pem(renewed.presented_pem, renewed.key_pem), tmp_path / "own.pem", tmp_path / "own.key")
    await until(lambda: told == [("svid", f"{renewed.leaf.serial_number:x}")])
    (tmp_path / "bundle.pem").write_bytes(b"none")
    await until(lambda: "bundle.pem" in own.faults.get("bundles", ""))
    assert trusted(own) == ["example.org"]
    (tmp_path / "bundle.pem").write_bytes(cert_pem(A.root) + cert_pem(B.root))
    await until(lambda: told[1:] == [("bundles", "")])
    assert own.faults == {}
    assert "own.pem" in own.source
    task.cancel()
    await asyncio.wait({task})


async def test_files_of_another_authority(tmp_path: Path) -> None:
    """An SVID that peers would refuse stops the node before it serves."""
    own = in_files(tmp_path, gateway_svid(TestAuthority("example.org")))
    with pytest.raises(IdentityRefused):
        await own.ready()
