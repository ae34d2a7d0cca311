"""The attributes of a request, in the form in which policies see them."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest

from gateway.policy.requests import (
    MAX_PATH_SEGMENTS,
    Calendar,
    Moment,
    canonical_address,
    client_address,
    path_entities,
)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.1.2.3:50000", "10.1.2.3"),
        ("ipv6:%5B2001:db8::1%5D:50000", "2001:db8::1"),
        ("ipv6:[2001:0DB8:0:0::1]:50000", "2001:db8::1"),
        ("ipv6:%5B::ffff:10.1.2.3%5D:50000", "10.1.2.3"),
        ("ipv6:%5Bfe80::1%25eth0%5D:50000", "fe80::1"),
    ],
)
def test_client_address(peer: str, address: str) -> None:
    """The address is read from gRPC's name of the peer, in the one form that Cedar reads."""
    assert client_address(peer) == address


@pytest.mark.parametrize(
    "peer",
    ["", "unix:/run/smsgw.sock", "unix:", "ipv4:10.1.2:50000", "ipv4:300.1.2.3:1", "ipv4:10.1.2.3", "10.1.2.3:5",
     "ipv6:[::1]", "ipv6:[" + "1" * 100 + "]:1", "ipv4:10.1.2.3:50000\n", "ipv4:010.1.2.3:5"],
)  # fmt: skip
def test_no_address(peer: str) -> None:
    """What is no address for certain is not known."""
    assert client_address(peer) == ""


def test_canonical_address_refuses() -> None:
    """What was typed has to be an address."""
    with pytest.raises(ValueError, match="host"):
        canonical_address("host")


def test_moment() -> None:
    """Weekday and minute follow the zone, summer time included."""
    friday_evening = int(dt.datetime(2026, 7, 3, 22, 30, 59, tzinfo=dt.UTC).timestamp() * 1_000_000)
    assert Calendar().moment(friday_evening) == Moment(5, 22 * 60 + 30)
    assert Calendar(zoneinfo.ZoneInfo("Europe/Berlin")).moment(friday_evening) == Moment(6, 30)


def test_moment_moves_on() -> None:
    """The remembered minute ends with the minute, in both directions."""
    calendar = Calendar()
    assert [calendar.moment(at) for at in (59_999_999, 60_000_000, 59_999_999)] == [(4, 0), (4, 1), (4, 0)]


def test_path_entities() -> None:
    """A caller lies in every prefix of its id by whole segments, itself included."""
    assert path_entities("spiffe://example.org/shop/api") == (
        "spiffe://example.org", "spiffe://example.org/shop", "spiffe://example.org/shop/api",
    )  # fmt: skip
    assert path_entities("spiffe://example.org") == ("spiffe://example.org",)


def test_too_many_segments() -> None:
    """An id deeper than policies are asked about is refused, rather than cut."""
    path_entities("spiffe://d" + "/s" * MAX_PATH_SEGMENTS)
    with pytest.raises(ValueError, match="33 segments"):
        path_entities("spiffe://d" + "/s" * (MAX_PATH_SEGMENTS + 1))
