"""What the authority agrees to issue."""

from __future__ import annotations

import datetime as dt

import pytest

from certs.ca.authority import new_key
from certs.ca.profile import (
    BACKDATE,
    LeafRequest,
    check_dns_name,
    check_request,
    plan_intermediate,
    plan_leaf,
    plan_root,
)
from certs.errors import ProfileRefused, Reason
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import TestAuthority

DOMAIN = TrustDomain("example.org")
A = TestAuthority("example.org")
KEY = new_key().public_key()
NOW = A.now.replace(microsecond=0) + dt.timedelta(microseconds=250_000)


def request(text: str = "spiffe://example.org/gw", dns: tuple[str, ...] = (), ttl_s: int = 3600) -> LeafRequest:
    """Return a request."""
    return LeafRequest(spiffe_id=SpiffeId.parse(text), dns_names=dns, ttl_s=ttl_s)


def test_leaf() -> None:
    """A leaf's plan is what was asked for, from a little before now, in whole seconds."""
    plan = plan_leaf(request(dns=("gw.example.org",)), DOMAIN, KEY, 5, NOW, A.intermediate)
    assert (plan.uri, plan.dns_names, plan.common_name) == ("spiffe://example.org/gw", ("gw.example.org",), "")
    assert plan.path_length is None
    assert plan.not_before == (NOW - BACKDATE).replace(microsecond=0)
    assert plan.not_after == (NOW + dt.timedelta(hours=1)).replace(microsecond=0)


@pytest.mark.parametrize(
    "wrong",
    [
        request("spiffe://other.org/gw"),
        request("spiffe://example.org"),
        request(ttl_s=299),
        request(ttl_s=86_401),
        request(ttl_s=-1),
        request(dns=("a.example.org", "b.example.org")),
        request(dns=("*.example.org",)),
    ],
    ids=["other domain", "no path", "too short", "too long", "negative", "two names", "wildcard"],
)
def test_refused_requests(wrong: LeafRequest) -> None:
    """What the profile does not allow is refused before anything is signed."""
    with pytest.raises(ProfileRefused) as refused:
        plan_leaf(wrong, DOMAIN, KEY, 5, NOW, A.intermediate)
    assert refused.value.reason is Reason.PROFILE


@pytest.mark.parametrize("ttl_s", [300, 86_400])
def test_bounds_of_the_lifetime(ttl_s: int) -> None:
    """Five minutes and 24 hours are allowed themselves."""
    check_request(request(ttl_s=ttl_s), DOMAIN)


@pytest.mark.parametrize("name", ["localhost", "a", "gw-1.example.org", "xn--bcher-kva.example", "1.example.org"])
def test_dns_names(name: str) -> None:
    """Host names in lower case are allowed."""
    check_dns_name(name)


NO_NAMES = (
    "",
    "UPPER.org",
    "a..b",
    ".a",
    "a.",
    "-a.org",
    "a-.org",
    "a_b.org",
    "127.0.0.1",
    "::1",
    "ä.org",
    "a b",
    "a\n",
)
TOO_LONG = ("a" * 64 + ".org", ".".join(["a" * 60] * 5))


@pytest.mark.parametrize("name", [*NO_NAMES, *TOO_LONG])
def test_names_that_are_none(name: str) -> None:
    """Whatever is not a host name in lower case is refused."""
    with pytest.raises(ProfileRefused):
        check_dns_name(name)


def test_leaf_never_outlives_its_issuer() -> None:
    """A leaf ends with its intermediate, and is refused when that leaves less than five minutes."""
    ends = A.now + dt.timedelta(minutes=20)
    issuer = A.sub_authority(A.intermediate_key, not_after=ends)
    assert plan_leaf(request(), DOMAIN, KEY, 5, NOW, issuer).not_after == ends
    with pytest.raises(ProfileRefused, match="smsgw ca rotate"):
        plan_leaf(request(), DOMAIN, KEY, 5, ends - dt.timedelta(seconds=299), issuer)


def test_issuer_that_is_not_valid_yet() -> None:
    """A clock before the intermediate's time is a clock to be checked."""
    issuer = A.sub_authority(A.intermediate_key, not_before=A.now + dt.timedelta(hours=1))
    with pytest.raises(ProfileRefused, match="clock"):
        plan_leaf(request(), DOMAIN, KEY, 5, NOW, issuer)


def test_backdating_stops_at_the_issuer() -> None:
    """A leaf does not begin before its intermediate."""
    issuer = A.sub_authority(A.intermediate_key, not_before=A.now - dt.timedelta(seconds=5))
    assert plan_leaf(request(), DOMAIN, KEY, 5, NOW, issuer).not_before == issuer.not_valid_before_utc


def test_authorities() -> None:
    """Root and intermediate name the trust domain without a path, and bound what may follow them."""
    root = plan_root(DOMAIN, KEY, 5, NOW)
    intermediate = plan_intermediate(DOMAIN, KEY, 6, NOW, A.root)
    assert (root.uri, root.path_length) == ("spiffe://example.org", 1)
    assert (intermediate.uri, intermediate.path_length) == ("spiffe://example.org", 0)
    assert intermediate.not_after <= A.root.not_valid_after_utc


def test_root_that_ends() -> None:
    """No intermediate is made below a root in its last day."""
    with pytest.raises(ProfileRefused, match="make a new authority"):
        plan_intermediate(DOMAIN, KEY, 6, A.root.not_valid_after_utc - dt.timedelta(hours=23), A.root)
