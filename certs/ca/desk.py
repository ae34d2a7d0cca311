"""What the authority does for hosts on the network: who gets which certificate, on what grounds.

It knows the registration, the tokens and the record, and neither TLS nor gRPC: whoever calls it has verified that the
caller holds the key of the leaf it presents. It may be called from several threads; one at a time is served.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from certs.bundle import Bundle
from certs.ca.authority import Asked, Authority
from certs.ca.csr import read_csr
from certs.ca.events import What, note
from certs.ca.ledger import ATTESTED_BY_SVID
from certs.ca.profile import LeafRequest
from certs.ca.registration import RegistrationFile, WorkloadEntry
from certs.ca.renewal import check_renewal
from certs.ca.revocations import (
    Code,
    Order,
    Revocation,
    revocation,
    revoke_identity,
    revoke_serial,
    revoked_of_asker,
)
from certs.ca.states import State
from certs.ca.tokens import redeem
from certs.errors import NotAdmin, NotRegistered, ProfileRefused, Reason, RenewalRefused
from certs.federation.federation import Event
from certs.leaf import LeafFacts
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.verify import key_hash_of

Chain = tuple[x509.Certificate, ...]
ADMIN_PATH: Final = "/admin"  # who is at or below it administers the authority, unless others are named
MAX_REVOKED_TOLD: Final = 1000  # to a node at a time; it replaces them, and is told the next ones


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What a node needs to know: what it serves, whom it trusts, which authority issues now, what is to be replaced."""

    entries: tuple[WorkloadEntry, ...]
    bundle: Bundle
    authority_key_id: str
    revoked: tuple[str, ...]
    federated: tuple[Bundle, ...] = ()  # of the trust domains that its workloads federate with


class Desk:
    """Serves nodes, and administrators, from one authority and one registration."""

    def __init__(
        self,
        authority: Authority,
        registration: RegistrationFile,
        admins: Sequence[SpiffeId] = (),
        federated: Callable[[TrustDomain], Bundle | None] = lambda _: None,
    ) -> None:
        """Args:
        authority, registration: what it serves from.
        admins: whoever is at or below one of these, by whole segments, may revoke; none: below /admin.
        federated: the bundle of another trust domain that counts now; called on any thread.

        Raises ProfileRefused for one that is no path in the authority's trust domain.
        """
        self._authority = authority
        self._registration = registration
        self._federated = federated
        self._admins = tuple(admins) or (SpiffeId(authority.trust_domain, ADMIN_PATH),)
        for admin in self._admins:
            if admin.trust_domain != authority.trust_domain or not admin.path:
                raise ProfileRefused(f"{admin} cannot be an administrator: name a path in {authority.trust_domain}")
        self._lock = threading.Lock()

    def refresh(self, now: dt.datetime) -> bool:
        """Take up changes of authorities and registration; says whether there were any. Raises CertsError."""
        with self._lock:
            self._authority.keep_jwt_keys(now)
            changed = self._authority.refresh()
            return self._registration.refresh() or changed

    @property
    def bundle(self) -> Bundle:
        """The trust domain's bundle now."""
        with self._lock:
            return self._authority.bundle

    @property
    def registration_refused(self) -> str:
        """Why the registration's file cannot be used as it is now; empty while it can."""
        return self._registration.refused

    @property
    def issues(self) -> str:
        """The key id of the authority that issues now; empty when none does."""
        with self._lock:
            return "" if self._authority.issuing is None else self._authority.issuing.key_id

    def is_revoked(self, serial: str) -> bool:
        """Say whether a certificate of ours is revoked. Raises AuthorityError."""
        with self._lock:
            return revocation(self._authority.ledger, serial) is not None

    def own_svid(self, request: LeafRequest, now: dt.datetime) -> X509Svid:
        """Return an SVID for the service itself. Raises ProfileRefused, CheckFailed, AuthorityError."""
        with self._lock:
            return self._authority.issue(request, now, Asked(by=str(request.spiffe_id), attested="itself"))

    def join(self, token: str, csr: bytes, now: dt.datetime) -> Chain:
        """Return a node's first certificate for a one-time token.

        The signing request is judged first, so that a bad one uses no token up. Raises ProfileRefused, TokenRefused,
        CertificateRevoked, NotRegistered for a node that has been taken out since the token was made.
        """
        key = read_csr(csr)
        with self._lock:
            self._authority.ledger.refuse_revoked_key(key_hash_of(key))
            spiffe_id = redeem(self._authority.ledger, token, now)
            asked = Asked(by=str(spiffe_id), attested="token")
            return self._authority.sign_leaf(self._node(spiffe_id), key, now, asked)

    def renew(self, leaf: x509.Certificate, csr: bytes, now: dt.datetime) -> Chain:
        """Return a node's next certificate. Raises ProfileRefused, IdentityRefused, RenewalRefused, NotRegistered."""
        key = read_csr(csr)
        with self._lock:
            facts, _ = check_renewal(self._authority, leaf, now)
            asked = Asked(by=str(facts.spiffe_id), attested=ATTESTED_BY_SVID + facts.serial)
            return self._authority.sign_leaf(self._node(facts.spiffe_id), key, now, asked)

    def note_federation(self, event: Event, now: dt.datetime) -> None:
        """Put on record what happened with another trust domain. Raises AuthorityError."""
        with self._lock:
            note(
                self._authority.ledger,
                What.FEDERATION,
                now,
                reason=event.reason or event.kind.value,
                subject=event.trust_domain.name,
                asked_by="itself",
                detail=event.text,
            )

    def sync(self, leaf: x509.Certificate, now: dt.datetime) -> NodeState:
        """Return what the calling node needs to know. Raises IdentityRefused, RenewalRefused, NotRegistered."""
        with self._lock:
            node = self._caller(leaf, now)
            entries = self._registration.registration.at(node.spiffe_id)
            domains = sorted({domain for entry in entries for domain in entry.federates_with})
            return NodeState(
                entries=entries,
                federated=tuple(bundle for domain in domains if (bundle := self._federated(domain)) is not None),
                bundle=self._authority.bundle,
                authority_key_id="" if self._authority.issuing is None else self._authority.issuing.key_id,
                revoked=revoked_of_asker(self._authority.ledger, str(node.spiffe_id), now, limit=MAX_REVOKED_TOLD),
            )

    def issue(self, leaf: x509.Certificate, spiffe_id: SpiffeId, csr: bytes, now: dt.datetime) -> Chain:
        """Return the certificate of a workload that is registered at the calling node.

        Raises ProfileRefused, IdentityRefused, RenewalRefused, NotRegistered.
        """
        key = read_csr(csr)
        with self._lock:
            node = self._caller(leaf, now)
            entry = self._entry(node, spiffe_id)
            asked = Asked(by=str(node.spiffe_id), attested=ATTESTED_BY_SVID + node.serial)
            return self._authority.sign_leaf(entry.request, key, now, asked)

    def issue_jwt(
        self, leaf: x509.Certificate, spiffe_id: SpiffeId, audiences: Sequence[str], now: dt.datetime
    ) -> tuple[str, dt.datetime]:
        """Return a JWT-SVID of a workload of the calling node, and its end. Raises as `issue` does."""
        with self._lock:
            node = self._caller(leaf, now)
            self._entry(node, spiffe_id)
            signed = self._authority.sign_jwt(spiffe_id, audiences, now)
            who = f"{node.spiffe_id} (svid {node.serial})"
            detail = f"for {', '.join(audiences)}"
            note(self._authority.ledger, What.JWT_ISSUED, now, subject=str(spiffe_id), asked_by=who, detail=detail)
            return signed

    def note_refused(
        self, now: dt.datetime, *, reason: str, subject: str, asked_by: str, detail: str, times: int = 1
    ) -> None:
        """Put so many equal refusals on record. Raises AuthorityError."""
        with self._lock:
            note(
                self._authority.ledger, What.CALL_REFUSED, now,
                reason=reason, subject=subject, asked_by=asked_by, detail=detail, times=times,
            )  # fmt: skip

    def revoke(
        self, leaf: x509.Certificate, target: SpiffeId | str, code: Code, reason: str, now: dt.datetime
    ) -> tuple[Revocation, ...]:
        """Revoke what an identity holds, or a serial number; returns all of it that is revoked and not expired.

        Raises NotAdmin and what `sync` raises for the caller, ProfileRefused for another trust domain or a missing
        reason, NotRecorded for an unknown serial number, AuthorityError.
        """
        with self._lock:
            caller = self._known(leaf, now)
            self._require_admin(caller.spiffe_id)
            order = Order(code=code, reason=reason, asked_by=f"{caller.spiffe_id} (svid {caller.serial})")
            if isinstance(target, str):
                return revoke_serial(self._authority.ledger, target, order, now)
            if target.trust_domain != self._authority.trust_domain:
                raise ProfileRefused(
                    f"{target} is in another trust domain: this authority has issued nothing to it",
                    reason=Reason.WRONG_TRUST_DOMAIN,
                )
            return revoke_identity(self._authority.ledger, target, order, now)

    def _require_admin(self, caller: SpiffeId) -> None:
        """Raise NotAdmin unless the caller is at or below an administrators' path, by whole segments."""
        if not any(caller.segments[: len(admin.segments)] == admin.segments for admin in self._admins):
            raise NotAdmin(f"{caller} does not administer this authority: `smsgw ca serve --admin` names who does")

    def _entry(self, node: LeafFacts, spiffe_id: SpiffeId) -> WorkloadEntry:
        entries = self._registration.registration.at(node.spiffe_id)
        entry = next((found for found in entries if found.request.spiffe_id == spiffe_id), None)
        if entry is None:
            raise NotRegistered(f"{spiffe_id} is not registered at {node.spiffe_id}: add it to the entries")
        return entry

    def _node(self, spiffe_id: SpiffeId) -> LeafRequest:
        request = self._registration.registration.nodes.get(spiffe_id)
        if request is None:
            raise NotRegistered(f"{spiffe_id} is no registered node: add it to `nodes` in the entries")
        return request

    def _caller(self, leaf: x509.Certificate, now: dt.datetime) -> LeafFacts:
        """Return the node that calls. Raises NotRegistered when it is none, and as `_known` does."""
        facts = self._known(leaf, now)
        self._node(facts.spiffe_id)
        return facts

    def _known(self, leaf: x509.Certificate, now: dt.datetime) -> LeafFacts:
        """Return who calls. Below a tainted authority it may renew, and do nothing else."""
        facts, _ = check_renewal(self._authority, leaf, now)
        if self._authority.find(facts.authority_key_id).state is State.TAINTED:
            raise RenewalRefused(
                "the SVID's authority is tainted: renew it first, with RenewCertificate", reason=Reason.AUTHORITY_STATE
            )
        return facts
