"""Bounds on what waits of long inbound messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.store.contract import InboundVerdict
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import NOW, inbound_part

COMPLETED, HELD, DUPLICATE = InboundVerdict


@asynccontextmanager
async def opened(folder: Path, **bounds: int) -> AsyncIterator[SqliteStore]:
    """Give an open store with these bounds."""
    store = SqliteStore(folder / "store" / "smsgw.db", **bounds)  # type: ignore[arg-type]  # whole numbers all
    await store.open()
    yield store
    await store.close()


async def test_a_tenant_holds_so_many_parts(tmp_path: Path) -> None:
    """Beyond its bound a tenant loses its own oldest incomplete message, whole; another tenant's go on."""
    async with opened(tmp_path, held_of_each=4) as store:
        other = inbound_part("theirs", 1, 2, tenant="other", expires_at=NOW + 1)
        assert await store.inbound([other]) == [HELD]
        old = [inbound_part("old", n, 3, expires_at=NOW + 10 + n) for n in (1, 2)]
        new = [inbound_part("new", n, 4, expires_at=NOW + 20) for n in (1, 2, 3)]
        assert await store.inbound([*old, *new]) == [HELD] * 5
        assert (await store.counts())["inbound.dropped"] == 2  # both parts of the old one
        assert await store.inbound([inbound_part("new", 4, 4)]) == [COMPLETED]
        assert await store.inbound([inbound_part("old", 3, 3)]) == [HELD]
        assert await store.inbound([inbound_part("theirs", 2, 2, tenant="other")]) == [COMPLETED]


async def test_all_tenants_together_hold_so_many_parts(tmp_path: Path) -> None:
    """Beyond the bound of all the tenant whose part came last loses its oldest; a restart counts again."""
    async with opened(tmp_path, held_limit=3) as store:
        for name in ("a", "b"):
            await store.inbound([inbound_part(name, 1, 2, tenant=name, expires_at=NOW + 1)])
    async with opened(tmp_path, held_limit=3) as store:
        await store.inbound([inbound_part("b2", 1, 2, tenant="b", expires_at=NOW + 2)])
        assert "inbound.dropped" not in await store.counts()
        await store.inbound([inbound_part("b3", 1, 2, tenant="b", expires_at=NOW + 3)])
        assert (await store.counts())["inbound.dropped"] == 1
        for name, verdict in (("a", COMPLETED), ("b", HELD)):
            assert await store.inbound([inbound_part(name, 2, 2, tenant=name)]) == [verdict]
