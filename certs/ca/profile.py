"""The first of three parties to a certificate: decides what is in it, and refuses what may not be issued.

It takes a request, the issuer, `now` and a serial number, and returns a plan; it signs nothing and has no key. The
signer (`certs.ca.signer`) signs plans only, and the checker (`certs.ca.checker`) judges the result by rules of its own.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs.errors import ProfileRefused
from certs.spiffe_id import SpiffeId, TrustDomain

MIN_TTL_S = 5 * 60
MAX_TTL_S = 24 * 60 * 60
DEFAULT_TTL_S = 60 * 60
BACKDATE = dt.timedelta(seconds=30)  # a peer whose clock is a little behind still accepts a fresh certificate
ROOT_LIFETIME = dt.timedelta(days=3650)
INTERMEDIATE_LIFETIME = dt.timedelta(days=365)
STANDBY_LIFETIME = 2 * INTERMEDIATE_LIFETIME  # it may wait for a year before it issues for one

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 4096

_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_CRL_PLACE = re.compile(r"(?=.{1,200}\Z)http://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?", re.ASCII)
_NUMERIC = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRequest:
    """What a workload's SVID is wanted to be.

    Attributes:
        spiffe_id: whose it is; with a path, in the authority's trust domain.
        dns_names: none for a client, exactly one for a server.
        ttl_s: how long it is valid from now on, in seconds: 5 minutes to 24 hours.
    """

    spiffe_id: SpiffeId
    dns_names: tuple[str, ...] = ()
    ttl_s: int = DEFAULT_TTL_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePlan:
    """The decided contents of a certificate: all that is left is to sign them.

    Attributes:
        common_name: of the subject; empty for leafs, whose subject is empty.
        uri: the one URI among the alternative names.
        dns_names: DNS names beside it.
        public_key: whose certificate it is.
        serial: the serial number, positive, at most 159 bits.
        not_before, not_after: the validity, whole seconds, UTC.
        path_length: how many authorities may follow; None for a leaf, which is no authority.
        crl_url: where the issuer's revocation list is; empty when that is not said.
    """

    common_name: str
    uri: str
    dns_names: tuple[str, ...]
    public_key: PublicKey
    serial: int
    not_before: dt.datetime
    not_after: dt.datetime
    path_length: int | None
    crl_url: str = ""


def plan_root(
    trust_domain: TrustDomain,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    now: dt.datetime,
    *,
    development: bool = False,
) -> CertificatePlan:
    """Return the plan of a self-signed root: ten years, one authority below it.

    A root for development says so in its common name: a node in production refuses it by that.
    """
    role = "development root" if development else "root"
    return _plan_authority(role, trust_domain, key, serial, now, now + ROOT_LIFETIME, path_length=1)


def plan_intermediate(
    trust_domain: TrustDomain,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    now: dt.datetime,
    issuer: x509.Certificate,
    *,
    lifetime: dt.timedelta = INTERMEDIATE_LIFETIME,
    crl_url: str = "",
) -> CertificatePlan:
    """Return the plan of an intermediate: of `lifetime`, or until its root ends; leafs only below it."""
    end = min(now + lifetime, issuer.not_valid_after_utc)
    if end - now < dt.timedelta(seconds=MAX_TTL_S):
        raise ProfileRefused(
            f"the root of {trust_domain} ends at {issuer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}: make a new authority"
        )
    return _plan_authority("intermediate", trust_domain, key, serial, now, end, path_length=0, crl_url=crl_url)


def _plan_authority(
    role: str,
    trust_domain: TrustDomain,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    now: dt.datetime,
    end: dt.datetime,
    *,
    path_length: int,
    crl_url: str = "",
) -> CertificatePlan:
    """A signing certificate names its trust domain, without a path (X509-SVID §3.2)."""
    key_id = x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()[:12]
    return CertificatePlan(
        common_name=f"smsgw {role} {key_id}",  # an own name for each key, so that path building never has to guess
        uri=trust_domain.spiffe_id,
        dns_names=(),
        public_key=key,
        serial=serial,
        not_before=_whole(now - BACKDATE),
        not_after=_whole(end),
        path_length=path_length,
        crl_url=crl_url,
    )


def plan_leaf(
    request: LeafRequest,
    trust_domain: TrustDomain,
    key: PublicKey,
    serial: int,
    now: dt.datetime,
    issuer: x509.Certificate,
    *,
    crl_url: str = "",
) -> CertificatePlan:
    """Return the plan of a leaf SVID. Raises ProfileRefused with what is wrong and what to do."""
    check_request(request, trust_domain)
    check_key(key)
    end = min(now + dt.timedelta(seconds=request.ttl_s), issuer.not_valid_after_utc)
    if end - now < dt.timedelta(seconds=MIN_TTL_S):
        raise ProfileRefused(
            f"the intermediate ends at {issuer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}: "
            "run `smsgw ca rotate activate`, or `smsgw ca rotate prepare` before it"
        )
    if now < issuer.not_valid_before_utc:
        raise ProfileRefused("the intermediate is not valid yet: check this machine's clock")
    return CertificatePlan(
        common_name="",
        uri=str(request.spiffe_id),
        dns_names=request.dns_names,
        public_key=key,
        serial=serial,
        not_before=max(_whole(now - BACKDATE), issuer.not_valid_before_utc),
        not_after=_whole(end),
        path_length=None,
        crl_url=crl_url,
    )


def check_request(request: LeafRequest, trust_domain: TrustDomain) -> None:
    """Raise ProfileRefused unless the request may be granted by the authority of `trust_domain`."""
    spiffe_id = request.spiffe_id
    if spiffe_id.trust_domain != trust_domain:
        raise ProfileRefused(
            f"{spiffe_id} is not in {trust_domain}: this authority issues for {trust_domain.spiffe_id}/... only"
        )
    if not spiffe_id.path:
        raise ProfileRefused(f"{spiffe_id} names no workload: add a path, such as {spiffe_id}/billing")
    if not MIN_TTL_S <= request.ttl_s <= MAX_TTL_S:
        raise ProfileRefused(f"a lifetime of {request.ttl_s} s is not allowed: 5m to 24h are")
    if len(request.dns_names) > 1:
        raise ProfileRefused(f"{len(request.dns_names)} DNS names were asked for: an SVID has one at most")
    for name in request.dns_names:
        check_dns_name(name)


def check_key(key: object) -> PublicKey:
    """Return the workload's public key if the profile allows it: ECDSA on P-256 or P-384, or RSA of 2048 to 4096 bits.

    Raises ProfileRefused.
    """
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        if key.public_numbers().e == 65537:
            return key
        raise ProfileRefused("an RSA key must have the public exponent 65537: make another one")
    raise ProfileRefused(
        "this kind of key is not allowed: make one for ECDSA on P-256 or P-384, or for RSA with 2048 to 4096 bits"
    )


def check_dns_name(name: str) -> None:
    """Raise ProfileRefused unless `name` is a host name in lower case: no wildcard, no address."""
    if not _DNS_NAME.fullmatch(name) or _NUMERIC.fullmatch(name):
        raise ProfileRefused(
            f"{name[:80]!a} is no DNS name for a certificate: use a full host name in lower case, such as "
            "gateway.example.org; no wildcard and no IP address"
        )


def check_crl_place(place: str) -> str:
    """Return the URL below which revocation lists are published, as it goes into certificates; it ends in a slash.

    Plain http is what RFC 5280 §4.2.1.13 and CA practice have: a list is signed, and https would need a certificate
    whose revocation is to be looked up first (RFC 5280 §8). X509-SVID leaves the extension to RFC 5280. Raises
    ProfileRefused.
    """
    if not _CRL_PLACE.fullmatch(place):
        raise ProfileRefused(
            f"{place[:80]!a} is no place for revocation lists: write http://HOST[:PORT]/PATH/, 200 characters at most"
        )
    return place if place.endswith("/") else place + "/"


def _whole(moment: dt.datetime) -> dt.datetime:
    """Return the moment in whole seconds, as certificates keep it."""
    return moment.astimezone(dt.UTC).replace(microsecond=0)
