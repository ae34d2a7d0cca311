"""Who belongs to which tenant, changed while the node runs.

Everybody looks tenants up in one object, which takes over the new ones at one moment. What was found out by the old
ones is forgotten or ended: the callers that are remembered, and the calls under way of those who belong elsewhere now.
New tenants have their data keys before anybody can call for them. Messages keep the tenant that they were accepted for.
"""

from __future__ import annotations

import logging
from typing import Protocol

from certs.spiffe_id import SpiffeId
from gateway.admins import NO_TENANT_NAME, PEER_NAME
from gateway.errors import PermissionDenied
from gateway.identity import Caller
from gateway.revocation.calls import RevokedCalls
from gateway.sealing.upkeep import KeyUpkeep
from gateway.tenants import Tenants

log = logging.getLogger(__name__)

TENANT_CHANGED = "TENANT_CHANGED"
_NO_TENANTS = frozenset({NO_TENANT_NAME, PEER_NAME})  # of operators and other nodes


class Remembering(Protocol):
    """What is needed of `gateway.identity.CallerResolver`."""

    def forget(self) -> None:
        """Look every caller up anew."""


class Tenancy:
    """The parts of one node that go by tenants. Belongs to one event loop."""

    def __init__(self, tenants: Tenants, resolver: Remembering, upkeep: KeyUpkeep, calls: RevokedCalls) -> None:
        self._tenants = tenants
        self._resolver = resolver
        self._upkeep = upkeep
        self._calls = calls

    async def prepare(self, tenants: Tenants) -> None:
        """Make what these tenants need before they are in force. Raises Unavailable: then they must not be."""
        await self._upkeep.prepare_for(tenants.names)

    def use(self, tenants: Tenants) -> None:
        """Have these tenants from now on, and end the calls of those who belong elsewhere."""
        self._tenants.use(tenants)
        self._upkeep.use(tenants.names)
        self._resolver.forget()
        text = "the configuration has changed which tenant this identity belongs to: call again"
        cut = self._calls.cut_where(self._elsewhere, PermissionDenied(text, reason=TENANT_CHANGED))
        log.info("tenants_changed", extra={"tenants": len(tenants.names), "calls_cut": cut})

    def _elsewhere(self, caller: Caller) -> bool:
        if caller.tenant in _NO_TENANTS:
            return False
        return self._tenants.tenant_of(SpiffeId.parse(caller.spiffe_id)) != caller.tenant
