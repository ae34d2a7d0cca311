"""When a target of a route may be used: hours of the week, in one time zone.

Hours are read off a clock on the wall there: what that clock shows twice (when summer time ends) is inside both times,
and what it leaves out (when summer time begins) does not come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # ISO 8601: Monday is 1
DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * DAY_MINUTES

_FORM = re.compile(
    r"(?:(?P<days>[a-z,-]{3,40}) )?(?P<start>[0-2][0-9]:[0-5][0-9])-(?P<end>[0-2][0-9]:[0-5][0-9])", re.ASCII
)


class Hours(NamedTuple):
    """From one time of day to another, on some days of the week."""

    days: frozenset[int]  # 1 is Monday
    start: int  # the minute of the day with which it begins
    end: int  # the minute of the day before which it ends, 1,440 at most; not after `start`: on the following day

    def includes(self, weekday: int, minute: int) -> bool:
        """Say whether a moment lies within: `weekday` from 1, `minute` of the day from 0."""
        if self.start < self.end:
            return weekday in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return weekday in self.days
        return minute < self.end and (weekday - 2) % 7 + 1 in self.days  # it began the day before


def open_at(hours: Iterable[Hours], weekday: int, minute: int) -> bool:
    """Say whether a moment lies within any of `hours`."""
    return any(one.includes(weekday, minute) for one in hours)


def ever_closed(hours: Iterable[Hours]) -> bool:
    """Say whether any minute of the week lies outside all of `hours`."""
    wanted = tuple(hours)
    return not all(open_at(wanted, at // DAY_MINUTES + 1, at % DAY_MINUTES) for at in range(_WEEK_MINUTES))


def parse_hours(text: str) -> Hours:
    """Return the hours that are written as `mon-fri 09:00-21:00`, `sat,sun 10:00-18:00`, or `22:00-06:00` (every day).

    Raises ValueError, which says what is wanted.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("wants days and times, as mon-fri 09:00-21:00, sat,sun 10:00-18:00, or 22:00-06:00")
    start, end = _minute(found["start"]), _minute(found["end"])
    if start in (end, DAY_MINUTES):
        raise ValueError("wants hours that begin before 24:00 and do not end when they begin; all day is 00:00-24:00")
    return Hours(_days(found["days"]) if found["days"] else frozenset(range(1, 8)), start, end)


def _minute(text: str) -> int:
    hour, minute = int(text[:2]), int(text[3:])
    if hour * 60 + minute > DAY_MINUTES:
        raise ValueError("wants times from 00:00 to 24:00")
    return hour * 60 + minute


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for item in text.split(","):
        first, dash, last = item.partition("-")
        if first not in DAYS or (last if dash else first) not in DAYS:
            raise ValueError(f"wants days by their first three letters, {', '.join(DAYS)}")
        begin, end = DAYS.index(first), DAYS.index(last if dash else first)
        days.update((begin + step) % 7 + 1 for step in range((end - begin) % 7 + 1))  # fri-mon goes over Sunday
    return frozenset(days)


def hours_text(hours: Hours) -> str:
    """Return hours as they are written in the configuration."""
    days = "" if len(hours.days) == 7 else ",".join(DAYS[day - 1] for day in sorted(hours.days)) + " "
    return f"{days}{hours.start // 60:02}:{hours.start % 60:02}-{hours.end // 60:02}:{hours.end % 60:02}"
