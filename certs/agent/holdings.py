"""What the agent holds now: entries, SVIDs, bundle; replaced as a whole, and awaited by whoever streams it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from certs.agent.processes import ProcessFacts
from certs.bundle import Bundle
from certs.svid import X509Svid
from smsgw.v1.certificate_service_pb2 import RegistrationEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """One state.

    Attributes:
        bundle: of the trust domain.
        entries: what is registered at this node, in the order of the registration.
        svids: by SPIFFE ID; some may be missing, or past their end while the authority is away.
        federated: the bundles of other trust domains, as the authority has told them last.
        heard: whether the authority has said what is registered, since this agent started.
    """

    bundle: Bundle
    entries: tuple[RegistrationEntry, ...] = ()
    svids: Mapping[str, X509Svid] = field(default_factory=dict)
    heard: bool = False
    federated: tuple[Bundle, ...] = ()

    @property
    def wants_digest(self) -> bool:
        """Whether an entry looks at executables' digests."""
        return any(entry.sha256 for entry in self.entries)

    def entries_of(self, facts: ProcessFacts) -> tuple[RegistrationEntry, ...]:
        """Return the entries that fit a process, the default first."""
        return tuple(entry for entry in self.entries if facts.fits(entry))

    def bundles_of(self, entries: Sequence[RegistrationEntry]) -> tuple[Bundle, ...]:
        """Return the bundles that a workload with these entries is given: its own trust domain's, and of the others
        those that an entry federates with. Never one bundle of several (SPIFFE Federation §4.2)."""
        wanted = {domain for entry in entries for domain in entry.federates_with}
        return (self.bundle, *(bundle for bundle in self.federated if bundle.trust_domain.name in wanted))

    def valid(self, spiffe_id: str, now: dt.datetime) -> X509Svid | None:
        """Return the SVID of an identity, None when there is none that is valid."""
        svid = self.svids.get(spiffe_id)
        return svid if svid is not None and now < svid.expires_at else None

    def lasts_until(self, now: dt.datetime) -> dt.datetime | None:
        """Return when the first of the valid SVIDs ends; None when there are none."""
        ends = [svid.expires_at for svid in self.svids.values() if now < svid.expires_at]
        return min(ends, default=None)


class Holder:
    """The state now. Read and replaced on one event loop."""

    def __init__(self, first: Holdings) -> None:
        self.now = first
        self._changed = asyncio.Event()

    def replace(self, holdings: Holdings) -> None:
        """Hold another state from now on, and wake whoever waits."""
        self.now = holdings
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed_from(self, seen: Holdings) -> None:
        """Return when the state is another one than `seen`."""
        while self.now is seen:
            await self._changed.wait()
