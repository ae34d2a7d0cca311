"""Each kind of value reads what it shows, and refuses what is outside its range."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.kinds import (
    Address,
    Choice,
    Duration,
    FileName,
    Flag,
    HostPort,
    Integer,
    Number,
    Pace,
    PerTime,
    Scalar,
    Text,
)
from gateway.config.schema import LogLevel

DURATION = Duration(low="10ms", high="7d")


@pytest.mark.parametrize(
    ("text", "value_s"),
    [("30s", 30), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("500ms", 0.5), ("7d", 604_800), ("1.5s", 1.5)],
)
def test_durations(text: str, value_s: float) -> None:
    """A duration is seconds."""
    assert DURATION.read(text) == value_s


@pytest.mark.parametrize("text", ["30", "", "s", "-1s", "1y", "1 s", "8d", "1ms", "1e3s", "9" * 40 + "s", "٣s"])
def test_no_durations(text: str) -> None:
    """A unit is needed, and the range holds."""
    with pytest.raises(ValueError, match="wants"):
        DURATION.read(text)


@settings(max_examples=50)
@given(st.integers(min_value=10, max_value=604_800_000))
def test_duration_round_trip(milliseconds: int) -> None:
    """What is shown reads as the same."""
    assert DURATION.read(DURATION.show(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Integer(low=0, high=5000), "1_000", 1000),
        (Number(low=0.1, high=10), "2.5", 2.5),
        (Flag(), "true", True),
        (Flag(), "false", False),
        (Choice(LogLevel), "debug", LogLevel.DEBUG),
        (FileName(), "a/b.pem", Path("a/b.pem")),
        (HostPort(), "[::1]:7443", Address("::1", 7443)),
        (HostPort(), "localhost:0", Address("localhost", 0)),
        (PerTime(), "60/h", Pace(60, 3_600_000_000)),
        (PerTime(), "1_000/s", Pace(1000, 1_000_000)),
        (Text(), 'with "quotes" and \\', 'with "quotes" and \\'),
    ],
)
def test_read(kind: Scalar, text: str, value: object) -> None:
    """Each kind reads its own form."""
    assert kind.read(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Integer(low=1, high=5), "6"),
        (Integer(low=1, high=5), "1.0"),
        (Integer(low=1, high=5), "0x1"),
        (Integer(low=1, high=5), "²"),
        (Number(low=1, high=5), "nan"),
        (Number(low=1, high=5), "inf"),
        (Number(low=1, high=5), "0.9"),
        (Flag(), "yes"),
        (Choice(LogLevel), "loud"),
        (FileName(), ""),
        (FileName(), "a\x00b"),
        (HostPort(), "7443"),
        (HostPort(), "host:65536"),
        (HostPort(), "::1:7443"),
        (HostPort(), "ho st:1"),
        (Text(high=3), "long"),
        (Text(pattern="[a-z]+"), "A"),
        (Text(), "a\nb"),
    ],
)
def test_refuse(kind: Scalar, text: str) -> None:
    """Each kind says what it wants instead."""
    with pytest.raises(ValueError, match="wants"):
        kind.read(text)


def test_address_text() -> None:
    """An IPv6 host is in brackets."""
    assert str(Address("::1", 1)) == "[::1]:1"
    assert str(Address("127.0.0.1", 1)) == "127.0.0.1:1"


@pytest.mark.parametrize("text", ["60", "60/y", "0/s", "1000001/s", "-1/s", "1.5/s", "/s", "60 /h", "٣/s", "1/ms"])
def test_no_paces(text: str) -> None:
    """A rate is a whole number of 1 to a million in a unit of time."""
    with pytest.raises(ValueError, match="60/h"):
        PerTime().read(text)


@pytest.mark.parametrize("text", ["1/s", "100/m", "60/h", "1000000/d"])
def test_pace_round_trip(text: str) -> None:
    """What is shown reads as the same."""
    assert PerTime().show(PerTime().read(text)) == text
