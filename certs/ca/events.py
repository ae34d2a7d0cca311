"""What happened at the authority: issued, renewed, refused, revoked, rotated; by whom and why. For good, and in order.

Each event is written in the transaction of what it tells of (`certs.ca.event_schema`), and carries a hash over itself
and the one before it, so that none can be changed, taken out or put in without changing all that follow:

    hash = SHA-256(hash of the event before ‖ JSON of [seq, at, what, reason, subject, serial, asked_by, detail])

Whoever can write the file can make all of them anew: the newest hash, kept elsewhere, is what shows that.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from certs.errors import AuthorityError, Reason

if TYPE_CHECKING:  # the ledger gives its connections a function of this module
    from certs.ca.ledger import Ledger

MOST_DETAIL: Final = 500  # characters
_COLUMNS: Final = "seq, at, what, reason, subject, serial, asked_by, detail, hash"
_PAGE: Final = 10_000


class What(enum.StrEnum):
    """What happened. The reason that goes with it stands beside."""

    CERTIFICATE_ISSUED = "CERTIFICATE_ISSUED"  # what was believed: local, token, svid, itself
    CERTIFICATE_RENEWED = "CERTIFICATE_RENEWED"  # svid
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED"  # a number of RFC 5280 §5.3.1
    JWT_ISSUED = "JWT_ISSUED"
    CALL_REFUSED = "CALL_REFUSED"  # a name of `certs.errors.Reason`
    AUTHORITY_MADE = "AUTHORITY_MADE"  # its kind and state
    AUTHORITY_CHANGED = "AUTHORITY_CHANGED"  # its kind and its new state
    JWT_KEY_MADE = "JWT_KEY_MADE"
    JWT_KEY_REMOVED = "JWT_KEY_REMOVED"
    TOKEN_MADE = "TOKEN_MADE"  # noqa: S105 -- the name of an event, not a secret
    TOKEN_USED = "TOKEN_USED"  # noqa: S105 -- as above
    SETTING_CHANGED = "SETTING_CHANGED"
    FEDERATION = "FEDERATION"  # what became of another trust domain's bundle, or why it was not had


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event.

    Attributes:
        seq: its number, from 1, without a gap.
        at: when, UTC, to the second.
        what, reason: see `What`.
        subject: whose certificate, or which authority, key, setting; for a refused call, who called.
        serial: of the certificate, lower-case hexadecimal; "" for none.
        asked_by: a SPIFFE ID, an account on this machine, or an address.
        detail: more of it, for people.
        digest: its hash, hexadecimal.
    """

    seq: int
    at: dt.datetime
    what: str
    reason: str
    subject: str
    serial: str
    asked_by: str
    detail: str
    digest: str


def chained(before: bytes, *fields: int | str) -> bytes:
    """Return the hash of an event; `fields` are its own, in the order of the module's docstring."""
    return hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()


def note(
    ledger: Ledger,
    what: What,
    now: dt.datetime,
    *,
    reason: str = "",
    subject: str = "",
    asked_by: str,
    detail: str = "",
    times: int = 1,
) -> None:
    """Put an event on record that changes nothing else; returns when it is on disk. Raises AuthorityError.

    `times`: one event may stand for so many equal ones; they are all counted.
    """
    who, whose, more = (_one_line(text) for text in (asked_by, subject, detail))
    fields = int(now.timestamp()), what.value, reason, whose, "", who, more
    with ledger.writing() as db:
        db.execute("INSERT INTO noted VALUES (?, ?, ?, ?, ?, ?, ?)", fields)
        sql = "UPDATE event_counts SET count = count + ? WHERE what = ? AND reason = ?"
        db.execute(sql, (times - 1, what.value, reason))


def _one_line(text: str) -> str:
    """Return a text, which others may have chosen, as the record has it: bounded, and nothing in it acts."""
    return "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text[:MOST_DETAIL]])


def events_after(ledger: Ledger, seq: int, *, limit: int, what: Sequence[str] = ()) -> tuple[Event, ...]:
    """Return the events after number `seq`, in order; at most `limit`. Raises AuthorityError."""
    wanted = f"AND what IN ({', '.join('?' * len(what))}) " if what else ""
    sql = f"SELECT {_COLUMNS} FROM events WHERE seq > ? {wanted}ORDER BY seq LIMIT ?"  # noqa: S608 -- marks only
    with ledger.reading() as db:
        return tuple(_event(row) for row in db.execute(sql, (seq, *what, limit)))


def newest(ledger: Ledger) -> int:
    """Return the number of the newest event; 0 when there is none. Raises AuthorityError."""
    with ledger.reading() as db:
        return int(db.execute("SELECT coalesce(max(seq), 0) FROM events").get)


def counts(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Return how many there have ever been, by what and reason. Raises AuthorityError."""
    with ledger.reading() as db:
        rows = db.execute("SELECT what, reason, count FROM event_counts").fetchall()
    return {(str(what), str(reason)): int(str(count)) for what, reason, count in rows}


def verify(ledger: Ledger, expected: str = "") -> tuple[int, str]:
    """Return the number and hash of the newest event, once the chain of all that are kept is whole.

    `expected`: a hash that was kept elsewhere, which has to be among them. Raises AuthorityError for a chain that is
    not whole, and when that hash is missing.
    """
    seen, seq = not expected, 0
    before: bytes | None = b""
    for event, digest in _all(ledger):
        if seq == 0 and event.seq != 1:
            before = None  # those before it are not kept any more
        if not _follows(event, digest, seq, before):
            raise AuthorityError(
                f"the events are not whole: number {event.seq} does not follow from the one before it. Somebody has "
                "changed the record: compare it with a backup",
                reason=Reason.AUTHORITY_STATE,
            )
        before, seq, seen = digest, event.seq, seen or event.digest == expected.lower()
    if not seen:
        raise AuthorityError(
            f"no event has the hash {expected[:64]!a}: the record is an older one, or was made anew",
            reason=Reason.NOT_RECORDED,
        )
    return seq, (before or b"").hex()


def _follows(event: Event, digest: bytes, seq: int, before: bytes | None) -> bool:
    """Say whether an event follows the one with this number and hash; None: the first that is kept follows any."""
    fields = event.what, event.reason, event.subject, event.serial, event.asked_by, event.detail
    if before is None:
        return True
    return event.seq == seq + 1 and digest == chained(before, event.seq, int(event.at.timestamp()), *fields)


def _all(ledger: Ledger) -> Iterator[tuple[Event, bytes]]:
    seq = 0
    while page := events_after(ledger, seq, limit=_PAGE):
        for event in page:
            yield event, bytes.fromhex(event.digest)
        seq = page[-1].seq


def _event(row: Sequence[object]) -> Event:
    seq, at, what, reason, subject, serial, asked_by, detail, digest = row
    if not isinstance(digest, bytes):
        raise AuthorityError("an event on record has no hash: restore the record from a backup")
    return Event(
        seq=int(str(seq)),
        at=dt.datetime.fromtimestamp(int(str(at)), dt.UTC),
        what=str(what),
        reason=str(reason),
        subject=str(subject),
        serial=str(serial),
        asked_by=str(asked_by),
        detail=str(detail),
        digest=digest.hex(),
    )
