"""What is due of an authority's life, by a clock that is given: prepare, activate, revoke; and what people have to do.

    active one near its end                    activate the standby                         (`takes_over_before`)
    nothing issues, a standby is ready         activate it: after a taint that found none
    standby missing, root's key at hand        prepare one                                  (`root_place`)
    retired or tainted, nothing of it valid    revoke it, so that its key is destroyed      (`revoke_spent`)

Each step is one of `certs.ca.rotation`'s, with its overlap; none waits for another, and what fails is told and tried
again. It reads no clock; the loop around it is `smsgw ca serve`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.ledger import AuthorityRecord
from certs.ca.profile import MAX_TTL_S, STANDBY_LIFETIME
from certs.ca.rotation import TAKES_OVER_BEFORE
from certs.ca.states import Kind, State
from certs.ca.token_keys import Token
from certs.errors import AuthorityError, CertsError, ProfileRefused, SvidFileError

MIN_BEFORE: Final = dt.timedelta(days=1)
MAX_BEFORE: Final = dt.timedelta(days=300)
_OVERLAP: Final = dt.timedelta(seconds=MAX_TTL_S + 3600)  # the longest SVID, and an hour for clocks
_ENDS_SOON: Final = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is done without people.

    Attributes:
        takes_over_before: how long before the active intermediate's end the standby takes over: 1 to 300 days.
        root_place: where the root's key is, if the next standby is to be signed by itself; None: by `rotate prepare`.
        revoke_spent: whether intermediates of which nothing is valid any more are revoked, and their keys destroyed.

    Raises ProfileRefused for a time out of bounds.
    """

    takes_over_before: dt.timedelta = TAKES_OVER_BEFORE
    root_place: Path | Token | None = None
    revoke_spent: bool = False

    def __post_init__(self) -> None:
        if not MIN_BEFORE <= self.takes_over_before <= MAX_BEFORE:
            raise ProfileRefused("the standby takes over 1 to 300 days before the active intermediate ends")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn did, each with an authority, and what it could not do."""

    done: tuple[tuple[str, AuthorityRecord], ...] = ()
    failed: tuple[CertsError, ...] = ()


@dataclass(slots=True)
class _Doing:
    """What a turn has done so far."""

    done: list[tuple[str, AuthorityRecord]] = field(default_factory=list)
    failed: list[CertsError] = field(default_factory=list)

    def step(self, what: str, call: Callable[[], AuthorityRecord | None]) -> None:
        """Do one step; what it cannot do keeps no other."""
        try:
            if (record := call()) is not None:
                self.done.append((what, record))
        except CertsError as refused:
            self.failed.append(refused)


def turn(authority: Authority, schedule: Schedule, now: dt.datetime) -> Turn:
    """Do what is due at `now`. Raises nothing: what cannot be done is returned."""
    doing = _Doing()
    doing.step("activated", partial(_take_over, authority, schedule, now))
    if schedule.root_place is not None and authority.standby is None:
        doing.step("prepared", partial(rotation.prepare, authority, schedule.root_place, now))
        if authority.issuing is None:
            doing.step("activated", partial(_take_over, authority, schedule, now))
    if schedule.revoke_spent:
        for record in _spent(authority, now):
            doing.step("revoked", partial(_revoke, authority, record, schedule.root_place, now))
    return Turn(done=tuple(doing.done), failed=tuple(doing.failed))


def _revoke(
    authority: Authority, record: AuthorityRecord, root_place: Path | Token | None, now: dt.datetime
) -> AuthorityRecord:
    """Revoke one, on its root's list where that root's key is at hand, and without it where it is not."""
    if root_place is not None:
        with contextlib.suppress(AuthorityError, SvidFileError):
            return rotation.revoke(authority, record, now, root_place)[0]
    return rotation.revoke(authority, authority.find(record.key_id), now)[0]


def _take_over(authority: Authority, schedule: Schedule, now: dt.datetime) -> AuthorityRecord | None:
    if authority.issuing is None:
        return None if authority.standby is None else rotation.activate(authority, now)
    return rotation.rotate_if_due(authority, now, schedule.takes_over_before)


def _spent(authority: Authority, now: dt.datetime) -> tuple[AuthorityRecord, ...]:
    """Return the intermediates that issue no more, and of which nothing on record is valid, a day and an hour after."""
    return tuple(
        record
        for record in authority.records
        if record.kind is Kind.INTERMEDIATE
        and record.state in {State.RETIRED, State.TAINTED}
        and now - record.changed_at > _OVERLAP
        and not authority.ledger.valid_at(now, authority_key_id=record.key_id, limit=1)
    )


def warnings(authority: Authority, schedule: Schedule, now: dt.datetime) -> tuple[str, ...]:
    """Return what people have to do, a sentence each, and none when all goes by itself."""
    active, standby = authority.issuing, authority.standby
    said: list[str] = []
    if active is None:
        said.append("no intermediate is active, so nothing is issued: run `smsgw ca rotate prepare` and `activate`")
    elif active.certificate.not_valid_after_utc - now < _ENDS_SOON:
        said.append(f"the intermediate ends at {_at(active)}: run `smsgw ca rotate prepare` and `activate`")
    if standby is None:
        said.append("no standby is prepared: run `smsgw ca rotate prepare`")
    elif not authority.keys.holds(standby.key_id):
        where = authority.keys.where(standby.key_id)
        said.append(f"the standby's key is not at hand: after a taint nothing issues until {where} is attached")
    if (
        standby is not None
        and active is not None
        and _ends(standby) <= _ends(active) < now + schedule.takes_over_before
    ):
        said.append(
            f"the standby ends at {_at(standby)}, no later than the active one: make another root, `rotate root`"
        )
    roots = [found for found in authority.records if found.kind is Kind.ROOT and found.state is not State.REVOKED]
    newest = max(roots, key=_ends, default=None)
    if newest is not None and _ends(newest) - now < STANDBY_LIFETIME:
        said.append(f"the last root ends at {_at(newest)}, before a standby would: run `smsgw ca rotate root`")
    return tuple(said)


def _ends(record: AuthorityRecord) -> dt.datetime:
    return record.certificate.not_valid_after_utc


def _at(record: AuthorityRecord) -> str:
    return f"{_ends(record):%Y-%m-%dT%H:%M:%SZ}"
