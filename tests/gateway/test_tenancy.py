"""Tenants that change while a node runs: who is looked up anew, whose calls end, and whose keys are there."""

from __future__ import annotations

import pytest

from gateway.admins import NO_TENANT_NAME, PEER_NAME
from gateway.errors import GatewayError, Unavailable
from gateway.identity import Caller
from gateway.revocation.calls import RevokedCalls
from gateway.revocation.entries import DenyList
from gateway.tenancy import Tenancy
from gateway.tenants import TenantEntry, Tenants
from tests.gateway.callers import caller


class Call:
    """A call under way."""

    def __init__(self, tenant: str, spiffe_id: str) -> None:
        self.name = "/smsgw.v1.MessageService/WatchEvents"
        self.caller: Caller = caller(tenant=tenant, spiffe_id=spiffe_id)
        self.refusal: GatewayError | None = None

    def cut(self, refusal: GatewayError) -> None:
        """Keep why."""
        self.refusal = refusal


class Upkeep:
    """Keeps the tenants that it is to have keys for."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.used: list[str] = []
        self.failure: Exception | None = None

    async def prepare_for(self, tenants: tuple[str, ...]) -> None:
        """Note them."""
        if self.failure is not None:
            raise self.failure
        self.prepared += tenants

    def use(self, tenants: tuple[str, ...]) -> None:
        """Note them."""
        self.used += tenants


class Resolver:
    """Counts how often it forgets."""

    forgotten = 0

    def forget(self) -> None:
        """Count."""
        self.forgotten += 1


def entry(name: str, *paths: str, numbers: tuple[str, ...] = ()) -> TenantEntry:
    """Return a tenant."""
    return TenantEntry(
        name=name, spiffe_ids=tuple(f"spiffe://example.org/{path}" for path in paths), inbound_numbers=numbers
    )


async def test_who_belongs_elsewhere_is_cut() -> None:
    """Those of a tenant that is gone, and those that moved, are cut; all others, operators and nodes too, go on."""
    tenants = Tenants([entry("demo", "demo", numbers=("80800",)), entry("shop", "shop", "store")])
    calls, resolver, upkeep = RevokedCalls(DenyList()), Resolver(), Upkeep()
    under_way = {
        "stays": Call("shop", "spiffe://example.org/shop/a"),
        "moved": Call("shop", "spiffe://example.org/store/a"),
        "gone": Call("demo", "spiffe://example.org/demo"),
        "operator": Call(NO_TENANT_NAME, "spiffe://example.org/admin/ann"),
        "node": Call(PEER_NAME, "spiffe://example.org/gateway/2"),
    }
    for call in under_way.values():
        calls.begin(call)
    tenancy = Tenancy(tenants, resolver, upkeep, calls)  # type: ignore[arg-type]  # the fake has what is used
    new = Tenants([entry("shop", "shop", numbers=("80800",)), entry("mall", "store")])
    await tenancy.prepare(new)
    assert upkeep.prepared == ["shop", "mall"]
    assert tenants.names == ("demo", "shop")  # nothing has changed yet
    tenancy.use(new)
    cut = {name: call.refusal.reason for name, call in under_way.items() if call.refusal is not None}
    assert cut == {"moved": "TENANT_CHANGED", "gone": "TENANT_CHANGED"}
    assert (tenants.names, tenants.owner_of_number("80800")) == (("shop", "mall"), "shop")
    assert (resolver.forgotten, upkeep.used) == (1, ["shop", "mall"])


async def test_tenants_without_keys() -> None:
    """Where keys cannot be made, that is told before anything changes."""
    upkeep = Upkeep()
    upkeep.failure = Unavailable("the folder is away")
    tenants = Tenants([entry("demo", "demo")])
    tenancy = Tenancy(tenants, Resolver(), upkeep, RevokedCalls(DenyList()))  # type: ignore[arg-type]  # as above
    with pytest.raises(Unavailable):
        await tenancy.prepare(Tenants([entry("shop", "shop")]))
    assert tenants.names == ("demo",)
