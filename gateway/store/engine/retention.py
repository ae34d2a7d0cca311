"""The part of an engine that lets go: the coroutines of `gateway.store.retention.RetentionStore`, and no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.engine import retaining
from gateway.store.engine.calls import Calls
from gateway.store.engine.writer import Kind
from gateway.store.retention import Due, Keeps, RefPlace, Retained, Rule

_RETAIN = Kind(30, "retain", retaining.retain)
_RETAIN_LEFT = Kind(31, "retain_left", retaining.retain_left)
_RETAIN_EVENTS = Kind(32, "retain_events", retaining.retain_events)
_RETAIN_INBOUND = Kind(33, "retain_inbound", retaining.retain_inbound)
_RETAIN_USAGE = Kind(36, "retain_usage", retaining.retain_usage)
_RETAIN_REFS = Kind(34, "retain_refs", retaining.retain_refs)


class RetentionCalls(Calls):
    """What is old enough."""

    async def retention_due(self, rules: Sequence[Rule], now: int) -> list[Due]:
        """Return those of `rules` that have messages to look at."""
        found: list[Due] = await self._read(lambda look: retaining.read_due(look, rules, now))
        return found

    async def stored_tenants(self) -> list[str]:
        """Return the names of all tenants that anything is or was stored of."""
        names: list[str] = await self._read(retaining.read_tenants)
        return names

    async def retain(self, rule: Rule, now: int, limit: int) -> Retained:
        """Look at the next `limit` messages, of whatever category, and let go of what is due by the rule."""
        done: Retained = await self._write(_RETAIN, [retaining.Retain(rule, now, limit)], single=True)
        return done

    async def retain_left(self, keeps: Keeps, now: int, limit: int) -> Retained:
        """Look again at what was passed over and is due for that."""
        done: Retained = await self._write(_RETAIN_LEFT, [retaining.RetainLeft(keeps, now, limit)], single=True)
        return done

    async def retain_events(self, tenant: str, before: int, limit: int) -> int:
        """Delete the tenant's events from before that time, never the newest of all; returns how many."""
        step = retaining.RetainOld(tenant, before, limit)
        deleted: int = await self._write(_RETAIN_EVENTS, [step], single=True)
        return deleted

    async def retain_inbound(self, tenant: str, before: int, limit: int) -> int:
        """Delete parts of messages from handsets that came before that time; returns how many."""
        step = retaining.RetainOld(tenant, before, limit)
        deleted: int = await self._write(_RETAIN_INBOUND, [step], single=True)
        return deleted

    async def retain_usage(self, tenant: str, before: int, limit: int) -> int:
        """Delete rows of the tenant's usage, of days that were over before that time; returns how many."""
        step = retaining.RetainOld(tenant, before, limit)
        deleted: int = await self._write(_RETAIN_USAGE, [step], single=True)
        return deleted

    async def retain_refs(self, after: RefPlace | None, limit: int) -> tuple[int, RefPlace | None]:
        """Look at `limit` ids of carriers, and delete those that lead to no message any more."""
        step = retaining.RetainRefs(after, limit)
        done: tuple[int, RefPlace | None] = await self._write(_RETAIN_REFS, [step], single=True)
        return done
