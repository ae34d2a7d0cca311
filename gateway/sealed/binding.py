"""What sealed content is bound to, held against the message that brings it. Pure.

The protected header names tenant, idempotency key and end of time; of the recipient it has a hash, whose salt is inside
the ciphertext: numbers are few, and a hash without a secret salt could be counted through. Without all of this, whoever
gets hold of a ciphertext could have it sent to a phone of his own, and read it there.

Whatever the order of events: content goes out at most once under one key, since it ends no later than the record of
its idempotency key does, 72 hours after it was accepted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple

from gateway.sealed.compact import Header
from gateway.sealed.errors import SealedRefused

SECOND = 1_000_000
MAX_AHEAD_S = 72 * 3600  # as long as an idempotency key is remembered
MIN_SALT_BYTES = 16
MAX_SALT_BYTES = 64
# Of content that somebody else was to send, or that was to be sent otherwise.
MISUSES = frozenset(
    {"SEALED_FOR_OTHER_TENANT", "SEALED_FOR_OTHER_RECIPIENT", "SEALED_FOR_OTHER_KEY", "SEALED_WITHOUT_KEY"}
)
# Of content that may have been taken before: its time, or that of its key, has come since.
TOO_LATE = frozenset({"SEALED_EXPIRED", "PAYLOAD_KEY_RETIRED", "PAYLOAD_KEY_UNKNOWN"})
_PURPOSE = b"smsgw.to\x00"


class Bearer(NamedTuple):
    """The stored message that brings sealed content."""

    tenant: str
    recipient: str
    key: str  # the idempotency key it was sent with, "" for none
    accepted_at: int  # microseconds


def check_expiry(header: Header, accepted_at: int) -> None:
    """Raise SealedRefused for content that outlives the record of its key; `accepted_at` in microseconds."""
    if header.expires_at > accepted_at // SECOND + MAX_AHEAD_S:
        text = "is sealed for longer than 72 hours: it could be sent again when its idempotency key is forgotten"
        raise SealedRefused("SEALED_EXPIRY_TOO_FAR", text)


def check_time(header: Header, now: int) -> None:
    """Raise SealedRefused for content whose time is over at `now`, in microseconds."""
    if header.expires_at * SECOND <= now:
        raise SealedRefused("SEALED_EXPIRED", "the time for which the content is sealed is over")


def check_bearer(header: Header, bearer: Bearer, now: int) -> None:
    """Raise SealedRefused unless this message may bring the content at `now`, in microseconds.

    Nothing of the header is authentic yet; it is the opening that makes it so. What does not fit is refused all the
    same, and costs no cryptography.
    """
    if header.tenant != bearer.tenant:
        raise SealedRefused("SEALED_FOR_OTHER_TENANT", "the content is sealed for another tenant")
    if not bearer.key:
        raise SealedRefused("SEALED_WITHOUT_KEY", "the content is sealed for an idempotency key, and came without one")
    if header.key != bearer.key:
        raise SealedRefused("SEALED_FOR_OTHER_KEY", "the content is sealed for another idempotency key")
    check_expiry(header, bearer.accepted_at)
    check_time(header, now)


def check_recipient(header: Header, salt: bytes, recipient: str) -> None:
    """Raise SealedRefused unless the content is for `recipient`; `salt` is from inside the ciphertext."""
    if not MIN_SALT_BYTES <= len(salt) <= MAX_SALT_BYTES:
        text = f"the salt inside is not {MIN_SALT_BYTES} to {MAX_SALT_BYTES} octets long"
        raise SealedRefused("SEALED_MALFORMED", text)
    if not hmac.compare_digest(recipient_hash(salt, recipient), header.recipient):
        raise SealedRefused("SEALED_FOR_OTHER_RECIPIENT", "the content is sealed for another recipient")


def recipient_hash(salt: bytes, recipient: str) -> str:
    """Return the header's text for a number in E.164 with its plus sign."""
    digest = hashlib.sha256(_PURPOSE + salt + recipient.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
