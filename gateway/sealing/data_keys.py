"""The life of data keys.

    made      32 random octets for one tenant, wrapped by the provider, the wrap on disk: a spare
    sealing   from its first field, for `lifetime_s` and 2^30 fields at most, in the process that made it
    opening   from then on: in memory while it is needed, else unwrapped again
    dropped   not needed for a while, or pushed out by others: only its wrap is left

A key that seals is always a fresh one: what comes from disk opens only. A spare that nobody used is replaced after some
hours, and is not used after twice that time, so that a key's record says when it can have sealed.

Spares are made ahead of time by `gateway.sealing.upkeep`, in a thread. When there is none all the same, `sealer` makes
one there and then; when that fails, it is not tried again at once.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gateway.errors import KeyDestroyed, StoreCorrupt, Unavailable
from gateway.sealing.envelope import KEY_BYTES, KEY_ID_BYTES, MAX_FIELDS, FieldOpener, FieldSealer
from gateway.sealing.keyring import (
    DestroyedKey,
    Keyring,
    KeyringUnavailable,
    WrappedKey,
    context_of,
    new_key_id,
    wrap_context,
)
from gateway.sealing.providers import KeyEncryptionProvider, ProviderUnavailable, UnwrapRefused
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import KEYS_FAILING

log = logging.getLogger(__name__)

MAX_LIFETIME_S = 900.0
SPARE_S = 6 * 3600.0  # after that an unused spare is replaced; after twice that it is not used any more
OPENERS = 1024
_RETRY_S = 1.0
_RANDOM_ID_BYTES = KEY_ID_BYTES - 2


class Spare(NamedTuple):
    """A key that has sealed nothing yet; its wrap is on disk."""

    key_id: bytes
    key: bytes
    made: float  # monotonic

    def __repr__(self) -> str:
        return f"Spare({self.key_id.hex()})"


class _Sealing(NamedTuple):
    sealer: FieldSealer
    ends: float  # monotonic


class DataKeys:
    """The data keys of one node. `make` may run in a thread; everything else belongs to the event loop.

    A forked child forgets them: two processes that count nonces under one key would use each twice.
    """

    def __init__(
        self,
        *,
        node: str,
        provider: KeyEncryptionProvider,
        keyring: Keyring,
        lifetime_s: float = MAX_LIFETIME_S,
        max_fields: int = MAX_FIELDS,
        openers: int = OPENERS,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = os.urandom,
        alerts: AlertSink = NOBODY,
    ) -> None:
        """Args:
        node: the name of this node, kept with each key.
        lifetime_s: how long a key seals, up to 900 s.
        max_fields: how many fields it seals, up to 2^30.
        openers: how many unwrapped keys are kept in memory.
        wall: the time, Unix seconds; `clock`: monotonic seconds; `random_bytes`: a secure source.
        """
        if not 0 < lifetime_s <= MAX_LIFETIME_S:
            raise ValueError(f"a data key lives up to {MAX_LIFETIME_S:g} s, not {lifetime_s:g} s")
        if openers < 1:
            raise ValueError("at least one opener is kept")
        self._node = node
        self._provider = provider
        self._keyring = keyring
        self._lifetime_s = lifetime_s
        self._max_fields = max_fields
        self._openers_kept = openers
        self._wall = wall
        self._clock = clock
        self._random_bytes = random_bytes
        self._alerts = alerts
        self._spares: dict[str, Spare] = {}
        self._sealing: dict[str, _Sealing] = {}
        self._openers: OrderedDict[bytes, FieldOpener] = OrderedDict()
        self._round = 0  # counts sweeps; marks when an opener was used
        self._not_before = 0.0  # after a failure: when a key may be made in the event loop again
        self.on_taken: Callable[[], None] = lambda: None  # called when a spare has been taken
        self.on_made: Callable[[list[tuple[bytes, str]]], None] = _nobody  # called with ids and tenants of new keys
        os.register_at_fork(after_in_child=partial(_forget, weakref.ref(self)))

    def __repr__(self) -> str:
        return "DataKeys(**)"

    def sealer(self, tenant: str) -> FieldSealer:
        """Return what seals for the tenant now. Raises Unavailable when there is no key and none can be made."""
        sealing = self._sealing.get(tenant)
        if sealing is None or self._clock() >= sealing.ends:
            return self._next(tenant)
        return sealing.sealer

    def opener(self, key_id: bytes) -> FieldOpener:
        """Return what opens the fields of a key. Raises KeyDestroyed, StoreCorrupt (no such key, or it cannot be
        unwrapped), and Unavailable when it cannot be had at the moment."""
        opener = self._openers.get(key_id)
        if opener is None:
            return self._remember(key_id, self._unwrap(key_id))
        opener.used = self._round
        self._openers.move_to_end(key_id)
        return opener

    def retire(self, tenant: str, sealer: FieldSealer) -> None:
        """Let `sealer` seal no more for the tenant: it is used up."""
        sealing = self._sealing.get(tenant)
        if sealing is not None and sealing.sealer is sealer:
            del self._sealing[tenant]

    def wanted(self, tenants: Iterable[str]) -> list[str]:
        """Return those of `tenants` that have no spare, or an old one."""
        made_after = self._clock() - SPARE_S
        return [t for t in tenants if (spare := self._spares.get(t)) is None or spare.made <= made_after]

    def make(self, tenants: Sequence[str]) -> dict[str, Spare]:
        """Return a new spare for each tenant, its wrap being on disk; for `keep`. May run in any thread.

        Raises Unavailable, and then none has been made; the reason is in the log.
        """
        made, made_at = self._clock(), int(self._wall())
        try:
            spares, records = self._fresh(tenants, made, made_at)
            self._keyring.append(records)
        except (ProviderUnavailable, KeyringUnavailable) as error:
            log.error("data_keys_not_made", extra={"keys": len(tenants), "why": str(error)})
            self._alerts.raise_alert(KEYS_FAILING, "making", why=str(error))
            raise _unavailable() from error
        self._alerts.resolve(KEYS_FAILING, "making")
        return spares

    def keep(self, spares: Mapping[str, Spare]) -> None:
        """Take spares that `make` made; they replace those that there are."""
        self._spares.update(spares)
        self.on_made([(spare.key_id, tenant) for tenant, spare in spares.items()])

    def _fresh(self, tenants: Sequence[str], made: float, made_at: int) -> tuple[dict[str, Spare], list[WrappedKey]]:
        spares: dict[str, Spare] = {}
        records: dict[bytes, WrappedKey] = {}
        usable_until = made_at + int(2 * SPARE_S + self._lifetime_s)
        for tenant in tenants:
            key_id = new_key_id(made_at, self._random_bytes(_RANDOM_ID_BYTES))
            while key_id in records:
                key_id = new_key_id(made_at, self._random_bytes(_RANDOM_ID_BYTES))
            key = self._random_bytes(KEY_BYTES)
            context = wrap_context(key_id, self._node, tenant, made_at, usable_until)
            wrapped = self._provider.wrap(key, context)
            records[key_id] = WrappedKey(key_id, self._node, tenant, made_at, usable_until, wrapped)
            spares[tenant] = Spare(key_id, key, made)
        return spares, list(records.values())

    def sweep(self) -> None:
        """Drop keys whose time is over, and unwrapped ones that nobody has needed since the sweep before this one."""
        now = self._clock()
        for tenant in [tenant for tenant, sealing in self._sealing.items() if now >= sealing.ends]:
            del self._sealing[tenant]
        for tenant in [tenant for tenant, spare in self._spares.items() if now >= spare.made + 2 * SPARE_S]:
            del self._spares[tenant]
        for key_id in [key_id for key_id, opener in self._openers.items() if opener.used < self._round]:
            del self._openers[key_id]
        self._round += 1

    def close(self) -> None:
        """Drop every key from memory, and leave the keyring: the node stops."""
        self.forget()
        self._keyring.close()

    def forget(self) -> None:
        """Drop every key from memory."""
        self._spares.clear()
        self._sealing.clear()
        self._openers.clear()

    def _next(self, tenant: str) -> FieldSealer:
        """Begin the next period of a tenant."""
        now = self._clock()
        self._sealing.pop(tenant, None)
        spare = self._spares.pop(tenant, None)
        if spare is None or now >= spare.made + 2 * SPARE_S:
            spare = self._make_now(tenant, now)
        sealer = FieldSealer(spare.key_id, spare.key, tenant, max_fields=self._max_fields)
        self._sealing[tenant] = _Sealing(sealer, now + self._lifetime_s)
        self._remember(spare.key_id, FieldOpener(spare.key_id, spare.key, tenant))
        self.on_taken()
        return sealer

    def _make_now(self, tenant: str, now: float) -> Spare:
        if now < self._not_before:
            raise _unavailable()
        self._not_before = now + _RETRY_S
        self.keep(self.make((tenant,)))
        self._not_before = 0.0
        return self._spares.pop(tenant)

    def _remember(self, key_id: bytes, opener: FieldOpener) -> FieldOpener:
        opener.used = self._round
        self._openers[key_id] = opener
        if len(self._openers) > self._openers_kept:
            self._openers.popitem(last=False)
        return opener

    def _unwrap(self, key_id: bytes) -> FieldOpener:
        try:
            record = self._keyring.find(key_id)
            if record is None:
                raise StoreCorrupt(
                    f"the data key {key_id.hex()} is not in {self._keyring.name}: restore that from a copy"
                )
            if isinstance(record, DestroyedKey):
                raise KeyDestroyed(f"the data key {key_id.hex()} was destroyed on purpose, on {record.stone}")
            key = self._provider.unwrap(record.wrapped, context_of(record))
            self._alerts.resolve(KEYS_FAILING, "opening")
            return FieldOpener(key_id, key, record.tenant)
        except (UnwrapRefused, ValueError) as error:
            raise StoreCorrupt(f"the data key {key_id.hex()} cannot be unwrapped: {error}") from error
        except (ProviderUnavailable, KeyringUnavailable) as error:
            log.error("data_key_not_unwrapped", extra={"key": key_id.hex(), "why": str(error)})
            self._alerts.raise_alert(KEYS_FAILING, "opening", why=str(error))
            raise _unavailable() from error


def _forget(reference: weakref.ref[DataKeys]) -> None:
    keys = reference()
    if keys is not None:
        keys.forget()


def _nobody(made: list[tuple[bytes, str]]) -> None:
    del made


def _unavailable() -> Unavailable:
    return Unavailable("the gateway cannot use its keys at the moment", reason="KEYS_UNAVAILABLE")
