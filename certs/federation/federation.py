"""Keeps the bundles of other trust domains: one task for each, which fetches, judges, keeps and tells.

What is held is in force from the start, however long ago it was fetched, until it is too old; a trust domain of which
nothing is held, or whose bundle is too old, is not among `bundles`: nobody of it is believed. It owns no socket and no
rule: those are `certs.federation.fetching` and `certs.federation.relationship`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from certs.bundle import MAX_BUNDLE_BYTES, Bundle, TrustBundles
from certs.errors import BundleError, CertsError, FetchFailed, Reason, SequenceRefused
from certs.federation.endpoint import Endpoint
from certs.federation.fetching import BundleOf, Clock, Fetcher
from certs.federation.keeping import Shelf
from certs.federation.relationship import Note, Origin, Relationship, Terms
from certs.spiffe_id import TrustDomain
from certs.svid import read_bounded

Fetch: TypeAlias = Callable[[Endpoint], Awaitable[Bundle]]

_LOG = logging.getLogger(__name__)
_AT_ONCE: Final = 4  # fetches
_LOOK_S: Final = 1.0  # how often ages are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A trust domain to federate with.

    Attributes:
        endpoint: where its bundle is.
        terms: how often that is fetched, and how long it lasts.
        bootstrap_file: the operator's copy to begin with, PEM or SPIFFE JSON; None for none.
    """

    endpoint: Endpoint
    terms: Terms
    bootstrap_file: Path | None = None


class Happening(enum.StrEnum):
    """What may be told."""

    TAKEN = "TAKEN"  # other keys count from now on
    ODD = "ODD"  # a bundle was taken, and something about it is not as it should be
    FAILED = "FAILED"  # a fetch failed, otherwise than the one before it
    BACK = "BACK"  # a fetch succeeded after failures
    STALE = "STALE"  # what is held has become too old: nobody of that trust domain is believed
    NOT_KEPT = "NOT_KEPT"  # what is in force could not be put on disk, or not read from there


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened.

    Attributes:
        kind: what.
        trust_domain: to whose bundle.
        text: for people.
        reason: stable; of a failure.
        digest: SHA-256 of the keys that count now, hexadecimal; "" for none.
    """

    kind: Happening
    trust_domain: TrustDomain
    text: str
    reason: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How it stands with one trust domain.

    Attributes:
        trust_domain, url, profile: the configuration.
        trusted: whether somebody of it may be believed.
        authorities: how many X.509 authorities are held.
        sequence: of the bundle held; None when it has none.
        age_s: how long ago that was last seen; None when nothing is held.
        origin: where; "" when nothing is held.
        failures: fetches that failed since the last success.
        reason, failure: why the last one did; "" after a success.
    """

    trust_domain: str
    url: str
    profile: str
    trusted: bool
    authorities: int
    sequence: int | None
    age_s: float | None
    origin: str
    failures: int
    reason: str
    failure: str


class Federation:
    """All of them: `bundles` is what counts. Belongs to one event loop; what it holds may be read on any thread."""

    def __init__(
        self,
        members: Sequence[Member],
        folder: Path,
        clock: Clock,
        *,
        others: BundleOf,
        tell: Callable[[Event], None],
        judge: Callable[[Bundle], None] = lambda _: None,
        fetch: Fetch | None = None,
    ) -> None:
        """Take up what was kept, and the operator's files. It writes nothing.

        Args:
            members: the trust domains, each once.
            folder: where bundles are kept.
            clock: the time, aware.
            others: the bundles of trust domains that are no members: for endpoints which prove one of their SVIDs.
            tell: is told what happens; may be called from here.
            judge: raises BundleError for a bundle that is not to be taken.
            fetch: fetches a bundle; `Fetcher` when left out.

        Raises BundleError, SvidFileError for a file of the operator that cannot be used.
        """
        self._clock, self._others, self._tell, self._judge = clock, others, tell, judge
        self._shelf = Shelf(folder)
        self._fetch = fetch or Fetcher(self.bundle_of, clock).fetch
        self._members = {member.endpoint.trust_domain: member for member in members}
        if len(self._members) != len(members):
            raise BundleError("a trust domain is federated with twice")
        self._unkept: set[TrustDomain] = set()  # what is held and not on disk yet: making this writes nothing
        self._with = {domain: self._begun(member) for domain, member in self._members.items()}
        self.bundles = TrustBundles(self._current())
        self._trusted = self._digests()
        self.fetches: Counter[tuple[str, str]] = Counter()  # by (trust domain, outcome)

    def _begun(self, member: Member) -> Relationship:
        """Return the relationship as it was kept; its operator's file counts when it is another than before."""
        domain = member.endpoint.trust_domain
        relationship = Relationship(member.terms)
        try:
            relationship.held = self._shelf.load(domain)
        except CertsError as refused:
            self._say(Happening.NOT_KEPT, domain, f"what was kept is left aside: {refused}")
        if member.bootstrap_file is not None:
            content = read_bounded(member.bootstrap_file, MAX_BUNDLE_BYTES)
            if self._bootstrapped(member, relationship, content):
                self._unkept.add(domain)
        return relationship

    def _bootstrapped(self, member: Member, relationship: Relationship, content: bytes) -> bool:
        """Take the operator's file, if it is another than before; says whether it was. Raises BundleError."""
        digest = hashlib.sha256(content).hexdigest()
        if relationship.held is not None and relationship.held.bootstrap == digest:
            return False
        try:
            bundle = Bundle.parse(member.endpoint.trust_domain, content)
            self._judge(bundle)
        except BundleError as refused:
            raise BundleError(f"{member.bootstrap_file}: {refused}") from refused
        return relationship.bootstrapped(bundle, digest, self._clock())

    def _current(self) -> list[Bundle]:
        now = self._clock()
        found = (relationship.trusted(now) for relationship in self._with.values())
        return [bundle for bundle in found if bundle is not None]

    def bundle_of(self, trust_domain: TrustDomain) -> Bundle | None:
        """Return the latest bundle of a trust domain, however old: what its endpoint is verified with
        (SPIFFE Federation §5.2.2.4)."""
        relationship = self._with.get(trust_domain)
        if relationship is None:
            return self._others(trust_domain)
        return None if relationship.held is None else relationship.held.bundle

    def standings(self) -> list[Standing]:
        """Return how it stands with each."""
        now = self._clock()
        return [
            _standing(member, self._with[domain], now, trusted=self.bundles.get(domain) is not None)
            for domain, member in self._members.items()
        ]

    async def run(self) -> None:
        """Keep all of them until cancelled."""
        places = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for member in self._members.values():
                tasks.create_task(self._follow(member, places))
            if self._members:
                tasks.create_task(self._keep_looking())

    async def _follow(self, member: Member, places: asyncio.Semaphore) -> None:
        random = secrets.SystemRandom()
        relationship = self._with[member.endpoint.trust_domain]
        while True:
            try:
                async with places:
                    await self.refresh(member.endpoint.trust_domain)
            except Exception as defect:  # the top of the task: a defect here ages the bundle, and does not end the node
                _LOG.exception("a bundle could not be refreshed")
                self._failed(
                    member.endpoint.trust_domain, relationship, FetchFailed(f"defect: {type(defect).__name__}")
                )
            await asyncio.sleep(relationship.next_in_s(random.random()))

    async def refresh(self, trust_domain: TrustDomain) -> None:
        """Fetch the bundle of one trust domain, and tell what came of it."""
        member, relationship = self._members[trust_domain], self._with[trust_domain]
        try:
            await self._look_at_file(member, relationship)
            bundle = await self._fetch(member.endpoint)
            self._judge(bundle)
            failures, before = relationship.failures, relationship.failure
            taken = relationship.received(bundle, self._clock())
        except CertsError as refused:
            self._failed(trust_domain, relationship, refused)
            return
        self.fetches[trust_domain.name, "taken" if taken.changed else "same"] += 1
        if failures and before is not None:
            self._say(Happening.BACK, trust_domain, f"the endpoint answers again, after {failures} failures")
        for note in taken.notes:
            self._say(Happening.ODD, trust_domain, _NOTES[note], reason=note.value)
        await self._keep(relationship)
        self.look()

    async def _look_at_file(self, member: Member, relationship: Relationship) -> None:
        """Take the operator's file when it has changed, and keep it, with when that was, before anything is fetched.

        Raises BundleError, SvidFileError.
        """
        domain = member.endpoint.trust_domain
        if member.bootstrap_file is None:
            return
        content = await asyncio.to_thread(read_bounded, member.bootstrap_file, MAX_BUNDLE_BYTES)
        if self._bootstrapped(member, relationship, content) or domain in self._unkept:
            self._unkept.discard(domain)
            await self._keep(relationship)

    def _failed(self, trust_domain: TrustDomain, relationship: Relationship, refused: CertsError) -> None:
        outcome = "refused" if isinstance(refused, SequenceRefused) else "failed"
        self.fetches[trust_domain.name, outcome] += 1
        if relationship.failed(refused.reason, str(refused)):
            self._say(Happening.FAILED, trust_domain, str(refused), reason=refused.reason.value)
        self.look()

    async def _keep(self, relationship: Relationship) -> None:
        """Put what is held on disk. It counts all the same when that fails."""
        if relationship.held is None:
            return
        try:
            await asyncio.to_thread(self._shelf.save, relationship.held)
        except CertsError as refused:
            self._say(Happening.NOT_KEPT, relationship.held.bundle.trust_domain, str(refused))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Have `bundles` be what counts now, and tell of what has changed since it was looked last."""
        before, self._trusted = self._trusted, self._digests()
        if self._trusted == before:
            return
        self.bundles.replace(self._current())
        for domain, digest in self._trusted.items():
            if digest == before[domain]:
                continue
            if digest:
                self._say(Happening.TAKEN, domain, self._words_of(domain), digest=digest)
            else:
                age = self._members[domain].terms.max_age_s
                text = f"no fetch succeeded within {age:g} s: nobody of {domain} is believed until one does"
                self._say(Happening.STALE, domain, text, reason=Reason.UNTRUSTED.value)

    def digests(self) -> Mapping[str, str]:
        """Return SHA-256 of the keys that count, hexadecimal, by trust domain; "" where none do."""
        return {domain.name: digest for domain, digest in self._trusted.items()}

    def _digests(self) -> dict[TrustDomain, str]:
        now = self._clock()
        return {domain: relationship.digest(now) for domain, relationship in self._with.items()}

    def _words_of(self, domain: TrustDomain) -> str:
        held = self._with[domain].held
        if held is None:
            return "nothing is held"
        count, sequence = len(held.bundle.authorities), held.bundle.sequence
        stated = "no sequence" if sequence is None else f"sequence {sequence}"
        whence = "its endpoint" if held.origin is Origin.ENDPOINT else "the operator's file"
        return f"the bundle of {domain} from {whence} counts: {count} authorities, {stated}"

    def _say(
        self, kind: Happening, trust_domain: TrustDomain, text: str, *, reason: str = "", digest: str = ""
    ) -> None:
        self._tell(Event(kind=kind, trust_domain=trust_domain, text=text, reason=reason, digest=digest))


_NOTES: Final = {
    Note.EMPTY: "its bundle has no X.509 authority: every one is revoked, and nobody of it is believed",
    Note.SAME_SEQUENCE: "its bundle has other keys under the same spiffe_sequence: the newest counts; ask its operator",
    Note.NO_SEQUENCE: "its bundle states no spiffe_sequence any more: an old copy could not be told from a new one",
}


def _standing(member: Member, relationship: Relationship, now: dt.datetime, *, trusted: bool) -> Standing:
    held, failure = relationship.held, relationship.failure
    return Standing(
        trust_domain=member.endpoint.trust_domain.name,
        url=str(member.endpoint.location),
        profile=member.endpoint.profile.value,
        trusted=trusted,
        authorities=0 if held is None else len(held.bundle.authorities),
        sequence=None if held is None else held.bundle.sequence,
        age_s=relationship.age_s(now),
        origin="" if held is None else held.origin.value,
        failures=relationship.failures,
        reason="" if failure is None else failure.reason.value,
        failure="" if failure is None else failure.text,
    )
