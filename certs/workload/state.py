"""From one message of the Workload API to what a workload holds (Workload API §4.3 to §4.6, §5.2, §5.3).

A message is the whole state: what is absent in it is taken away. One identity of it is kept, and it has to be right in
every respect, as a peer would see it: the strict grammar, the key that fits, a path to the bundle of its own trust
domain, now. The bundle of another trust domain that cannot be read concerns that trust domain alone: the one before
stays, and that is told.

It is sans-IO: octets, what is held, and `now` in; a state or an exception out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from certs import der
from certs.bundle import MAX_AUTHORITIES, Bundle, TrustBundles
from certs.errors import BadSpiffeId, BadUpdate, BundleError, CertsError, NoIdentity, SvidFileError
from certs.pem import MAX_CHAIN
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.verify import verify_peer
from certs.workload.messages import Offer, OfferedSvid

MAX_IDENTITIES = 64
MAX_FEDERATED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Which identity of several is meant: the first that fits everything given here; nothing given, the default one.

    Attributes:
        spiffe_id: exactly this identity.
        hint: the one with this hint (Workload API §5.2.1).
        trust_domain: one of this trust domain.
    """

    spiffe_id: SpiffeId | None = None
    hint: str = ""
    trust_domain: TrustDomain | None = None

    def fits(self, offered: OfferedSvid) -> bool:
        """Say whether an identity is meant, by its own words: `state_of` checks them."""
        if self.hint and offered.hint != self.hint:
            return False
        if self.spiffe_id is not None and offered.spiffe_id != str(self.spiffe_id):
            return False
        return self.trust_domain is None or offered.spiffe_id.startswith(f"{self.trust_domain.spiffe_id}/")

    def __str__(self) -> str:
        wanted = [
            f"the SPIFFE ID {self.spiffe_id}" if self.spiffe_id else "",
            f"the hint {self.hint!a}" if self.hint else "",
            f"the trust domain {self.trust_domain}" if self.trust_domain else "",
        ]
        return " and ".join(filter(None, wanted)) or "the default"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadState:
    """What a workload holds.

    Attributes:
        svid: its SVID, verified.
        hint: what the Workload API says it is for; empty for nothing.
        valid_until: the last second in which every certificate on its path is valid, UTC.
        bundle: of its own trust domain.
        federated: of other trust domains, by name.
        complaints: what of the message was not taken over, for people.
    """

    svid: X509Svid
    hint: str
    valid_until: dt.datetime
    bundle: Bundle
    federated: tuple[Bundle, ...] = ()
    complaints: tuple[str, ...] = ()


def state_of(
    offer: Offer,
    pick: Pick,
    before: WorkloadState | None,
    now: dt.datetime,
    wanted: frozenset[TrustDomain] | None = None,
) -> WorkloadState:
    """Return the state that a message gives.

    Args:
        offer: the message.
        pick: which identity is meant.
        before: what is held, None for nothing yet: for the bundles of other trust domains only.
        now: the time of the check, aware.
        wanted: the other trust domains whose bundles are read; all of them when None. The rest costs nothing.

    Raises:
        NoIdentity: there are identities, and none of them is the one that is meant.
        BadUpdate: a mandatory field is missing, or there is too much of something.
        CertsError: the SVID cannot be used, for the reason that `certs.verify` gives a peer.
    """
    offered = _picked(offer, pick)
    svid, bundle = _svid(offered), _own_bundle(offered)
    peer = verify_peer(svid.leaf_pem(), svid.intermediates_pem(), TrustBundles([bundle]), now)
    complaints: list[str] = []
    chosen = offer.federated
    if wanted is not None:
        names = {domain.spiffe_id for domain in wanted}
        chosen = {key: octets for key, octets in chosen.items() if key in names}
    federated = tuple(_federated(chosen, bundle, () if before is None else before.federated, complaints))
    return WorkloadState(
        svid=svid,
        hint=offered.hint,
        valid_until=peer.valid_until,
        bundle=bundle,
        federated=federated,
        complaints=tuple(complaints),
    )


def _picked(offer: Offer, pick: Pick) -> OfferedSvid:
    if not offer.svids:
        raise BadUpdate("the Workload API sent a message without an SVID")
    if len(offer.svids) > MAX_IDENTITIES:
        raise BadUpdate(f"the Workload API sent {len(offer.svids)} identities; {MAX_IDENTITIES} at most are read")
    found = next((offered for offered in offer.svids if pick.fits(offered)), None)
    if found is None:
        there = ", ".join(f"{ascii(offered.spiffe_id[:200])[1:-1]}" for offered in offer.svids[:5])
        raise NoIdentity(f"the Workload API has no identity for this process with {pick}; it has {there}")
    return found


def _svid(offered: OfferedSvid) -> X509Svid:
    for name, value in (
        ("spiffe_id", offered.spiffe_id),
        ("x509_svid", offered.chain),
        ("x509_svid_key", offered.key),
        ("bundle", offered.bundle),
    ):
        if not value:
            raise BadUpdate(f"the Workload API sent an SVID without the mandatory field {name}")
    chain = der.certificates(offered.chain, at_most=MAX_CHAIN + 1, error=BadUpdate, what="the SVID")
    key = der.private_key(offered.key, error=BadUpdate, what="the key of the SVID")
    try:
        svid = X509Svid(chain=chain, key=key)
    except SvidFileError as refused:  # said of files; here it came in one message
        raise BadUpdate(f"the Workload API sent an SVID whose {refused}", reason=refused.reason) from refused
    if str(svid.spiffe_id) != offered.spiffe_id:
        raise BadUpdate(f"the Workload API sent {svid.spiffe_id} as {offered.spiffe_id[:200]!a}")
    return svid


def _own_bundle(offered: OfferedSvid) -> Bundle:
    return _bundle(SpiffeId.parse(offered.spiffe_id).trust_domain, offered.bundle)


def _bundle(domain: TrustDomain, octets: bytes) -> Bundle:
    what = f"the bundle of {domain}"
    return Bundle(
        trust_domain=domain,
        authorities=der.certificates(octets, at_most=MAX_AUTHORITIES, error=BundleError, what=what),
    )


def _federated(
    offered: Mapping[str, bytes], own: Bundle, before: Iterable[Bundle], complaints: list[str]
) -> Iterator[Bundle]:
    """Yield the bundles of other trust domains, by name."""
    if len(offered) > MAX_FEDERATED:
        raise BadUpdate(f"the Workload API sent bundles of {len(offered)} trust domains; {MAX_FEDERATED} at most")
    known = {bundle.trust_domain: bundle for bundle in before}
    for key in sorted(offered):
        try:
            domain = _domain(key)
        except BadSpiffeId as refused:
            complaints.append(f"a bundle of {key[:200]!a}: {refused}")
            continue
        if domain == own.trust_domain:  # it comes with the SVID, and nothing adds to it
            complaints.append(f"a bundle of {domain} among those of other trust domains: it is this workload's own")
            continue
        try:
            yield _bundle(domain, offered[key])
        except CertsError as refused:
            complaints.append(str(refused))
            if domain in known:
                yield known[domain]


def _domain(key: str) -> TrustDomain:
    found = SpiffeId.parse(key)
    if found.path:
        raise BadSpiffeId(f"{found} has a path, and a trust domain has none")
    return found.trust_domain
