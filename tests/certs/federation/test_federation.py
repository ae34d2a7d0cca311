"""The keeping of other trust domains: what counts at the start, after fetches, failures, ages and restarts."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from certs.bundle import Bundle
from certs.errors import BundleError, FetchFailed, Reason, SvidFileError
from certs.federation.endpoint import Endpoint, parse_url
from certs.federation.federation import Event, Federation, Happening, Member
from certs.federation.relationship import Terms, keys_digest
from certs.spiffe_id import TrustDomain
from tests.certificates import TestAuthority, cert_pem

DOMAIN, OTHER = TrustDomain("partner.example"), TrustDomain("other.example")
ONE, TWO = TestAuthority("partner.example"), TestAuthority("partner.example")
TERMS = Terms(refresh_min_s=60, refresh_max_s=3600, max_age_s=86_400)
NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)


def bundle(sequence: int | None, *authorities: TestAuthority) -> Bundle:
    """Return a bundle of partner.example."""
    return Bundle(trust_domain=DOMAIN, authorities=tuple(found.root for found in authorities), sequence=sequence)


@dataclass(kw_only=True)
class Rig:
    """A federation with one trust domain, the endpoint of which serves what a test says."""

    folder: Path
    bootstrap: Path | None = None
    judge: Callable[[Bundle], None] = lambda _: None
    now: dt.datetime = NOW
    serves: Bundle | Exception | None = None
    events: list[Event] = field(default_factory=list)
    fetched: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> Federation:
        """Make it, as a start of the process does."""
        endpoint = Endpoint(trust_domain=DOMAIN, location=parse_url("https://partner.example/bundle.json"))
        return Federation(
            [Member(endpoint=endpoint, terms=TERMS, bootstrap_file=self.bootstrap)],
            self.folder / "federation",
            lambda: self.now,
            others=lambda _: None,
            tell=self.events.append,
            judge=self.judge,
            fetch=self._fetch,
        )

    async def _fetch(self, endpoint: Endpoint) -> Bundle:
        assert endpoint.trust_domain == DOMAIN
        self.fetched.set()
        if isinstance(self.serves, Exception):
            raise self.serves
        if self.serves is None:
            raise FetchFailed("no route")
        return self.serves

    def told(self) -> list[tuple[str, str]]:
        """Return what was told since it was asked last: kinds and reasons."""
        told = [(event.kind.value, event.reason) for event in self.events]
        self.events.clear()
        return told

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += dt.timedelta(seconds=seconds)


async def test_from_nothing(tmp_path: Path) -> None:
    """Nobody is trusted until the first fetch succeeds, and a failure says why."""
    rig = Rig(folder=tmp_path)
    federation = rig.start()
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == ()
    assert rig.told() == [("FAILED", "UNREACHABLE")]
    (standing,) = federation.standings()
    assert (standing.trusted, standing.failures, standing.failure) == (False, 1, "no route")
    rig.serves = bundle(1, ONE)
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(1, ONE),)
    assert rig.told() == [("BACK", ""), ("TAKEN", "")]
    assert federation.bundles.version == 2
    (standing,) = federation.standings()
    assert (standing.trusted, standing.authorities, standing.sequence, standing.age_s) == (True, 1, 1, 0)
    assert (standing.failures, standing.reason, standing.origin) == (0, "", "endpoint")


async def test_replaced(tmp_path: Path) -> None:
    """Another bundle replaces the one before; the same again changes nothing, but counts as seen."""
    rig = Rig(folder=tmp_path, serves=bundle(1, ONE))
    federation = rig.start()
    await federation.refresh(DOMAIN)
    rig.told()
    rig.later(60)
    await federation.refresh(DOMAIN)
    assert (rig.told(), federation.bundles.version) == ([], 2)
    assert federation.standings()[0].age_s == 0
    rig.serves = bundle(2, TWO)
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(2, TWO),)
    assert rig.events[0].digest == keys_digest(bundle(2, TWO))
    assert (rig.told(), federation.bundles.version) == ([("TAKEN", "")], 3)
    assert federation.fetches == {("partner.example", "taken"): 2, ("partner.example", "same"): 1}


async def test_failures_leave_it_until_it_is_too_old(tmp_path: Path) -> None:
    """What is held counts through failures, which are told once, until the maximum age; then nobody is believed."""
    rig = Rig(folder=tmp_path, serves=bundle(1, ONE))
    federation = rig.start()
    await federation.refresh(DOMAIN)
    rig.told()
    rig.serves = FetchFailed("expired", reason=Reason.ENDPOINT_TLS)
    for _ in range(3):
        rig.later(28_800)
        await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(1, ONE),)
    assert rig.told() == [("FAILED", "ENDPOINT_TLS")]
    rig.later(1)
    federation.look()
    federation.look()
    assert federation.bundles.all() == ()
    assert (rig.told(), federation.bundles.version) == ([("STALE", "UNTRUSTED")], 3)
    rig.serves = bundle(1, ONE)
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(1, ONE),)
    assert (rig.told(), federation.bundles.version) == ([("BACK", ""), ("TAKEN", "")], 4)


async def test_rollback(tmp_path: Path) -> None:
    """An older bundle is refused, told and counted, and what is held stays."""
    rig = Rig(folder=tmp_path, serves=bundle(5, TWO))
    federation = rig.start()
    await federation.refresh(DOMAIN)
    rig.told()
    rig.serves = bundle(4, ONE)
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(5, TWO),)
    assert rig.told() == [("FAILED", "SEQUENCE")]
    assert federation.fetches["partner.example", "refused"] == 1


async def test_rollback_over_a_restart(tmp_path: Path) -> None:
    """After a restart what was held counts at once, and an older bundle is refused as before."""
    rig = Rig(folder=tmp_path, serves=bundle(5, TWO))
    await rig.start().refresh(DOMAIN)
    rig.serves = bundle(4, ONE)
    restarted = rig.start()
    assert restarted.bundles.all() == (bundle(5, TWO),)
    await restarted.refresh(DOMAIN)
    assert restarted.bundles.all() == (bundle(5, TWO),)
    assert ("FAILED", "SEQUENCE") in rig.told()


async def test_old_at_the_start(tmp_path: Path) -> None:
    """What was kept longer ago than the maximum age does not count after a restart either."""
    rig = Rig(folder=tmp_path, serves=bundle(5, TWO))
    await rig.start().refresh(DOMAIN)
    rig.later(86_401)
    restarted = rig.start()
    assert restarted.bundles.all() == ()
    assert restarted.bundle_of(DOMAIN) == bundle(5, TWO)  # its endpoint can still prove itself


async def test_emptied(tmp_path: Path) -> None:
    """A bundle that was emptied counts at once, empty, and is told."""
    rig = Rig(folder=tmp_path, serves=bundle(1, ONE))
    federation = rig.start()
    await federation.refresh(DOMAIN)
    rig.told()
    rig.serves = bundle(2)
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(2),)
    assert rig.told() == [("ODD", "EMPTY"), ("TAKEN", "")]
    assert federation.standings()[0].authorities == 0


async def test_judged(tmp_path: Path) -> None:
    """What the judge refuses is not taken: not from the endpoint, and not from a file."""

    def judge(found: Bundle) -> None:
        if TWO.root in found.authorities:
            raise BundleError("for development")

    rig = Rig(folder=tmp_path, serves=bundle(1, TWO), judge=judge)
    federation = rig.start()
    await federation.refresh(DOMAIN)
    assert (federation.bundles.all(), rig.told()) == ((), [("FAILED", "BUNDLE")])
    rig.bootstrap = tmp_path / "first.pem"
    rig.bootstrap.write_bytes(TWO.bundle_pem)
    with pytest.raises(BundleError, match=r"first\.pem: for development"):
        rig.start()


async def test_bootstrap(tmp_path: Path) -> None:
    """The operator's file counts from the start; once the endpoint answered, not even a restart brings it back."""
    file = tmp_path / "first.pem"
    file.write_bytes(ONE.bundle_pem)
    rig = Rig(folder=tmp_path, bootstrap=file)
    federation = rig.start()
    assert federation.bundles.all() == (bundle(None, ONE),)
    assert federation.standings()[0].origin == "file"
    rig.serves = bundle(1, TWO)
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(1, TWO),)
    assert rig.start().bundles.all() == (bundle(1, TWO),)


async def test_bootstrap_without_an_endpoint_ends(tmp_path: Path) -> None:
    """A file that no endpoint ever confirms is no bundle for good, and restarting does not make it younger."""
    file = tmp_path / "first.pem"
    file.write_bytes(ONE.bundle_pem)
    rig = Rig(folder=tmp_path, bootstrap=file)
    await rig.start().refresh(DOMAIN)
    rig.later(50_000)
    assert rig.start().bundles.all() != ()
    rig.later(50_000)
    assert rig.start().bundles.all() == ()


async def test_bootstrap_anew(tmp_path: Path) -> None:
    """A changed file is the operator's word: it counts at the next look, below the sequence of before too."""
    file = tmp_path / "first.json"
    file.write_bytes(bundle(9, ONE).to_jwks())
    rig = Rig(folder=tmp_path, bootstrap=file, serves=FetchFailed("no route"))
    federation = rig.start()
    file.write_bytes(bundle(2, TWO).to_jwks())
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(2, TWO),)
    rig.serves = bundle(3, ONE)
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(3, ONE),)
    file.write_bytes(cert_pem(ONE.root)[:40])
    rig.told()
    await federation.refresh(DOMAIN)
    assert (federation.bundles.all(), rig.told()) == ((bundle(3, ONE),), [("FAILED", "BUNDLE")])


def test_making_it_writes_nothing(tmp_path: Path) -> None:
    """What has to be kept is kept once it runs: whoever makes it may be looking only."""
    file = tmp_path / "first.pem"
    file.write_bytes(ONE.bundle_pem)
    Rig(folder=tmp_path, bootstrap=file).start()
    assert list(tmp_path.iterdir()) == [file]


def test_bootstrap_missing(tmp_path: Path) -> None:
    """A file that is configured and not there stops the start."""
    with pytest.raises(SvidFileError, match=r"first\.pem"):
        Rig(folder=tmp_path, bootstrap=tmp_path / "first.pem").start()


async def test_damaged(tmp_path: Path) -> None:
    """What was kept and is damaged is left aside and told; nobody is believed until a fetch succeeds."""
    rig = Rig(folder=tmp_path, serves=bundle(1, ONE))
    await rig.start().refresh(DOMAIN)
    rig.told()
    next((tmp_path / "federation").iterdir()).write_text("{")
    federation = rig.start()
    assert (federation.bundles.all(), rig.told()) == ((), [("NOT_KEPT", "")])
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(1, ONE),)


async def test_not_kept(tmp_path: Path) -> None:
    """A bundle that cannot be put on disk counts all the same, and that is told."""
    (tmp_path / "federation").write_text("no folder")
    rig = Rig(folder=tmp_path, serves=bundle(1, ONE))
    federation = rig.start()
    await federation.refresh(DOMAIN)
    assert federation.bundles.all() == (bundle(1, ONE),)
    assert rig.told() == [("NOT_KEPT", ""), ("TAKEN", "")]


def test_twice(tmp_path: Path) -> None:
    """A trust domain has one endpoint."""
    endpoint = Endpoint(trust_domain=DOMAIN, location=parse_url("https://partner.example/bundle.json"))
    member = Member(endpoint=endpoint, terms=TERMS)
    with pytest.raises(BundleError, match="twice"):
        Federation([member, member], tmp_path, lambda: NOW, others=lambda _: None, tell=lambda _: None)


def test_bundles_of_others(tmp_path: Path) -> None:
    """An endpoint may prove an SVID of a trust domain that is no member: its bundle is had elsewhere."""
    federation = Federation([], tmp_path, lambda: NOW, others={OTHER: bundle(1, ONE)}.get, tell=lambda _: None)
    assert federation.bundle_of(OTHER) == bundle(1, ONE)
    assert federation.bundle_of(DOMAIN) is None


async def test_run(tmp_path: Path) -> None:
    """It fetches by itself, outlives a defect in a fetch, and ends when it is cancelled."""
    rig = Rig(folder=tmp_path, serves=RuntimeError("a defect"))
    federation = rig.start()
    task = asyncio.create_task(federation.run())
    async with asyncio.timeout(30):
        await rig.fetched.wait()
        while not rig.events:
            await asyncio.sleep(0)
    assert rig.told() == [("FAILED", "UNREACHABLE")]
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_run_looks_at_ages(tmp_path: Path) -> None:
    """A bundle becomes too old while nothing is fetched, and that is seen within seconds."""
    rig = Rig(folder=tmp_path, serves=bundle(1, ONE))
    federation = rig.start()
    task = asyncio.create_task(federation.run())
    async with asyncio.timeout(30):
        while not federation.bundles.all():
            await asyncio.sleep(0.01)
        rig.later(86_401)
        while Happening.STALE not in {event.kind for event in rig.events}:
            await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert federation.bundles.all() == ()
