"""Refused calls on record: the first of each source, the others counted, everything bounded."""

from __future__ import annotations

import datetime as dt

import pytest

from certs.errors import AuthorityError
from certs.service.refusals import EACH, WINDOW, Refusal, Refusals

NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)


def refusal(asked_by: str = "192.0.2.7", reason: str = "JOIN_TOKEN") -> Refusal:
    """Return a refusal."""
    return Refusal(asked_by=asked_by, method="join", subject="", reason=reason, text="no")


class Noted:
    """What was put on record."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []

    def __call__(self, refusal: Refusal, now: dt.datetime, times: int) -> None:
        """Take a refusal."""
        self.events.append((refusal.asked_by, refusal.reason, times))


def test_a_flood_of_one_source() -> None:
    """The first few have an event each; the others one together, when the window ends."""
    noted = Noted()
    refusals = Refusals(noted)
    for _ in range(500):
        refusals.refused(refusal(), NOW)
    assert noted.events == [("192.0.2.7", "JOIN_TOKEN", 1)] * EACH
    refusals.flush(NOW + WINDOW / 2)
    assert len(noted.events) == EACH
    refusals.flush(NOW + WINDOW)
    refusals.flush(NOW + WINDOW)
    assert noted.events[EACH:] == [("192.0.2.7", "JOIN_TOKEN", 500 - EACH)]


def test_the_next_window_begins_anew() -> None:
    """A source has its share again, and the count of the last window comes first."""
    noted = Noted()
    refusals = Refusals(noted)
    for _ in range(EACH + 3):
        refusals.refused(refusal(), NOW)
    refusals.refused(refusal(), NOW + WINDOW)
    assert noted.events[EACH:] == [("192.0.2.7", "JOIN_TOKEN", 3), ("192.0.2.7", "JOIN_TOKEN", 1)]


def test_many_sources() -> None:
    """However many there are, what is remembered is bounded, and none of it is lost from the counts."""
    noted = Noted()
    refusals = Refusals(noted)
    for number in range(5000):
        refusals.refused(refusal(f"192.0.2.{number}"), NOW)
    refusals.flush(NOW + WINDOW)
    assert sum(times for _, _, times in noted.events) == 5000
    assert len(noted.events) <= 1024 + 1024 + 1
    assert "several" in {source for source, _, _ in noted.events}


def test_a_record_that_cannot_be_written() -> None:
    """Whoever refuses is told so."""

    def fails(refusal: Refusal, now: dt.datetime, times: int) -> None:
        raise AuthorityError("the disk is full")

    with pytest.raises(AuthorityError):
        Refusals(fails).refused(refusal(), NOW)
