"""Trust domains to federate with, as they are configured."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from certs.federation.endpoint import Location, Profile
from certs.federation.relationship import Terms
from certs.spiffe_id import SpiffeId, TrustDomain
from gateway.config.federation_settings import BundleUrl, NetworkKind
from gateway.config.loader import load
from gateway.config.schema import Settings
from tests.gateway.config.conftest import Problems, Write

BASE = (
    "node: {trust_domain: example.org}\nidentity:\n  bundles: {example.org: b.pem, third.org: c.pem}\n  federation:\n"
)
WEB = "  - {trust_domain: partner.example, url: 'https://b.partner.example/bundle.json'%s}\n"
SPIFFE = ", profile: https_spiffe, server_id: 'spiffe://%s/endpoint'"


def loading(write: Write, text: str) -> Settings:
    """Return the configuration that a text is."""
    return load(write(text))


def test_defaults(write: Write, tmp_path: Path) -> None:
    """Trust domain and URL are enough; the rest is what SPIFFE Federation recommends, and nothing inside is allowed."""
    (entry,) = loading(write, BASE + WEB % "").identity.federation
    member = entry.member()
    assert member.endpoint.location == Location(host="b.partner.example", port=443, target="/bundle.json")
    assert (member.endpoint.trust_domain, member.endpoint.profile) == (TrustDomain("partner.example"), Profile.WEB)
    assert (member.endpoint.networks, member.endpoint.timeout_s, member.bootstrap_file) == ((), 10.0, None)
    assert member.terms == Terms(refresh_min_s=60, refresh_max_s=3600, max_age_s=86_400)


def test_everything(write: Write, tmp_path: Path) -> None:
    """Each setting gets to where it counts, with files beside the configuration."""
    more = (
        SPIFFE % "partner.example" + ", bootstrap_file: p.json, refresh_min: 30s, refresh_max: 10m, max_age: 2h, "
        "timeout: 3s, allow_networks: [10.0.0.0/8, 'fd00::/8'], allow_ports: [8443]"
    )
    text = (WEB % more).replace("partner.example/b", "partner.example:8443/b")
    (entry,) = loading(write, BASE + text).identity.federation
    member = entry.member()
    assert member.endpoint.server_id == SpiffeId.parse("spiffe://partner.example/endpoint")
    assert member.endpoint.location.port == 8443
    assert member.endpoint.networks == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    assert member.bootstrap_file == tmp_path / "p.json"
    assert (member.terms, member.endpoint.timeout_s) == (
        Terms(refresh_min_s=30, refresh_max_s=600, max_age_s=7200),
        3.0,
    )


@pytest.mark.parametrize(
    ("entries", "key", "words"),
    [
        (WEB.replace("partner.example,", "example.org,") % "", ".trust_domain", "this node's own"),
        (WEB.replace("partner.example,", "third.org,") % "", ".trust_domain", "from elsewhere"),
        (WEB % ", refresh_min: 10m, refresh_max: 5m", ".refresh_max", "shorter"),
        (WEB % ", max_age: 30m", ".max_age", "longer than refresh_max"),
        (WEB % ", profile: https_spiffe", "", "SPIFFE ID of the server"),
        (WEB % ", server_id: 'spiffe://partner.example/x'", "", "SPIFFE ID of the server"),
        (WEB % SPIFFE % "partner.example", "", "bootstrap_file"),
        (WEB % SPIFFE % "fourth.org", ".server_id", "no bundle of fourth.org"),
        (WEB % (SPIFFE % "third.org" + ", ca_file: x.pem"), "", "leave ca_file out"),
        (WEB.replace("example/b", "example:8443/b") % "", "", "allow_ports"),
        (WEB.replace("https:", "http:") % "", ".url", "https://"),
        (WEB.replace("//b.", "//me@b.") % "", ".url", "user"),
        (WEB % ", allow_networks: [10.0.0.1/8]", ".allow_networks[0]", "network"),
        (WEB % ", allow_networks: [0.0.0.0/0]", ".allow_networks[0]", "every address"),
        (WEB % ", allow_networks: ['::/0']", ".allow_networks[0]", "every address"),
        (WEB % ", profile: https", ".profile", "https_web or https_spiffe"),
        (WEB % ", redirects: true", ".redirects", "is no setting"),
    ],
)
def test_mistakes(problems: Problems, entries: str, key: str, words: str) -> None:
    """What does not fit together is told with its key, and what to do."""
    ((_, found, text),) = problems(BASE + entries)
    assert found == f"identity.federation[0]{key}"
    assert words in text


def test_twice(problems: Problems) -> None:
    """A trust domain has one endpoint."""
    ((line, key, _),) = problems(BASE + WEB % "" + WEB % "")
    assert (line, key) == (6, "identity.federation[1].trust_domain")


def test_servers_of_other_domains(write: Write) -> None:
    """An endpoint may prove an SVID of any trust domain whose bundle is had, and then needs none to begin with."""
    text = WEB % SPIFFE % "third.org" + WEB.replace("partner.example,", "other.org,") % SPIFFE % "partner.example"
    assert len(loading(write, BASE + text).identity.federation) == 2


def test_tenants_of_federated_domains(problems: Problems) -> None:
    """Callers of a federated trust domain can have a tenant; those of an unknown one cannot."""
    tenants = "tenants: [{name: a, spiffe_ids: ['spiffe://partner.example/a', 'spiffe://fourth.org/a']}]\n"
    assert [key for _, key, _ in problems(BASE + WEB % "" + tenants)] == ["tenants[0].spiffe_ids[1]"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [(BundleUrl(), "https://b.example:8443/x?y=1"), (NetworkKind(), "10.0.0.0/8"), (NetworkKind(), '"fd00::/8"')],
)
def test_shown(kind: BundleUrl | NetworkKind, text: str) -> None:
    """Values are written as they are read."""
    assert kind.show(kind.read(text.strip('"'))) == text
