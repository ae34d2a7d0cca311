"""Renewal: whoever holds a valid SVID of this authority gets the next one, for the same identity.

The caller has proved that it holds the SVID's private key; this module judges the certificate. It believes the record,
not the signature alone: serial number, identity and key must be those that were issued. So an SVID below a tainted
intermediate still renews, when it was recorded before the moment from which that key is suspect, and one that an
attacker signs with the stolen key never does.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from certs.ca.authority import Asked, Authority
from certs.ca.ledger import ATTESTED_BY_SVID, AuthorityRecord, IssuedRecord
from certs.ca.profile import LeafRequest, PublicKey
from certs.ca.states import Kind, State
from certs.errors import Reason, RenewalRefused
from certs.leaf import LeafFacts, read_leaf
from certs.verify import check_time, public_key_hash


def check_renewal(authority: Authority, leaf: x509.Certificate, now: dt.datetime) -> tuple[LeafFacts, IssuedRecord]:
    """Return what a leaf says and its record, if it may be renewed.

    Raises IdentityRefused for one that is no SVID or not valid now, CertificateRevoked for one that is revoked,
    RenewalRefused for one that is not ours or not on record, or whose authority is revoked, or was suspect when it was
    issued.
    """
    facts = read_leaf(leaf)
    check_time(facts.not_before, facts.not_after, now)
    issuer = _issuer(authority, leaf, facts)
    record = authority.ledger.issued(facts.serial)
    stated = (str(facts.spiffe_id), public_key_hash(leaf), facts.authority_key_id)
    if record is None or stated != (record.spiffe_id, record.key_hash, record.authority_key_id):
        raise RenewalRefused(
            f"the SVID with serial number {facts.serial} is not on record here as it stands: attest the workload anew"
        )
    authority.ledger.refuse_revoked(record.serial)
    if issuer.state is State.TAINTED and not _is_from_before(record, issuer):
        raise RenewalRefused(
            f"the SVID was issued when its authority {issuer.key_id} was suspect already: attest the workload anew",
            reason=Reason.AUTHORITY_STATE,
        )
    return facts, record


def _is_from_before(record: IssuedRecord, issuer: AuthorityRecord) -> bool:
    return issuer.suspect_from is not None and record.issued_at < issuer.suspect_from


def _issuer(authority: Authority, leaf: x509.Certificate, facts: LeafFacts) -> AuthorityRecord:
    found = next((record for record in authority.records if record.key_id == facts.authority_key_id), None)
    try:
        if found is None or found.kind is not Kind.INTERMEDIATE:
            raise ValueError("no such intermediate")
        leaf.verify_directly_issued_by(found.certificate)
    except (ValueError, TypeError, InvalidSignature) as refused:
        raise RenewalRefused(
            f"{facts.spiffe_id}: the SVID was not issued by this authority: attest the workload here",
            reason=Reason.UNTRUSTED,
        ) from refused
    if found.state is State.REVOKED:
        raise RenewalRefused(
            f"the authority {found.key_id} of the SVID is revoked: attest the workload anew",
            reason=Reason.AUTHORITY_STATE,
        )
    return found


def renew(
    authority: Authority, leaf: x509.Certificate, key: PublicKey, now: dt.datetime, *, ttl_s: int | None = None
) -> tuple[x509.Certificate, ...]:
    """Return the next leaf and its intermediate, for the new key `key`: same identity, same names.

    It lives as long as the one before it, or `ttl_s` seconds. Raises as `check_renewal` does, and ProfileRefused,
    CheckFailed.
    """
    facts, record = check_renewal(authority, leaf, now)
    lived = round((record.not_after - record.issued_at).total_seconds())
    request = LeafRequest(spiffe_id=facts.spiffe_id, dns_names=facts.dns_names, ttl_s=lived if ttl_s is None else ttl_s)
    asked = Asked(by=str(facts.spiffe_id), attested=ATTESTED_BY_SVID + facts.serial)
    return authority.sign_leaf(request, key, now, asked)
