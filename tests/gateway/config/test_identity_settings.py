"""Who the node is and whom it believes, as it is configured."""

from __future__ import annotations

import pytest

from gateway.config.identity_settings import FROM_ENVIRONMENT, WorkloadEndpoint
from tests.gateway.config.conftest import Load, Problems

NODE = "node: {trust_domain: example.org}\n"
API = "identity:\n  workload_api: {endpoint: 'unix:///run/api.sock'%s}\n%s"


def loading(load: Load, text: str) -> None:
    """Only to say that it loads."""
    load(text)


@pytest.mark.parametrize("text", ["unix:///run/api.sock", "tcp://127.0.0.1:8000", FROM_ENVIRONMENT])
def test_endpoints(text: str) -> None:
    """An address, or the word for the environment, is kept as it is written."""
    kind = WorkloadEndpoint()
    assert kind.show(kind.read(text)) == text


@pytest.mark.parametrize("text", ["", "/run/api.sock", "tcp://10.0.0.1:8000", "tcp://localhost:1", "env"])
def test_what_is_no_endpoint(text: str) -> None:
    """Anything else is refused, another host too, with what may stand there."""
    with pytest.raises(ValueError, match="on loopback, or environment"):
        WorkloadEndpoint().read(text)


@pytest.mark.parametrize(
    ("more", "bundles", "key"),
    [
        ("", "  bundles: {example.org: b.pem}\n", "identity.bundles.example.org"),
        (", federated: [example.org]", "", "identity.workload_api.federated[0]"),
        (", federated: [other.org, other.org]", "", "identity.workload_api.federated[1]"),
        (", federated: [other.org]", "  bundles: {other.org: b.pem}\n", "identity.workload_api.federated[0]"),
        (", spiffe_id: 'spiffe://other.org/gateway'", "", "identity.workload_api.spiffe_id"),
        (", wait: 0s", "", "identity.workload_api.wait"),
        (", endpoints: x", "", "identity.workload_api.endpoints"),
    ],
)
def test_each_trust_domain_has_one_place(problems: Problems, more: str, bundles: str, key: str) -> None:
    """A bundle from two places, or none of the node's own, is told with its key."""
    assert [found for _, found, _ in problems(NODE + API % (more, bundles))] == [key]


def test_callers_of_trust_domains(problems: Problems) -> None:
    """Tenants and operators are of trust domains that the configuration names, in either place; others are told."""
    rest = (
        "  bundles: {third.org: b.pem}\n"
        "tenants:\n  - {name: a, spiffe_ids: ['spiffe://example.org/a', 'spiffe://other.org/a', 'spiffe://third.org/a',"
        " 'spiffe://fourth.org/a']}\nadmin: {spiffe_ids: ['spiffe://fifth.org/admin']}\n"
    )
    found = problems(NODE + API % (", federated: [other.org]", rest))
    assert [key for _, key, _ in found] == ["tenants[0].spiffe_ids[3]", "admin.spiffe_ids[0]"]
    assert all("identity.workload_api.federated has a bundle" in text for _, _, text in found)


def test_the_section_may_be_left_out(problems: Problems) -> None:
    """Without it the files count, as ever; with it no bundle of the own trust domain is asked for."""
    assert [key for _, key, _ in problems(NODE)] == ["identity.bundles"]
