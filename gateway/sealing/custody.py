"""What operators do with data keys while a node runs: list, rotate, rewrap, destroy.

Each step is safe to be cut off: a rewrap leaves each key with its old wrap or its new one, a destruction each key with
its wrap or its tombstone, and doing it again does the rest. All of it works in threads, beside the event loop.

A key is destroyed only when it cannot seal any more, and no message that is not finished was sealed by it. A key of
this node seals no more when it says so: no other process has it, since what is read back opens only. Of another node's
key the record says until when it may. What was sealed in the last moment is waited for until it is committed; then it
is asked who needs the key, so that no message can come in between.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from gateway.errors import Unavailable, WrongState
from gateway.sealing.data_keys import DataKeys, uses_of
from gateway.sealing.envelope import KEY_BYTES, KEY_ID_BYTES
from gateway.sealing.key_work import KeyWork, TooSlow
from gateway.sealing.keyring import (
    EVERY_KEY,
    KeyRecord,
    Keyring,
    KeyringUnavailable,
    Rewrap,
    Selection,
    Tombstone,
    WrappedKey,
    context_of,
    day_of,
    wrap_context,
)
from gateway.sealing.openers import Openers
from gateway.sealing.provider_set import NamedProvider
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped
from gateway.sealing.wiping import wipe

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_DAYS = 10_000  # rows of a list
_BATCH = 200  # keys that are rewrapped, or destroyed, in one step
_STEP_S = 300.0  # for one step
_SETTLE_S = 30.0  # for what was sealed to be committed
_NODES_TOLD = 5
_PROBE = wrap_context(bytes(KEY_ID_BYTES), "", "", 0, 0)


class InUse(Protocol):
    """The part of the store that is needed here."""

    async def unfinished_under(self, key_ids: Collection[bytes]) -> int:
        """Return how many messages that are not final were sealed by one of these keys."""


class KekUse(NamedTuple):
    """A key-encryption key, and how many data keys it has wrapped."""

    kek_id: str
    newest: bool
    configured: bool
    keys: int


class DayUse(NamedTuple):
    """The data keys of a tenant of one day."""

    day: str
    tenant: str
    keys: int
    destroyed: int
    last: Tombstone | None


class Listed(NamedTuple):
    """What there is; `more`: of more days than are listed."""

    home: str
    keks: list[KekUse]
    days: list[DayUse]
    more: bool


class Rewrapped(NamedTuple):
    """How a rewrap ended; `why` is of the last that failed."""

    newest: str
    rewrapped: int
    failed: int
    why: str


class Chosen(NamedTuple):
    """Keys that may be destroyed once `end` has ended them, and how many of the selection have been already."""

    key_ids: list[bytes]
    already: int
    own: tuple[tuple[str, bytes], ...] = ()  # tenants and ids of those among them that this node may be sealing under


class Custody:
    """Of one node. Belongs to its event loop. `wall` gives Unix seconds; `settled` returns when all is committed that
    was sealed before it was called."""

    def __init__(
        self,
        *,
        node: str,
        keyring: Keyring,
        provider: NamedProvider,
        data: DataKeys,
        openers: Openers | None,
        in_use: InUse,
        wall: Callable[[], float],
        settled: Callable[[], Awaitable[None]],
        work: KeyWork | None = None,
    ) -> None:
        self._node = node
        self._settled = settled
        self._keyring = keyring
        self._provider = provider
        self._data = data
        self._openers = openers
        self._in_use = in_use
        self._wall = wall
        self._work = work or KeyWork(threads=2, deadline_s=_STEP_S)

    async def list(self, which: Selection = EVERY_KEY) -> Listed:
        """Return what there is of a selection. Raises Unavailable."""
        return await self._do(lambda: self._listed(which))

    async def rotate(self, tenants: Sequence[str]) -> tuple[str, int]:
        """End the keys that seal now, and have new ones for these tenants; what wrapped them, and how many. Raises
        Unavailable: then the keys of before go on."""
        newest = await self._do(self._newest)
        made = await self._do(lambda: self._data.make(uses_of(tenants)))
        self._data.keep(made)
        self._data.end()
        return newest, len(made)

    async def rewrap(self) -> Rewrapped:
        """Wrap all keys anew that the newest key-encryption key has not wrapped. Raises Unavailable; what has been done
        until then stays done."""
        newest = await self._do(self._newest)
        done = failed = 0
        why = ""
        old = [record.key_id for record in await self._do(lambda: list(self._other_than(newest)))]
        for batch in _batches(old):
            changed, refused, said = await self._do(partial(self._rewrap, batch, newest))
            done, failed, why = done + changed, failed + refused, said or why
        log.info("data_keys_rewrapped", extra={"keys": done, "failed": failed, "kek": newest})
        return Rewrapped(newest, done, failed, why)

    async def choose(self, which: Selection) -> Chosen:
        """Return the keys of a selection, all of which may be destroyed. Nothing is changed.

        Raises WrongState (KEYS_STILL_SEAL, KEYS_IN_USE) when one of them may not, and Unavailable.
        """
        records = await self._do(lambda: list(self._keyring.records(which)))
        wrapped = [record for record in records if isinstance(record, WrappedKey)]
        now = self._wall()
        sealing = [record for record in wrapped if record.usable_until >= now]
        elsewhere = [record for record in sealing if record.node != self._node]
        if elsewhere:
            raise _sealing_elsewhere(elsewhere, len(wrapped))
        key_ids = [record.key_id for record in wrapped]
        await self._check_unused(key_ids)
        own = tuple((record.tenant, record.key_id) for record in sealing)
        return Chosen(key_ids, len(records) - len(wrapped), own)

    async def end(self, chosen: Chosen) -> None:
        """Have nothing sealed any more under keys that `choose` gave: now they may be destroyed. Tenants go on with new
        ones. Raises WrongState (KEYS_IN_USE) for what was accepted meanwhile, and Unavailable."""
        if not chosen.own:
            return
        for tenant, key_id in chosen.own:
            self._data.give_up(tenant, key_id)
        try:
            async with asyncio.timeout(_SETTLE_S):
                await self._settled()
        except TimeoutError:
            raise Unavailable("what was sealed before is not committed yet", reason="KEYS_STILL_SEAL") from None
        await self._check_unused(chosen.key_ids)

    async def _check_unused(self, key_ids: Sequence[bytes]) -> None:
        """Raise WrongState (KEYS_IN_USE) when a message under one of these keys is not finished."""
        unfinished = await self._in_use.unfinished_under(key_ids) if key_ids else 0
        if unfinished:
            raise WrongState(
                f"{unfinished} messages under these keys are not finished: wait, or withdraw them (smsgw purge)",
                reason="KEYS_IN_USE",
            )

    async def destroy(self, key_ids: Sequence[bytes], stone: Tombstone) -> int:
        """Destroy keys that `choose` gave and `end` has ended, and drop them from memory; how many. Raises Unavailable;
        what has been done until then stays done."""
        destroyed = 0
        for batch in _batches(key_ids):
            gone = await self._do(partial(self._keyring.destroy, batch, stone))
            for key_id in batch:
                if self._openers is not None:
                    self._openers.drop(key_id)
            destroyed += len(gone)
        log.warning("data_keys_destroyed", extra={"keys": destroyed, "why": stone.why})
        return destroyed

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await self._work.do(work)
        except (KeyringUnavailable, ProviderUnavailable, TooSlow) as error:
            log.error("keys_not_reached", extra={"why": str(error)})
            raise Unavailable(str(error), reason="KEYS_UNAVAILABLE") from error

    # In a thread.

    def _newest(self) -> str:
        """Return the id of what wraps now: it is asked to, since some services change theirs by themselves."""
        return self._provider.wrap(bytes(KEY_BYTES), _PROBE).kek_id

    def _other_than(self, newest: str) -> Iterator[WrappedKey]:
        for record in self._keyring.records():
            if isinstance(record, WrappedKey) and record.wrapped.kek_id != newest:
                yield record

    def _rewrap(self, key_ids: Sequence[bytes], newest: str) -> tuple[int, int, str]:
        changes: list[Rewrap] = []
        failed, why = 0, ""
        for key_id in key_ids:
            record = self._keyring.find(key_id)
            if not isinstance(record, WrappedKey) or record.wrapped.kek_id == newest:
                continue  # destroyed, or rewrapped by another node, meanwhile
            try:
                changes.append(Rewrap(key_id, record.wrapped, self._anew(record)))
            except (UnwrapRefused, ProviderUnavailable) as error:
                failed, why = failed + 1, str(error)
        return self._keyring.rewrap(changes), failed, why

    def _anew(self, record: WrappedKey) -> Wrapped:
        context = context_of(record)
        key = self._provider.unwrap(record.wrapped, context)
        try:
            return self._provider.wrap(key, context)
        finally:
            wipe(key)

    def _listed(self, which: Selection) -> Listed:
        newest = self._newest()
        keks: Counter[str] = Counter({newest: 0})
        days: dict[tuple[str, str], list[KeyRecord]] = defaultdict(list)
        for record in self._keyring.records(which):
            days[day_of(record.key_id).isoformat(), record.tenant].append(record)
            if isinstance(record, WrappedKey):
                keks[record.wrapped.kek_id] += 1
        rows = [_day(*place, records) for place, records in sorted(days.items(), reverse=True)]
        uses = [KekUse(kek, kek == newest, self._provider.knows(kek), keys) for kek, keys in keks.items()]
        return Listed(self._keyring.name, uses, rows[:MAX_DAYS], len(rows) > MAX_DAYS)


def _sealing_elsewhere(records: Sequence[WrappedKey], of: int) -> WrongState:
    """Return what is said of keys that other nodes may still be sealing under."""
    until: dict[str, int] = {}
    for record in records:
        until[record.node] = max(until.get(record.node, 0), record.usable_until)
    told = [f"{node} until {_moment(at)}" for node, at in sorted(until.items())]
    more = f", and {len(told) - _NODES_TOLD} more nodes" if len(told) > _NODES_TOLD else ""
    return WrongState(
        f"{len(records)} of these {of} keys may still seal messages on other nodes: {', '.join(told[:_NODES_TOLD])}"
        f"{more}. Ask each of these nodes to destroy its own (--node NAME), wait until then, or name earlier days",
        reason="KEYS_STILL_SEAL",
    )


def _moment(at: int) -> str:
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M} UTC"


def _day(day: str, tenant: str, records: Sequence[KeyRecord]) -> DayUse:
    stones = [record.stone for record in records if not isinstance(record, WrappedKey)]
    return DayUse(day, tenant, len(records) - len(stones), len(stones), max(stones, default=None))


def _batches(key_ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(key_ids)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch
