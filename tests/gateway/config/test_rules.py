"""Settings that contradict each other are told."""

from __future__ import annotations

import pytest

from gateway.config.carrier_rules import is_loopback
from tests.gateway.config.conftest import MINIMAL, Load, Problems

TENANT = "  - {name: %s, spiffe_ids: [%s], inbound_numbers: [%s]}\n"
CARRIER = "carriers:\n  - {name: a, host: %s, system_id: me, password_file: secret, %s}\n"


def test_own_trust_domain_needs_a_bundle(problems: Problems) -> None:
    """A node without the bundle of its own trust domain could not serve."""
    ((line, key, _),) = problems("node: {trust_domain: example.org}\nidentity: {bundles: {example.com: b}}\n")
    assert (line, key) == (2, "identity.bundles")


def test_tenants_share_nothing(problems: Problems) -> None:
    """A name, a caller and an inbound number have one tenant each."""
    text = (
        MINIMAL
        + "tenants:\n"
        + TENANT % ("a", "spiffe://example.org/x", "80800")
        + TENANT % ("a", "spiffe://example.org/x, spiffe://example.com/y", "80800")
    )
    assert [(line, key) for line, key, _ in problems(text)] == [
        (5, "tenants[1].name"),
        (5, "tenants[1].spiffe_ids[0]"),
        (5, "tenants[1].spiffe_ids[1]"),
        (5, "tenants[1].inbound_numbers[0]"),
    ]


@pytest.mark.parametrize(
    "spiffe_id",
    ["spiffe://example.org", "spiffe://Example.org/a", "spiffe://example.org/a/", "spiffe://example.org/../a",
     "spiffe://example.org/a?b", "https://example.org/a", "spiffe://example.org//a"],
)  # fmt: skip
def test_spiffe_id_grammar(problems: Problems, spiffe_id: str) -> None:
    """What is no SPIFFE ID with a path is refused (SPIFFE-ID §2)."""
    text = MINIMAL + "tenants:\n" + TENANT % ("a", f"'{spiffe_id}'", "")
    assert [(line, key) for line, key, _ in problems(text)] == [(4, "tenants[0].spiffe_ids[0]")]


def test_plain_text_only_on_loopback(problems: Problems, loaded: Load) -> None:
    """`insecure: true` turns TLS off for a loopback host, and is refused for any other."""
    assert loaded(CARRIER % ("127.0.0.1", "insecure: true")).carriers[0].tls is None
    assert loaded(CARRIER % ("127.0.0.1", "insecure: false")).carriers[0].tls is not None
    ((_, key, text),) = problems(MINIMAL + CARRIER % ("smpp.example", "insecure: true"))
    assert key == "carriers[0].insecure"
    assert "not on loopback" in text


def test_insecure_beside_tls_settings(problems: Problems) -> None:
    """A contradiction is told, not resolved."""
    assert problems(MINIMAL + CARRIER % ("localhost", "insecure: true, tls: {ca_file: x}"))[0][1] == (
        "carriers[0].insecure"
    )


def test_client_certificate_needs_its_key(problems: Problems) -> None:
    """A certificate without key, or the other way round, is refused."""
    assert problems(MINIMAL + CARRIER % ("h", "tls: {key_file: x.key}"))[0][1] == "carriers[0].tls"


def test_shortest_wait_is_shorter_than_the_longest(problems: Problems) -> None:
    """Waits that contradict each other are told for pipeline and carriers."""
    text = MINIMAL + "pipeline: {retry_min: 2m}\n" + CARRIER % ("h", "reconnect_min: 1m")
    assert [key for _, key, _ in problems(text)] == ["pipeline.retry_max", "carriers[0].reconnect_max"]


TELEMETRY = "telemetry: {otlp: {%s}, metrics: {%s}}\n"


@pytest.mark.parametrize(
    ("otlp", "metrics", "keys"),
    [
        ("endpoint: 'localhost:4317', insecure: true", "listen: '[::1]:1', insecure: true", []),
        ("endpoint: 'c.example:4317'", "listen: '0.0.0.0:1', readers: ['spiffe://example.org/p']", []),
        ("endpoint: 'c.example:4317', insecure: true", "", ["otlp.insecure"]),
        ("endpoint: 'localhost:4317', insecure: true, ca_file: x", "", ["otlp.insecure"]),
        ("endpoint: 'c.example:0', key_file: x.key", "", ["otlp.key_file", "otlp.endpoint"]),
        ("", "listen: '0.0.0.0:1', insecure: true", ["metrics.insecure"]),
        ("", "listen: '127.0.0.1:1'", ["metrics.readers"]),
        ("", "listen: '127.0.0.1:1', insecure: true, readers: ['spiffe://example.org/p']", ["metrics.insecure"]),
        ("", "listen: '0.0.0.0:1', readers: ['spiffe://example.com/p']", ["metrics.readers[0]"]),
    ],
)
def test_telemetry_is_authenticated(problems: Problems, loaded: Load, otlp: str, metrics: str, keys: list[str]) -> None:
    """Plain text is for loopback and asked for; a page over TLS has readers, of the node's own trust domain."""
    text = TELEMETRY % (otlp, metrics)
    if keys:
        assert sorted(key for _, key, _ in problems(MINIMAL + text)) == sorted(f"telemetry.{key}" for key in keys)
    else:
        assert loaded(text).telemetry.metrics.listen is not None


def test_telemetry_is_off_when_it_is_left_out(loaded: Load) -> None:
    """Nothing is sent or shown that nobody asked for."""
    telemetry = loaded("").telemetry
    assert (telemetry.otlp.endpoint, telemetry.metrics.listen) == (None, None)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.3.2.1", True), ("::1", True), ("10.0.0.1", False), ("localhost.example", False)],
)
def test_is_loopback(host: str, expected: bool) -> None:
    """Loopback is an address of loopback, or the one name that always means it."""
    assert is_loopback(host) is expected


def test_limits_of_tenants(problems: Problems) -> None:
    """Limits of a tenant of one's own name a tenant that there is, and each once."""
    text = (
        MINIMAL
        + "tenants:\n"
        + TENANT % ("a", "spiffe://example.org/x", "")
        + "limits:\n  tenants:\n    - {tenant: a}\n    - {tenant: a}\n    - {tenant: b}\n"
    )
    assert [(line, key) for line, key, _ in problems(text)] == [
        (8, "limits.tenants[1].tenant"),
        (9, "limits.tenants[2].tenant"),
    ]


def test_connections_of_one_address(problems: Problems) -> None:
    """One address has no more places than there are, and no more silent ones than places."""
    text = MINIMAL + "api: {max_connections: 50, max_connections_per_address: 60}\n"
    assert [key for _, key, _ in problems(text)] == [
        "api.max_connections_per_address",
        "api.max_silent_connections_per_address",
    ]


def test_operators_are_nobodys_tenant(problems: Problems, loaded: Load) -> None:
    """A tenant cannot have what belongs to operators: /admin of the node's domain, or what is named instead."""
    tenants = "tenants:\n" + TENANT % ("a", "spiffe://example.org/admin/shop", "")
    assert [(line, key) for line, key, _ in problems(MINIMAL + tenants)] == [(4, "tenants[0].spiffe_ids[0]")]
    named = "admin: {spiffe_ids: [spiffe://example.org/noc]}\n"
    assert loaded(named + tenants).admin.prefixes("example.org") == ("spiffe://example.org/noc",)
    assert loaded("").admin.prefixes("example.org") == ("spiffe://example.org/admin",)
    foreign = "admin: {spiffe_ids: [spiffe://example.com/noc]}\n"
    assert [key for _, key, _ in problems(MINIMAL + foreign)] == ["admin.spiffe_ids[0]"]


def test_two_addresses(problems: Problems, loaded: Load) -> None:
    """Operators call at an address of their own."""
    assert [key for _, key, _ in problems(MINIMAL + "api: {listen: 'h:1'}\nadmin: {listen: 'h:1'}\n")] == [
        "admin.listen"
    ]
    assert loaded("api: {listen: 'h:0'}\nadmin: {listen: 'h:0'}\n").admin.listen is not None
    assert loaded("").admin.listen is None
