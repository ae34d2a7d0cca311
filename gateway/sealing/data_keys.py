"""The life of data keys.

    made      32 random octets for one tenant, wrapped by the provider, the wrap kept: a spare
    sealing   from its first field, for `lifetime_s` and 2^30 fields at most, in the process that made it
    opening   from then on: in memory while it is needed, else unwrapped again (`gateway.sealing.openers`)
    dropped   not needed for a while, at the end of its lifetime, or pushed out by others: only its wrap is left

A key that seals is always a fresh one: what is read back opens only. A spare that nobody used is replaced after some
hours, and is not used after twice that time, so that a key's record says when it can have sealed. The octets of a key
are overwritten as soon as the cipher has them, the cipher's own copies when it is dropped.

Spares are made ahead of time by `gateway.sealing.upkeep`, in a thread. When there is none all the same, and key and
wraps are files, `sealer` makes one there and then; when that fails, it is not tried again at once.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gateway.sealing.envelope import KEY_BYTES, KEY_ID_BYTES, MAX_FIELDS, FieldOpener, FieldSealer
from gateway.sealing.keyring import Keyring, KeyringUnavailable, WrappedKey, new_key_id, wrap_context
from gateway.sealing.openers import Openers, unavailable
from gateway.sealing.providers import KeyEncryptionProvider, ProviderUnavailable
from gateway.sealing.wiping import wipe
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import KEYS_FAILING

log = logging.getLogger(__name__)

MAX_LIFETIME_S = 900.0
SPARE_S = 6 * 3600.0  # after that an unused spare is replaced; after twice that it is not used any more
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
        openers: Openers | None = None,
        at_once: bool = True,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = os.urandom,
        alerts: AlertSink = NOBODY,
    ) -> None:
        """Args:
        node: the name of this node, kept with each key.
        lifetime_s: how long a key seals, up to 900 s.
        max_fields: how many fields it seals, up to 2^30.
        openers: what keeps unwrapped keys; None for a node that opens nothing.
        at_once: whether `sealer` makes a key itself when there is no spare.
        wall: the time, Unix seconds; `clock`: monotonic seconds; `random_bytes`: a secure source.
        """
        if not 0 < lifetime_s <= MAX_LIFETIME_S:
            raise ValueError(f"a data key lives up to {MAX_LIFETIME_S:g} s, not {lifetime_s:g} s")
        self._node = node
        self._provider = provider
        self.keyring = keyring
        self._lifetime_s = lifetime_s
        self._max_fields = max_fields
        self.openers = openers
        self.at_once = at_once
        self._wall = wall
        self._clock = clock
        self._random_bytes = random_bytes
        self._alerts = alerts
        self._spares: dict[str, Spare] = {}
        self._sealing: dict[str, _Sealing] = {}
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

    def retire(self, tenant: str, sealer: FieldSealer) -> None:
        """Let `sealer` seal no more for the tenant: it is used up."""
        sealing = self._sealing.get(tenant)
        if sealing is not None and sealing.sealer is sealer:
            del self._sealing[tenant]

    def give_up(self, tenant: str, key_id: bytes) -> None:
        """Let a key of the tenant seal no more, if it does, or was to be the next: it is to be destroyed."""
        sealing, spare = self._sealing.get(tenant), self._spares.get(tenant)
        if sealing is not None and sealing.sealer.key_id == key_id:
            del self._sealing[tenant]
        if spare is not None and spare.key_id == key_id:
            self._drop_spare(tenant)

    def drop(self, key_id: bytes) -> None:
        """Drop an unwrapped key from memory: it was destroyed."""
        if self.openers is not None:
            self.openers.drop(key_id)

    def wanted(self, tenants: Iterable[str]) -> list[str]:
        """Return those of `tenants` that have no spare, or an old one."""
        made_after = self._clock() - SPARE_S
        return [t for t in tenants if (spare := self._spares.get(t)) is None or spare.made <= made_after]

    def make(self, tenants: Sequence[str]) -> dict[str, Spare]:
        """Return a new spare for each tenant, its wrap being kept; for `keep`. May run in any thread.

        Raises Unavailable, and then none has been made; the reason is in the log.
        """
        made, made_at = self._clock(), int(self._wall())
        spares: dict[str, Spare] = {}
        try:
            self.keyring.append([self._fresh(tenant, made, made_at, spares) for tenant in dict.fromkeys(tenants)])
        except (ProviderUnavailable, KeyringUnavailable) as error:
            wipe(*(spare.key for spare in spares.values()))
            self.not_made(len(tenants), error)
            raise unavailable() from error
        self._alerts.resolve(KEYS_FAILING, "making")
        return spares

    def not_made(self, keys: int, error: Exception) -> None:
        """Tell that keys could not be made. In any thread."""
        log.error("data_keys_not_made", extra={"keys": keys, "why": str(error)})
        self._alerts.raise_alert(KEYS_FAILING, "making", why=str(error))

    def keep(self, spares: Mapping[str, Spare]) -> None:
        """Take spares that `make` made; they replace those that there are."""
        for tenant in spares:
            self._drop_spare(tenant)
        self._spares.update(spares)
        self.on_made([(spare.key_id, tenant) for tenant, spare in spares.items()])

    def _fresh(self, tenant: str, made: float, made_at: int, spares: dict[str, Spare]) -> WrappedKey:
        """Put a new key of a tenant among `spares`; its record."""
        taken = {spare.key_id for spare in spares.values()}
        key_id = new_key_id(made_at, self._random_bytes(_RANDOM_ID_BYTES))
        while key_id in taken:
            key_id = new_key_id(made_at, self._random_bytes(_RANDOM_ID_BYTES))
        spares[tenant] = spare = Spare(key_id, self._random_bytes(KEY_BYTES), made)
        usable_until = made_at + int(2 * SPARE_S + self._lifetime_s)
        context = wrap_context(key_id, self._node, tenant, made_at, usable_until)
        return WrappedKey(key_id, self._node, tenant, made_at, usable_until, self._provider.wrap(spare.key, context))

    def sweep(self) -> None:
        """Drop keys whose time is over."""
        now = self._clock()
        for tenant in [tenant for tenant, sealing in self._sealing.items() if now >= sealing.ends]:
            del self._sealing[tenant]
        for tenant in [tenant for tenant, spare in self._spares.items() if now >= spare.made + 2 * SPARE_S]:
            self._drop_spare(tenant)
        if self.openers is not None:
            self.openers.expire()

    def end(self) -> None:
        """Let no key seal any more that seals now: each tenant goes on with its spare."""
        self._sealing.clear()

    def rest(self) -> None:
        """Drop unwrapped keys that nobody has needed since the rest before this one."""
        if self.openers is not None:
            self.openers.rest()

    def close(self) -> None:
        """Drop every key from memory, and leave the keyring: the node stops."""
        self.forget()
        self.keyring.close()

    def forget(self) -> None:
        """Drop every key from memory."""
        for tenant in list(self._spares):
            self._drop_spare(tenant)
        self._sealing.clear()
        if self.openers is not None:
            self.openers.clear()

    def _drop_spare(self, tenant: str) -> None:
        spare = self._spares.pop(tenant, None)
        if spare is not None:
            wipe(spare.key)

    def _next(self, tenant: str) -> FieldSealer:
        """Begin the next period of a tenant."""
        now = self._clock()
        self._sealing.pop(tenant, None)
        spare = self._spares.pop(tenant, None)
        if spare is None or now >= spare.made + 2 * SPARE_S:
            spare = self._make_now(tenant, now)
        sealer = FieldSealer(spare.key_id, spare.key, tenant, max_fields=self._max_fields)
        self._sealing[tenant] = _Sealing(sealer, now + self._lifetime_s)
        if self.openers is not None:
            self.openers.add(spare.key_id, FieldOpener(spare.key_id, spare.key, tenant))
        wipe(spare.key)
        self.on_taken()
        return sealer

    def _make_now(self, tenant: str, now: float) -> Spare:
        if not self.at_once or now < self._not_before:
            self.on_taken()  # have one made, soon
            raise unavailable()
        self._not_before = now + _RETRY_S
        self.keep(self.make((tenant,)))
        self._not_before = 0.0
        return self._spares.pop(tenant)


def _forget(reference: weakref.ref[DataKeys]) -> None:
    keys = reference()
    if keys is not None:
        keys.forget()


def _nobody(made: list[tuple[bytes, str]]) -> None:
    del made
