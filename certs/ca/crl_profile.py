"""The first of three parties to a revocation list: decides what is in it (RFC 5280 §5).

It takes what is revoked, the issuer, a number and `now`, and returns a plan; it signs nothing. The signer
(`certs.ca.signer`) signs plans only, and the checker (`certs.ca.crl_checker`) judges the result by rules of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from certs.ca.profile import BACKDATE
from certs.errors import ProfileRefused

MIN_LIFETIME: Final = dt.timedelta(minutes=10)
MAX_LIFETIME: Final = dt.timedelta(days=7)
DEFAULT_LIFETIME: Final = dt.timedelta(hours=4)
ROOT_LIFETIME: Final = dt.timedelta(days=400)  # its key is fetched once a year, and a list must not end before that
_REASONS: Final[Mapping[int, x509.ReasonFlags]] = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    9: x509.ReasonFlags.privilege_withdrawn,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedSerial:
    """A certificate that is revoked: what a list can say of it.

    Attributes:
        serial: its serial number, lower-case hexadecimal.
        not_after: its end, UTC.
        revoked_at: when it was revoked, UTC.
        code: why (RFC 5280 §5.3.1); 0 when that is not said.
    """

    serial: str
    not_after: dt.datetime
    revoked_at: dt.datetime
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlEntry:
    """One line of a list. `reason` None: not stated, which is how `unspecified` is to be written (§5.3.1)."""

    serial: int
    revoked_at: dt.datetime
    reason: x509.ReasonFlags | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlPlan:
    """The decided contents of a list: all that is left is to sign them."""

    issuer: x509.Name
    number: int
    this_update: dt.datetime
    next_update: dt.datetime
    entries: tuple[CrlEntry, ...]


def plan_crl(
    issuer: x509.Certificate,
    revoked: Iterable[RevokedSerial],
    number: int,
    now: dt.datetime,
    *,
    lifetime: dt.timedelta,
    scheduled_before: dt.datetime | None,
) -> CrlPlan:
    """Return the plan of a full list of everything that `issuer` has signed.

    A certificate that ends leaves the lists after it has been on one more scheduled one (RFC 5280 §3.3).

    Args:
        issuer: who signs, by a certificate that is valid.
        revoked: of this issuer.
        number: greater than that of any list of this issuer before; positive, at most 20 octets (§5.2.3).
        now: the time of the list, which is backdated like certificates, for peers whose clocks are a little behind.
        lifetime: until the next one is due at the latest: 10 minutes to 7 days, or `ROOT_LIFETIME`.
        scheduled_before: the `this_update` of the last scheduled list, None when there was none.

    Raises ProfileRefused.
    """
    if not (MIN_LIFETIME <= lifetime <= MAX_LIFETIME or lifetime == ROOT_LIFETIME):
        raise ProfileRefused("a revocation list is good for 10 minutes to 7 days")
    if not 0 < number < 1 << 159:
        raise ProfileRefused(f"{number} is no number for a revocation list")
    if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        raise ProfileRefused(f"the authority {issuer.subject.rfc4514_string()} is not valid now: it signs no list")
    listed = [found for found in revoked if scheduled_before is None or found.not_after >= scheduled_before]
    return CrlPlan(
        issuer=issuer.subject,
        number=number,
        this_update=max(_whole(now - BACKDATE), issuer.not_valid_before_utc),
        next_update=_whole(now + lifetime),
        entries=tuple(_entry(found) for found in sorted(listed, key=lambda found: int(found.serial, 16))),
    )


def _entry(found: RevokedSerial) -> CrlEntry:
    if found.code and found.code not in _REASONS:
        raise ProfileRefused(f"{found.code} is no reason that a list can state")
    return CrlEntry(serial=int(found.serial, 16), revoked_at=_whole(found.revoked_at), reason=_REASONS.get(found.code))


def _whole(moment: dt.datetime) -> dt.datetime:
    """Return the moment in whole seconds, as lists keep it."""
    return moment.astimezone(dt.UTC).replace(microsecond=0)
