"""Endpoints: what URL may be one (SPIFFE Federation §5.2.1.1), and which parameters belong to which profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import EndpointRefused
from certs.federation.endpoint import Endpoint, Location, Profile, parse_url
from certs.spiffe_id import SpiffeId, TrustDomain

DOMAIN = TrustDomain("partner.example")


@pytest.mark.parametrize(
    ("url", "location", "authority"),
    [
        ("https://partner.example", Location(host="partner.example", port=443, target="/"), "partner.example"),
        ("https://partner.example:443/b", Location(host="partner.example", port=443, target="/b"), "partner.example"),
        (
            "https://partner.example:8443/a/b.json?v=1",
            Location(host="partner.example", port=8443, target="/a/b.json?v=1"),
            "partner.example:8443",
        ),
        ("https://192.0.2.7/b%20c", Location(host="192.0.2.7", port=443, target="/b%20c"), "192.0.2.7"),
        ("https://[2001:DB8::0:1]:8443/", Location(host="2001:db8::1", port=8443, target="/"), "[2001:db8::1]:8443"),
        ("https://xn--bcher-kva.example/", Location(host="xn--bcher-kva.example", port=443, target="/"), None),
    ],
)
def test_url(url: str, location: Location, authority: str | None) -> None:
    """A URL is taken apart into what is connected to and what is sent."""
    found = parse_url(url, (8443,))
    assert found == location
    assert found.authority == (authority or location.host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://partner.example/",
        "HTTPS://partner.example/",
        "file:///etc/passwd",
        "https://",
        "https:///b",
        "https://user@partner.example/",
        "https://user:secret@partner.example/",
        "https://partner.example@127.0.0.1/",
        "https://partner.example/#part",
        "https://partner.example\\@127.0.0.1/",
        "https://partner.example /",
        "https://partner.example/\r\nHost: other",
        "https://partner.example/bücher",
        "https://partner.example/<b>",
        "https://partner.example/%zz",
        "https://partner.example:8444/",
        "https://partner.example:0/",
        "https://partner.example:99999/",
        "https://partner.example:+443/",
        "https://partner.example:4_43/",
        "https://PARTNER.example/",
        "https://partner..example/",
        "https://-partner.example/",
        "https://partner.example./",
        "https://pa_rtner.example/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.0.0.01/",
        "https://[::1%25eth0]/",
        "https://[::1%eth0]/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[partner.example]/",
        "https://partner.example?" + "x" * 2048,
    ],
)
def test_refused(url: str) -> None:
    """What is no such URL is refused; a second notation of an address or a host is none."""
    with pytest.raises(EndpointRefused):
        parse_url(url, (8443,))


@given(st.text(max_size=80).map(lambda rest: "https://" + rest))
def test_any_text(url: str) -> None:
    """Whatever comes, it is refused as documented or it is sent as it stands: no octet of it can end a line."""
    try:
        found = parse_url(url)
    except EndpointRefused:
        return
    for part in (found.host, found.target, found.authority):
        assert part.isascii()
        assert part.isprintable()
        assert " " not in part


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": Profile.SPIFFE},
        {"server_id": SpiffeId(DOMAIN, "/bundle")},
        {"profile": Profile.SPIFFE, "server_id": SpiffeId(DOMAIN)},
        {"profile": Profile.SPIFFE, "server_id": SpiffeId(DOMAIN, "/bundle"), "ca_file": Path("ca.pem")},
    ],
)
def test_profiles(changes: dict[str, Any]) -> None:
    """https_spiffe wants the server's SPIFFE ID, and https_web has no use for one."""
    with pytest.raises(EndpointRefused):
        Endpoint(trust_domain=DOMAIN, location=parse_url("https://partner.example/"), **changes)
