"""Hours of the week: what is written, what lies within, and what summer time does to them."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.requests import Calendar
from gateway.routing.hours import DAY_MINUTES, Hours, ever_closed, hours_text, open_at, parse_hours

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
HOURS = st.builds(
    Hours,
    st.frozensets(st.integers(1, 7), min_size=1),
    st.integers(0, DAY_MINUTES - 1),
    st.integers(0, DAY_MINUTES),
).filter(lambda hours: hours.start != hours.end)


def at(text: str, hours: Hours) -> bool:
    """Say whether a moment, with its offset from UTC, lies within hours of Berlin."""
    now = int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000
    return hours.includes(*Calendar(BERLIN).moment(now))


@settings(deadline=None)
@given(HOURS)
def test_what_is_written_is_read_back(hours: Hours) -> None:
    """Hours are written in the form that is read."""
    assert parse_hours(hours_text(hours)) == hours


@settings(deadline=None)
@given(HOURS)
def test_a_week_has_as_many_open_minutes_as_its_hours(hours: Hours) -> None:
    """Minute by minute, each of the days has the whole span, over midnight too."""
    span = (hours.end - hours.start) % DAY_MINUTES or DAY_MINUTES
    within = sum(hours.includes(day, minute) for day in range(1, 8) for minute in range(DAY_MINUTES))
    assert within == span * len(hours.days)


def test_hours_over_midnight_belong_to_the_day_they_begin_on() -> None:
    """Friday 22:00-06:00 ends on Saturday morning, and does not begin on Friday morning."""
    hours = parse_hours("fri 22:00-06:00")
    assert [hours.includes(5, 23 * 60), hours.includes(6, 5 * 60), hours.includes(5, 5 * 60)] == [True, True, False]
    assert parse_hours("sun 22:00-06:00").includes(1, 0)


def test_days_may_go_over_the_end_of_the_week() -> None:
    """`fri-mon` is four days, and lists join ranges."""
    assert parse_hours("fri-mon 09:00-10:00").days == {5, 6, 7, 1}
    assert parse_hours("mon,wed-thu 09:00-10:00").days == {1, 3, 4}
    assert parse_hours("09:00-10:00").days == set(range(1, 8))


@pytest.mark.parametrize(
    "text", ["", "9:00-10:00", "mon 09:00", "monday 09:00-10:00", "mon 09:00-09:00", "mon 24:00-10:00", "25:00-26:00",
             "mon 23:00-24:30", "mon- 09:00-10:00", ",,, 09:00-10:00", "mon  09:00-10:00"],
)  # fmt: skip
def test_what_are_no_hours_is_refused(text: str) -> None:
    """The error says what is wanted."""
    with pytest.raises(ValueError, match="wants"):
        parse_hours(text)


def test_the_hour_that_comes_twice_is_open_both_times() -> None:
    """Summer time ends on 25 October 2026: 02:30 is on the clock twice, an hour apart."""
    hours = parse_hours("02:00-03:00")
    assert at("2026-10-25T02:30:00+02:00", hours)
    assert at("2026-10-25T02:30:00+01:00", hours)
    assert not at("2026-10-25T03:00:00+01:00", hours)


def test_the_hour_that_is_left_out_does_not_come() -> None:
    """Summer time begins on 29 March 2026: after 01:59 comes 03:00."""
    hours = parse_hours("02:00-03:00")
    opened = [at(f"2026-03-29T0{minutes // 60}:{minutes % 60:02}:00+00:00", hours) for minutes in range(240)]
    assert not any(opened)
    assert at("2026-03-29T01:00:00+00:00", parse_hours("03:00-04:00"))


def test_hours_together() -> None:
    """A moment is open when any of them is; hours that leave no minute out are never closed."""
    week = [parse_hours("mon-fri 09:00-21:00"), parse_hours("sat 10:00-14:00")]
    assert open_at(week, 6, 11 * 60)
    assert not open_at(week, 7, 11 * 60)
    assert ever_closed(week)
    assert not ever_closed([parse_hours("21:00-09:00"), parse_hours("09:00-21:00")])
