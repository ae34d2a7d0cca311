"""Who owns identities and numbers."""

from __future__ import annotations

import pytest

from certs.spiffe_id import SpiffeId
from gateway.tenants import TenantEntry, Tenants


def entry(name: str, *spiffe_ids: str, numbers: tuple[str, ...] = ()) -> TenantEntry:
    """Return a configured tenant."""
    return TenantEntry(name=name, spiffe_ids=spiffe_ids, inbound_numbers=numbers)


TENANTS = Tenants(
    [
        entry("payments", "spiffe://example.org/payments", numbers=("+4930123456", "12345")),
        entry("shop", "spiffe://example.org/shop/web", "spiffe://shop.example", numbers=("+4930123457",)),
    ]
)


@pytest.mark.parametrize(
    ("spiffe_id", "tenant"),
    [("spiffe://example.org/payments", "payments"), ("spiffe://example.org/payments/otp/1", "payments"),
     ("spiffe://example.org/payments-evil", None), ("spiffe://example.org/shop", None),
     ("spiffe://example.org/shop/web", "shop"), ("spiffe://shop.example/anything", "shop"),
     ("spiffe://other.org/payments", None), ("spiffe://example.org/Payments", None), ("spiffe://example.org", None)],
)  # fmt: skip
def test_tenant_of(spiffe_id: str, tenant: str | None) -> None:
    """A prefix counts by whole segments, within its own trust domain; there is no default."""
    assert TENANTS.tenant_of(SpiffeId.parse(spiffe_id)) == tenant


@pytest.mark.parametrize(
    ("number", "tenant"),
    [("+4930123456", "payments"), ("4930123456", "payments"), ("12345", "payments"), ("+4930123457", "shop"),
     ("123456", None), ("", None)],
)  # fmt: skip
def test_owner_of_number(number: str, tenant: str | None) -> None:
    """An inbound number has one owner, with or without its plus sign."""
    assert TENANTS.owner_of_number(number) == tenant


def test_names() -> None:
    """The tenants' names are known, each once."""
    assert TENANTS.names == ("payments", "shop")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([entry("a", "spiffe://x.org/a"), entry("b", "spiffe://x.org/a")], "a and b both name spiffe://x.org/a"),
        ([entry("a", "spiffe://x.org/a"), entry("b", "spiffe://x.org/a/b/c")], "lies below a prefix of tenant a"),
        ([entry("b", "spiffe://x.org/a/b"), entry("a", "spiffe://x.org")], "lies below a prefix of tenant a"),
        ([entry("a", "spiffe://x.org/a"), entry("a", "spiffe://x.org/b")], "tenant a is there twice"),
        ([entry("a")], "at least one SPIFFE ID"),
        ([entry("a", "spiffe://X.org/a")], "tenant a: "),
        ([entry("a", "spiffe://x.org/a/")], "tenant a: "),
        ([entry("a b", "spiffe://x.org/a")], "'a b' is no tenant name"),
        ([entry("a", "spiffe://x.org/a", numbers=("030 123",))], "'030 123' is no inbound number"),
        ([entry("a", "spiffe://x.org/a", numbers=("+9991234567",))], "is no inbound number"),
        (
            [
                entry("a", "spiffe://x.org/a", numbers=("+4930123456",)),
                entry("b", "spiffe://x.org/b", numbers=("+4930123456",)),
            ],
            "a and b both name the inbound number",
        ),
        (
            [
                entry("a", "spiffe://x.org/a", numbers=("+1234567",)),
                entry("b", "spiffe://x.org/b", numbers=("1234567",)),
            ],
            "a and b both name the inbound number",
        ),
    ],
)
def test_overlaps_refused(entries: list[TenantEntry], says: str) -> None:
    """Whatever would give a look-up two answers stops construction, naming the entries."""
    with pytest.raises(ValueError, match=says):
        Tenants(entries)
