"""The federation section of the registration, and the entries that federate."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from certs.ca.registration import Registration, read_registration
from certs.errors import AuthorityError
from certs.federation.endpoint import Location, Profile
from certs.federation.relationship import Terms
from certs.spiffe_id import SpiffeId, TrustDomain

DOMAIN, PARTNER = TrustDomain("example.org"), TrustDomain("partner.example")
ENTRY = """\
nodes: [{spiffe_id: spiffe://example.org/node/a}]
entries:
  - spiffe_id: spiffe://example.org/billing
    node: spiffe://example.org/node/a
    unix: {uid: 1}
    federates_with: %s
federation:
"""
WEB = "  - {trust_domain: partner.example, url: 'https://b.partner.example/bundle.json'%s}\n"
SPIFFE = ", profile: https_spiffe, server_id: 'spiffe://%s/endpoint'"


def read(folder: Path, entries: str, names: str = "[partner.example]") -> Registration:
    """Return what a file registers."""
    path = folder / "entries.yaml"
    path.write_text(ENTRY % names + entries)
    return read_registration(path, DOMAIN)


def test_defaults(tmp_path: Path) -> None:
    """A name and a URL are enough, and an entry names the trust domain."""
    found = read(tmp_path, WEB % "")
    assert found.entries[0].federates_with == (PARTNER,)
    (member,) = found.federation
    assert member.endpoint.location == Location(host="b.partner.example", port=443, target="/bundle.json")
    assert (member.endpoint.profile, member.endpoint.networks, member.terms) == (Profile.WEB, (), Terms())


def test_everything(tmp_path: Path) -> None:
    """Each setting gets to where it counts; files lie beside the registration."""
    more = (
        SPIFFE % "partner.example" + ", bootstrap_file: p.json, refresh_min: 30s, refresh_max: 10m, max_age: 2h, "
        "allow_networks: [10.0.0.0/8], allow_ports: [8443]"
    )
    (member,) = read(tmp_path, (WEB % more).replace("example/b", "example:8443/b")).federation
    assert member.endpoint.server_id == SpiffeId.parse("spiffe://partner.example/endpoint")
    assert member.endpoint.networks == (ipaddress.ip_network("10.0.0.0/8"),)
    assert member.bootstrap_file == tmp_path / "p.json"
    assert member.terms == Terms(refresh_min_s=30, refresh_max_s=600, max_age_s=7200)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (WEB.replace("partner.example,", "example.org,") % "", "this trust domain itself"),
        (WEB % "" + WEB % "", "line 9: partner.example stands before"),
        (WEB % ", url_: x", "url_"),
        (WEB % ", profile: web", "https_web or https_spiffe"),
        (WEB % ", profile: https_spiffe", "SPIFFE ID"),
        (WEB % SPIFFE % "partner.example", "bootstrap_file"),
        (WEB % SPIFFE % "third.example", "no bundle of third.example"),
        (WEB % ", refresh_min: 2h", "in that order"),
        (WEB % ", max_age: 1h", "in that order"),
        (WEB % ", max_age: long", "no duration"),
        (WEB % ", allow_networks: [0.0.0.0/0]", "every address"),
        (WEB % ", allow_networks: [10.0.0.1/8]", "allow_networks"),
        (WEB % ", allow_ports: [70000]", "65535"),
        (WEB.replace("https:", "http:") % "", "https://"),
        (WEB.replace("partner.example,", "Partner.example,") % "", "Partner"),
        (WEB.replace("partner.example,", "third.example,") % "", "partner.example is not under `federation`"),
    ],
)
def test_mistakes(tmp_path: Path, entries: str, words: str) -> None:
    """A mistake refuses the whole file, with its line."""
    with pytest.raises(AuthorityError, match=r"entries\.yaml, line \d") as caught:
        read(tmp_path, entries)
    assert words in str(caught.value)


@pytest.mark.parametrize("names", ["partner.example", "[PARTNER.example]", "[[]]"])
def test_names(tmp_path: Path, names: str) -> None:
    """What an entry federates with is a list of trust domains."""
    with pytest.raises(AuthorityError, match="federates_with"):
        read(tmp_path, WEB % "", names)


def test_servers_of_our_own_domain(tmp_path: Path) -> None:
    """An endpoint may be one of our own workloads: our bundle is at hand."""
    assert read(tmp_path, WEB % SPIFFE % "example.org").federation[0].bootstrap_file is None
