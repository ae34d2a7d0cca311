"""What is held of another trust domain, and for how long: the rules of a relationship (SPIFFE Federation §4, §6).

A bundle replaces the one before as a whole. One with a lower `spiffe_sequence` than any before is refused; a sequence
may be missing, and then the newest counts. A bundle without keys revokes everything at once. When fetches fail, what is
held stays in force until it is older than `max_age_s`: then nobody of that trust domain is believed until a fetch
succeeds. It is sans-IO: bundles and `now` in, decisions out.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs.bundle import Bundle
from certs.errors import Reason, SequenceRefused

DEFAULT_INTERVAL_S: Final = 300.0  # SPIFFE Federation §4.1, for a bundle without a refresh hint
FIRST_RETRY_S: Final = 5.0  # while nothing is held, so that a node which starts before its network does not wait long
CLOCK_SLACK: Final = dt.timedelta(minutes=5)


class Origin(enum.StrEnum):
    """Where a bundle came from."""

    ENDPOINT = "endpoint"
    FILE = "file"  # the operator's, to begin with


class Note(enum.StrEnum):
    """What is odd about a bundle that was taken nevertheless."""

    EMPTY = "EMPTY"  # it has no X.509 authority: everything is revoked
    SAME_SEQUENCE = "SAME_SEQUENCE"  # other keys under the same sequence (Bundle §4.1.1 forbids it)
    NO_SEQUENCE = "NO_SEQUENCE"  # one before had a sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How often is asked, and how long an answer lasts; seconds."""

    refresh_min_s: float = 60.0
    refresh_max_s: float = 3600.0
    max_age_s: float = 86_400.0

    def interval_s(self, bundle: Bundle | None) -> float:
        """Return how often the endpoint is asked: the bundle's hint, within bounds."""
        hint = DEFAULT_INTERVAL_S if bundle is None or bundle.refresh_hint_s is None else bundle.refresh_hint_s
        return float(min(max(hint, self.refresh_min_s), self.refresh_max_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A bundle that was taken.

    Attributes:
        bundle: the bundle.
        confirmed_at: when it was last seen, UTC.
        origin: where.
        floor: the highest sequence ever taken: nothing below it is; None when there was none.
        bootstrap: SHA-256 of the operator's file that was taken, hexadecimal; "" for none.
        digest: `keys_digest` of the bundle, derived: it is asked for every second.
    """

    bundle: Bundle
    confirmed_at: dt.datetime
    origin: Origin
    floor: int | None = None
    bootstrap: str = ""
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", keys_digest(self.bundle))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What taking a bundle came to: whether its keys differ from those before, and what is odd about it."""

    changed: bool
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last fetch failed."""

    reason: Reason
    text: str


class Relationship:
    """With one trust domain. Mutable, for one task."""

    def __init__(self, terms: Terms, held: Held | None = None) -> None:
        self.terms = terms
        self.held = held
        self.failures = 0  # in a row
        self.failure: Failure | None = None  # None after a success

    def received(self, bundle: Bundle, now: dt.datetime) -> Taken:
        """Take what the endpoint served. Raises SequenceRefused for what is older than what was taken before."""
        before = self.held
        floor = None if before is None else before.floor
        if bundle.sequence is not None and floor is not None and bundle.sequence < floor:
            raise SequenceRefused(
                f"the endpoint serves the bundle of {bundle.trust_domain} with sequence {bundle.sequence}, and "
                f"{floor} was taken before: an old copy, or a publisher restored from one"
            )
        self.held = Held(
            bundle=bundle,
            confirmed_at=now,
            origin=Origin.ENDPOINT,
            floor=floor if bundle.sequence is None else bundle.sequence,
            bootstrap="" if before is None else before.bootstrap,
        )
        self.failures, self.failure = 0, None
        return _compare(before, self.held)

    def bootstrapped(self, bundle: Bundle, digest: str, now: dt.datetime) -> bool:
        """Take the operator's own copy, unless this very file was taken before; says whether it was.

        It is the operator's word, and begins the relationship anew, its sequence too (SPIFFE Federation §4.2).
        """
        if self.held is not None and self.held.bootstrap == digest:
            return False
        self.held = Held(bundle=bundle, confirmed_at=now, origin=Origin.FILE, floor=bundle.sequence, bootstrap=digest)
        return True

    def failed(self, reason: Reason, text: str) -> bool:
        """Note that a fetch failed; says whether it failed otherwise than the last."""
        fresh = self.failure is None or self.failure.reason is not reason
        self.failures += 1
        self.failure = Failure(reason, text)
        return fresh

    def trusted(self, now: dt.datetime) -> Bundle | None:
        """Return the bundle that counts at `now`; None when there is none, or it is too old."""
        return None if self.held is None or self.stale(now) else self.held.bundle

    def digest(self, now: dt.datetime) -> str:
        """Return the digest of the keys that count at `now`; "" when none do."""
        return "" if self.held is None or self.stale(now) else self.held.digest

    def stale(self, now: dt.datetime) -> bool:
        """Say whether what is held is too old; also when it seems to come from the future: then no clock is right."""
        if self.held is None:
            return False
        age = now - self.held.confirmed_at
        return age > dt.timedelta(seconds=self.terms.max_age_s) or age < -CLOCK_SLACK

    def age_s(self, now: dt.datetime) -> float | None:
        """Return how long ago what is held was last seen, in seconds; None when nothing is held."""
        return None if self.held is None else max(0.0, (now - self.held.confirmed_at).total_seconds())

    def next_in_s(self, jitter: float) -> float:
        """Return how long to wait before the next fetch, in seconds; `jitter` is from 0 to 1.

        After a success the refresh interval, or a little less. After failures longer each time, up to that interval:
        SPIFFE Federation §6.2 asks not to press an endpoint that fails.
        """
        interval = self.terms.interval_s(None if self.held is None else self.held.bundle)
        if not self.failures:
            return interval * (1 - 0.1 * jitter)
        first = min(FIRST_RETRY_S if self.held is None else self.terms.refresh_min_s, interval)
        return float(min(first * 2 ** min(self.failures - 1, 16), interval) * (0.5 + 0.5 * jitter))

    def stale_in_s(self, now: dt.datetime) -> float | None:
        """Return in how many seconds what is held becomes too old; None when it is, or nothing is held."""
        if self.held is None or self.stale(now):
            return None
        return self.terms.max_age_s - (now - self.held.confirmed_at).total_seconds()


def keys_digest(bundle: Bundle) -> str:
    """Return SHA-256 over the keys of a bundle, in no order: what tells two contents apart; hexadecimal."""
    x509 = {authority.public_bytes(Encoding.DER) for authority in bundle.authorities}
    jwt = {
        found.key_id.encode() + b"\0" + found.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for found in bundle.jwt_authorities
    }
    digests = sorted(hashlib.sha256(kind + key).digest() for kind, keys in ((b"x", x509), (b"j", jwt)) for key in keys)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _compare(before: Held | None, held: Held) -> Taken:
    sequence = held.bundle.sequence
    changed = before is None or before.digest != held.digest
    notes = []
    if changed and not held.bundle.authorities:
        notes.append(Note.EMPTY)
    if before is not None and changed and sequence is not None and sequence == before.bundle.sequence:
        notes.append(Note.SAME_SEQUENCE)
    if before is not None and before.bundle.sequence is not None and sequence is None:
        notes.append(Note.NO_SEQUENCE)
    return Taken(changed=changed, notes=tuple(notes))
