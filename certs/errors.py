"""Everything that can go wrong with workload identities, certificates and the files that hold them.

The tree:

    CertsError                     has a stable `reason` (UPPER_SNAKE_CASE); the text says what, where and what to do
    ├── IdentityRefused            a peer's certificate does not prove an identity; the peer's fault
    │   ├── BadSpiffeId            the text is no SPIFFE ID (SPIFFE-ID §2)
    │   ├── BadSvid                the certificate breaks a rule of X509-SVID §2 to §5
    │   ├── NotValidNow            the certificate is expired, or not valid yet: a new one helps
    │   └── Untrusted              no path leads from it to the bundle of its own trust domain
    ├── AttestationRefused         who connects to the agent cannot be seen, or is one too many; the peer's fault
    ├── BundleError                octets are no bundle of authorities
    ├── WorkloadApiError           the Workload API of this host gives no identity that can be used
    │   ├── BadEndpoint            what should be its address is none: correct the setting
    │   ├── BadUpdate              what it sent cannot be used: what was held before stays
    │   └── NoIdentity             there is no identity now: not yet, not any more, or not for this process
    ├── FederationError            the bundle of another trust domain could not be had from its endpoint
    │   ├── EndpointRefused        its URL, or the address that it leads to, is not one to connect to
    │   ├── FetchFailed            it was not reached, not authenticated, or did not answer as it must
    │   └── SequenceRefused        what it serves is older than what is held
    ├── SvidFileError              a certificate or key file is missing, unreadable or does not fit the other
    │   └── SecretPermissionsError a file with a private key can be read by others than its owner
    └── AuthorityError             the certificate authority cannot, or will not, do what was asked
        ├── AuthorityMissing       there is no authority in that directory, or a part of it is missing
        ├── ProfileRefused         the request asks for a certificate that the profile does not allow
        ├── NotRegistered          the identity is not registered, or not for whoever asks
        ├── TokenRefused           a join token is unknown, used or expired: another one helps
        ├── CertificateRevoked     the certificate that is presented, or the key that asks for one, is revoked
        ├── NotRecorded            what is to be revoked was not issued here
        ├── RateExceeded           who calls does so too often: waiting `retry_after_s` helps
        ├── NotAdmin               who calls is no administrator of the authority
        ├── RenewalRefused         the SVID that asks to be renewed does not prove enough; a new attestation helps
        └── CheckFailed            what was signed breaks the rules, and is not handed out: a defect here

Verification raises; it never returns a bool. A retry without a change never helps, except for NotValidNow (with a
renewed certificate), SvidFileError (while another process is writing), FetchFailed and NoIdentity (until there is one).
"""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Why something was refused: stable names, for machines and for the documentation."""

    # IdentityRefused
    NO_CERTIFICATE = "NO_CERTIFICATE"
    TOO_LARGE = "TOO_LARGE"
    MALFORMED = "MALFORMED"
    BAD_SPIFFE_ID = "BAD_SPIFFE_ID"
    NO_WORKLOAD_PATH = "NO_WORKLOAD_PATH"
    NO_URI_SAN = "NO_URI_SAN"
    MANY_URI_SANS = "MANY_URI_SANS"
    SAN_NOT_CRITICAL = "SAN_NOT_CRITICAL"
    SIGNING_CERTIFICATE = "SIGNING_CERTIFICATE"
    KEY_USAGE = "KEY_USAGE"
    EXTENDED_KEY_USAGE = "EXTENDED_KEY_USAGE"
    NO_AUTHORITY_KEY_ID = "NO_AUTHORITY_KEY_ID"
    AUTHORITY_KEY_MISMATCH = "AUTHORITY_KEY_MISMATCH"
    JWT = "JWT"
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    WRONG_TRUST_DOMAIN = "WRONG_TRUST_DOMAIN"
    UNTRUSTED = "UNTRUSTED"
    # the agent
    ATTESTATION = "ATTESTATION"
    NO_IDENTITY = "NO_IDENTITY"
    # files, bundles, the authority
    BUNDLE = "BUNDLE"
    ENDPOINT = "ENDPOINT"
    WORKLOAD_API = "WORKLOAD_API"
    BUNDLE_ENDPOINT = "BUNDLE_ENDPOINT"
    ADDRESS_REFUSED = "ADDRESS_REFUSED"
    UNREACHABLE = "UNREACHABLE"
    ENDPOINT_TLS = "ENDPOINT_TLS"
    ENDPOINT_IDENTITY = "ENDPOINT_IDENTITY"
    HTTP = "HTTP"
    SEQUENCE = "SEQUENCE"
    SVID_FILE = "SVID_FILE"
    KEY_MISMATCH = "KEY_MISMATCH"
    SECRET_PERMISSIONS = "SECRET_PERMISSIONS"  # noqa: S105 - the name of a refusal, not a secret
    AUTHORITY = "AUTHORITY"
    AUTHORITY_MISSING = "AUTHORITY_MISSING"
    AUTHORITY_STATE = "AUTHORITY_STATE"
    NOT_RECORDED = "NOT_RECORDED"
    REVOKED = "REVOKED"
    NOT_ADMIN = "NOT_ADMIN"
    RATE = "RATE"
    CSR = "CSR"
    JOIN_TOKEN = "JOIN_TOKEN"  # noqa: S105 - the name of a refusal, not a secret
    NOT_REGISTERED = "NOT_REGISTERED"
    PROFILE = "PROFILE"
    CHECK_FAILED = "CHECK_FAILED"


class CertsError(Exception):
    """The root: `reason` is stable and for machines, the message is for people."""

    default_reason: Reason = Reason.AUTHORITY

    def __init__(self, message: str, *, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason


class IdentityRefused(CertsError):
    """A peer's certificate does not prove an identity."""

    default_reason = Reason.MALFORMED


class BadSpiffeId(IdentityRefused):
    """The text is no SPIFFE ID."""

    default_reason = Reason.BAD_SPIFFE_ID


class BadSvid(IdentityRefused):
    """The certificate breaks a rule of X509-SVID."""


class NotValidNow(IdentityRefused):
    """The certificate is expired, or not valid yet."""

    default_reason = Reason.EXPIRED


class Untrusted(IdentityRefused):
    """No path leads from the certificate to the bundle of its own trust domain."""

    default_reason = Reason.UNTRUSTED


class AttestationRefused(CertsError):
    """Who connects to the agent cannot be seen, or has too many connections."""

    default_reason = Reason.ATTESTATION


class BundleError(CertsError):
    """Octets are no bundle of authorities."""

    default_reason = Reason.BUNDLE


class WorkloadApiError(CertsError):
    """The Workload API of this host gives no identity that can be used."""

    default_reason = Reason.WORKLOAD_API


class BadEndpoint(WorkloadApiError):
    """What should be the address of a Workload API is none."""

    default_reason = Reason.ENDPOINT


class BadUpdate(WorkloadApiError):
    """What the Workload API sent cannot be used."""


class NoIdentity(WorkloadApiError):
    """There is no identity now: not yet, not any more, or not for this process."""

    default_reason = Reason.NO_IDENTITY


class FederationError(CertsError):
    """The bundle of another trust domain could not be had from its endpoint."""

    default_reason = Reason.BUNDLE_ENDPOINT


class EndpointRefused(FederationError):
    """The endpoint's URL, or the address that it leads to, is not one to connect to."""


class FetchFailed(FederationError):
    """The endpoint was not reached, not authenticated, or did not answer as it must."""

    default_reason = Reason.UNREACHABLE


class SequenceRefused(FederationError):
    """What the endpoint serves is older than what is held."""

    default_reason = Reason.SEQUENCE


class SvidFileError(CertsError):
    """A certificate or key file is missing, unreadable or does not fit the other."""

    default_reason = Reason.SVID_FILE


class SecretPermissionsError(SvidFileError):
    """A file with a private key can be read by others than its owner."""

    default_reason = Reason.SECRET_PERMISSIONS


class AuthorityError(CertsError):
    """The certificate authority cannot, or will not, do what was asked."""


class AuthorityMissing(AuthorityError):
    """There is no authority in that directory, or a part of it is missing."""

    default_reason = Reason.AUTHORITY_MISSING


class ProfileRefused(AuthorityError):
    """The request asks for a certificate that the profile does not allow."""

    default_reason = Reason.PROFILE


class NotRegistered(AuthorityError):
    """The identity is not registered, or not for whoever asks."""

    default_reason = Reason.NOT_REGISTERED


class TokenRefused(AuthorityError):
    """A join token is unknown, used or expired."""

    default_reason = Reason.JOIN_TOKEN


class CertificateRevoked(AuthorityError):
    """The certificate that is presented, or the key that asks for one, is revoked: with another key, attest anew."""

    default_reason = Reason.REVOKED


class NotRecorded(AuthorityError):
    """No such certificate was issued here."""

    default_reason = Reason.NOT_RECORDED


class NotAdmin(AuthorityError):
    """Who calls is no administrator of the authority."""

    default_reason = Reason.NOT_ADMIN


class RateExceeded(AuthorityError):
    """Who calls does so too often."""

    default_reason = Reason.RATE

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RenewalRefused(AuthorityError):
    """The SVID that asks to be renewed does not prove enough: the workload is attested anew."""

    default_reason = Reason.NOT_RECORDED


class CheckFailed(AuthorityError):
    """What was signed breaks the rules: it is not handed out."""

    default_reason = Reason.CHECK_FAILED
