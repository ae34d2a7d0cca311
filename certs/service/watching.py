"""What `smsgw ca serve` tells of the authority: its numbers, its alerts, and its events as lines of the log.

Looked at about once a second, from the record: so it tells of what other processes do as well. It issues nothing but
the SVID of the metrics page, and changes nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Final

from certs.ca.authority import Authority
from certs.ca.events import What, events_after, newest
from certs.ca.states import Kind, State
from certs.errors import CertsError
from certs.service.numbers import Numbers, Page, read_numbers
from visibility.alerts import Alerts
from visibility.catalogue import (
    AUTHORITY_EXPIRING,
    CALLS_REFUSED,
    CRL_STALE,
    HANDSHAKES_REFUSED,
    LEDGER_FAILING,
    NO_AUTHORITY_ISSUES,
    NO_STANDBY,
    RENEWALS_LATE,
)
from visibility.core_log import CoreLog
from visibility.surges import Surges

_LOG = logging.getLogger("certs.ca.events")
Clock = Callable[[], dt.datetime]
# Before its end: an intermediate is to be replaced by the standby 90 days before, a root by overlap.
ENDING: Final[Mapping[Kind, dt.timedelta]] = {
    Kind.INTERMEDIATE: dt.timedelta(days=30),
    Kind.ROOT: dt.timedelta(days=365),
}
MANY: Final = 10  # refusals of one reason within a minute
_LINES: Final = 1000  # at one look; the others come with the next
_NUMBERS_EVERY: Final = dt.timedelta(seconds=5)


class Watching:
    """Belongs to the thread that calls `refresh`; `page` may be rendered on any."""

    def __init__(self, authority: Authority, alerts: Alerts, clock: Clock, core_log: CoreLog | None = None) -> None:
        """`authority` is its own; `core_log`: what gRPC's core writes, if it is read. Raises AuthorityError."""
        self._authority, self._alerts, self._clock, self._core_log = authority, alerts, clock, core_log
        self.page = Page(alerts, {} if core_log is None else core_log.failed)
        self._seen = newest(authority.ledger)
        self._handshakes, self._calls = Surges(MANY), Surges(MANY)

    def refresh(self) -> None:
        """Look, tell, raise and resolve. Raises nothing: a record that cannot be read is an alert."""
        now = self._clock()
        try:
            changed = self._authority.refresh() | self._tell_events()
            if changed or now - self.page.numbers.at >= _NUMBERS_EVERY:
                self.page.numbers = read_numbers(self._authority, now, self.page.numbers)
        except CertsError as refused:
            self._alerts.raise_alert(LEDGER_FAILING, why=str(refused))
        else:
            self._alerts.resolve(LEDGER_FAILING)
            self._judge(self.page.numbers)
        self._refusals(self.page.numbers, now)
        self._alerts.look()

    def _tell_events(self) -> bool:
        """Log what is new on record; says whether there was something. Raises AuthorityError."""
        found = events_after(self._authority.ledger, self._seen, limit=_LINES)
        for event in found:
            level = logging.WARNING if event.what == What.CALL_REFUSED else logging.INFO
            fields = {
                "what": event.what, "reason": event.reason, "subject": event.subject, "serial": event.serial,
                "asked_by": event.asked_by, "detail": event.detail, "seq": event.seq, "hash": event.digest,
            }  # fmt: skip
            _LOG.log(level, "ca_event", extra=fields)
            self._seen = event.seq
        return bool(found)

    def _judge(self, numbers: Numbers) -> None:
        alerts, authority = self._alerts, self._authority
        issues = authority.issuing is not None
        alerts.observe(NO_AUTHORITY_ISSUES, {} if issues else {(): "no intermediate is active"})
        alerts.observe(NO_STANDBY, {} if authority.standby is not None or not issues else {(): "none is prepared"})
        ending: dict[tuple[str, ...], str] = {
            (kind,): f"{key_id} has {left_s / 86_400:.0f} days left"
            for (kind, state, key_id), left_s in numbers.authorities.items()
            if state == State.ACTIVE and left_s < ENDING[Kind(kind)].total_seconds()
        }
        alerts.observe(AUTHORITY_EXPIRING, ending)
        stale = [key_id for key_id, left_s in numbers.lists.items() if left_s <= 0]
        alerts.observe(CRL_STALE, {(key_id,): "it is out of date" for key_id in stale})
        late = numbers.late
        alerts.observe(RENEWALS_LATE, {(): f"{late} of {numbers.identities} identities"} if late else {})

    def _refusals(self, numbers: Numbers, now: dt.datetime) -> None:
        at = int(now.timestamp() * 1_000_000)
        refused = {reason: count for (what, reason), count in numbers.events.items() if what == What.CALL_REFUSED}
        for reason, more in self._calls.look(refused, at).items():
            self._alerts.raise_alert(CALLS_REFUSED, reason, why=f"{more} within a minute")
        if self._core_log is not None:
            self._core_log.look()
            for reason, more in self._handshakes.look(self._core_log.failed, at).items():
                self._alerts.raise_alert(HANDSHAKES_REFUSED, reason, why=f"{more} within a minute")
