"""The contract: what operators hold back outlives the process, and is on record."""

from __future__ import annotations

import pytest

from gateway.audit.records import OperatorActed
from gateway.errors import Overloaded
from gateway.store.contract import Store
from gateway.store.operating import MAX_HOLDS, CarrierHold
from tests.gateway.audit.agreement import records_of
from tests.gateway.audit.samples import decision
from tests.gateway.store.conftest import Engine
from tests.gateway.store.samples import NOW

OPERATOR = "spiffe://example.org/admin/ann"
HOLD = CarrierHold("acme", False, NOW, OPERATOR, "they asked us to")
ACTED = OperatorActed(NOW, "node-1", OPERATOR, "carrier paused", "acme", "", 0, False, 0, "they asked us to")


async def test_holds_of_carriers_outlive_the_process(engine: Engine) -> None:
    """What is held is held after a restart, in its latest form; what was let go is not."""
    store = engine()
    await store.open()
    assert await store.carrier_holds() == []
    await store.hold_carrier(HOLD)
    await store.hold_carrier(HOLD._replace(carrier="beta", drained=True))
    drained = HOLD._replace(drained=True, at=NOW + 1, reason="gone")
    await store.hold_carrier(drained)
    await store.close()
    store = engine()
    await store.open()
    assert await store.carrier_holds() == [drained, HOLD._replace(carrier="beta", drained=True)]
    assert await store.free_carrier("beta") is True
    assert await store.free_carrier("beta") is False
    assert await store.carrier_holds() == [drained]
    await store.close()


async def test_a_hold_is_recorded_with_its_permission(store: Store) -> None:
    """The permission and the act are in the commit of the hold."""
    allowed = decision(allowed=True, reason="PERMITTED")
    await store.hold_carrier(HOLD, [allowed, ACTED])
    freed = ACTED._replace(what="carrier resumed", reason="")
    await store.free_carrier("acme", [freed])
    assert await records_of(store) == [allowed, ACTED, freed]


async def test_holds_are_bounded(store: Store) -> None:
    """One hold too many is refused, and nothing of it stored."""
    for number in range(MAX_HOLDS):
        await store.hold_carrier(HOLD._replace(carrier=f"carrier-{number}"))
    with pytest.raises(Overloaded, match="let those go on that do not exist any more"):
        await store.hold_carrier(HOLD, [ACTED])
    await store.hold_carrier(HOLD._replace(carrier="carrier-7", drained=True))  # one that is held already
    assert len(await store.carrier_holds()) == MAX_HOLDS
    assert await records_of(store) == []
