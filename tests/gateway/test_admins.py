"""Who operates the node, and who sends messages: two sorts of identities that never mix."""

from __future__ import annotations

import pytest

from certs.spiffe_id import SpiffeId
from gateway.admins import Admins
from gateway.errors import PermissionDenied

ADMINS = Admins(["spiffe://example.org/admin", "spiffe://ops.example/noc/berlin"])


@pytest.mark.parametrize(
    ("spiffe_id", "covered"),
    [
        ("spiffe://example.org/admin", True),
        ("spiffe://example.org/admin/ann", True),
        ("spiffe://example.org/administrator", False),
        ("spiffe://example.org/shop/admin", False),
        ("spiffe://example.org/Admin", False),
        ("spiffe://other.example/admin", False),
        ("spiffe://ops.example/noc/berlin/bob", True),
        ("spiffe://ops.example/noc", False),
    ],
)
def test_prefixes_by_whole_segments(spiffe_id: str, covered: bool) -> None:
    """A prefix covers itself and what lies below it, in its own trust domain, and nothing that only begins so."""
    identity = SpiffeId.parse(spiffe_id)
    assert ADMINS.covers(identity) is covered
    everybody = ADMINS.tenants_only(lambda _: "shop")
    if covered:
        assert ADMINS.operators_only(identity) == ""
        with pytest.raises(PermissionDenied) as refused:
            everybody(identity)
        assert refused.value.reason == "OPERATOR_IDENTITY"
    else:
        assert everybody(identity) == "shop"
        with pytest.raises(PermissionDenied) as refused:
            ADMINS.operators_only(identity)
        assert refused.value.reason == "NOT_AN_OPERATOR"
    assert refused.value.metadata == {"spiffe_id": spiffe_id}


def test_who_is_in_no_tenant() -> None:
    """Operators are told apart before tenants are looked up: an identity of no tenant stays one."""
    assert ADMINS.tenants_only(lambda _: None)(SpiffeId.parse("spiffe://example.org/shop")) is None
