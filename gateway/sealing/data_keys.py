"""The life of data keys.

    made      32 random octets for one tenant and purpose, wrapped by the provider, the wrap kept: a spare
    sealing   from its first field, for `lifetime_s` and 2^30 fields at most, in the process that made it
    opening   from then on: in memory while it is needed, else unwrapped again (`gateway.sealing.openers`)
    dropped   not needed for a while, at the end of its lifetime, or pushed out by others: only its wrap is left

Envelopes, contents and what handsets wrote have keys of their own, since each is kept for a time of its own: destroying
the keys of old contents leaves the envelopes of the same messages readable, in backups too.

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
from gateway.sealing.keyring import (
    Keyring,
    KeyringUnavailable,
    Purpose,
    WrappedKey,
    new_key_id,
    wrap_context,
)
from gateway.sealing.openers import Openers, unavailable
from gateway.sealing.providers import KeyEncryptionProvider, ProviderUnavailable
from gateway.sealing.wiping import wipe
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import KEYS_FAILING

log = logging.getLogger(__name__)

MAX_LIFETIME_S = 900.0
SPARE_S = 6 * 3600.0  # after that an unused spare is replaced; after twice that it is not used any more
_RETRY_S = 1.0
_BARRED_S = 3600.0  # longer than anything takes that makes a key
_RANDOM_ID_BYTES = KEY_ID_BYTES - 2


class Use(NamedTuple):
    """What a key is for."""

    tenant: str
    purpose: str  # a Purpose


def uses_of(tenants: Iterable[str]) -> list[Use]:
    """Return what these tenants have keys for."""
    return [Use(tenant, str(purpose)) for tenant in tenants for purpose in Purpose]


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
        self._spares: dict[Use, Spare] = {}
        self._sealing: dict[str, dict[str, _Sealing]] = {str(purpose): {} for purpose in Purpose}  # then by tenant
        self._barred: dict[bytes, float] = {}  # keys that were given up, and until when that is remembered
        self._not_before = 0.0  # after a failure: when a key may be made in the event loop again
        self.on_taken: Callable[[], None] = lambda: None  # called when a spare has been taken
        self.on_made: Callable[[list[tuple[bytes, str]]], None] = _nobody  # called with ids and tenants of new keys
        os.register_at_fork(after_in_child=partial(_forget, weakref.ref(self)))

    def __repr__(self) -> str:
        return "DataKeys(**)"

    def sealer(self, tenant: str, purpose: str) -> FieldSealer:
        """Return what seals for the tenant and purpose now. Raises Unavailable when there is no key and none can be
        made, and KeyError for what is no purpose."""
        sealing = self._sealing[purpose].get(tenant)
        if sealing is None or self._clock() >= sealing.ends:
            return self._next(Use(tenant, purpose))
        return sealing.sealer

    def retire(self, tenant: str, sealer: FieldSealer) -> None:
        """Let `sealer` seal no more for the tenant: it is used up."""
        self._end(tenant, sealer.key_id)

    def give_up(self, tenant: str, key_id: bytes) -> None:
        """Let a key of the tenant seal no more, if it does, or was to be the next, or is just being made: it is to be
        destroyed."""
        self._barred[key_id] = self._clock() + _BARRED_S
        self._end(tenant, key_id)
        for use in uses_of([tenant]):
            spare = self._spares.get(use)
            if spare is not None and spare.key_id == key_id:
                self._drop_spare(use)

    def _end(self, tenant: str, key_id: bytes) -> None:
        for sealings in self._sealing.values():
            sealing = sealings.get(tenant)
            if sealing is not None and sealing.sealer.key_id == key_id:
                del sealings[tenant]

    def drop(self, key_id: bytes) -> None:
        """Drop an unwrapped key from memory: it was destroyed."""
        if self.openers is not None:
            self.openers.drop(key_id)

    def wanted(self, tenants: Iterable[str]) -> list[Use]:
        """Return the uses for which these tenants have no spare, or an old one."""
        made_after = self._clock() - SPARE_S
        return [use for use in uses_of(tenants) if (spare := self._spares.get(use)) is None or spare.made <= made_after]

    def make(self, uses: Sequence[Use]) -> dict[Use, Spare]:
        """Return a new spare for each use, its wrap being kept; for `keep`. May run in any thread.

        Raises Unavailable, and then none has been made; the reason is in the log.
        """
        made, made_at = self._clock(), int(self._wall())
        spares: dict[Use, Spare] = {}
        try:
            self.keyring.append([self._fresh(use, made, made_at, spares) for use in dict.fromkeys(uses)])
        except (ProviderUnavailable, KeyringUnavailable) as error:
            wipe(*(spare.key for spare in spares.values()))
            self.not_made(len(uses), error)
            raise unavailable() from error
        self._alerts.resolve(KEYS_FAILING, "making")
        return spares

    def not_made(self, keys: int, error: Exception) -> None:
        """Tell that keys could not be made. In any thread."""
        log.error("data_keys_not_made", extra={"keys": keys, "why": str(error)})
        self._alerts.raise_alert(KEYS_FAILING, "making", why=str(error))

    def keep(self, spares: Mapping[Use, Spare]) -> None:
        """Take spares that `make` made; they replace those that there are. One that was given up meanwhile is none."""
        for use, spare in spares.items():
            self._drop_spare(use)
            self._spares[use] = spare
            if spare.key_id in self._barred:
                self._drop_spare(use)
        self.on_made([(spare.key_id, use.tenant) for use, spare in spares.items()])

    def _fresh(self, use: Use, made: float, made_at: int, spares: dict[Use, Spare]) -> WrappedKey:
        """Put a new key for a use among `spares`; its record."""
        taken = {spare.key_id for spare in spares.values()}
        key_id = new_key_id(made_at, self._random_bytes(_RANDOM_ID_BYTES))
        while key_id in taken:
            key_id = new_key_id(made_at, self._random_bytes(_RANDOM_ID_BYTES))
        spares[use] = spare = Spare(key_id, self._random_bytes(KEY_BYTES), made)
        head = (key_id, self._node, use.tenant, made_at, made_at + int(2 * SPARE_S + self._lifetime_s))
        wrapped = self._provider.wrap(spare.key, wrap_context(*head, use.purpose))
        return WrappedKey(*head, wrapped, use.purpose)

    def sweep(self) -> None:
        """Drop keys whose time is over."""
        now = self._clock()
        for sealings in self._sealing.values():
            for tenant in [tenant for tenant, sealing in sealings.items() if now >= sealing.ends]:
                del sealings[tenant]
        for use in [use for use, spare in self._spares.items() if now >= spare.made + 2 * SPARE_S]:
            self._drop_spare(use)
        for key_id in [key_id for key_id, until in self._barred.items() if now >= until]:
            del self._barred[key_id]
        if self.openers is not None:
            self.openers.expire()

    def end(self) -> None:
        """Let no key seal any more that seals now: each tenant goes on with its spares."""
        for sealings in self._sealing.values():
            sealings.clear()

    def rest(self) -> None:
        """Drop unwrapped keys that nobody has needed since the rest before this one."""
        if self.openers is not None:
            self.openers.rest()

    async def renew(self) -> None:
        """Fetch unwrapped keys anew that are in use, before their time is over."""
        if self.openers is not None:
            await self.openers.renew()

    def close(self) -> None:
        """Drop every key from memory, and leave the keyring: the node stops."""
        self.forget()
        self.keyring.close()

    def forget(self) -> None:
        """Drop every key from memory."""
        for use in list(self._spares):
            self._drop_spare(use)
        self.end()
        if self.openers is not None:
            self.openers.clear()

    def _drop_spare(self, use: Use) -> None:
        spare = self._spares.pop(use, None)
        if spare is not None:
            wipe(spare.key)

    def _next(self, use: Use) -> FieldSealer:
        """Begin the next period of a use."""
        now, sealings = self._clock(), self._sealing[use.purpose]
        sealings.pop(use.tenant, None)
        spare = self._spares.pop(use, None)
        if spare is None or now >= spare.made + 2 * SPARE_S:
            spare = self._make_now(use, now)
        sealer = FieldSealer(spare.key_id, spare.key, use.tenant, max_fields=self._max_fields)
        sealings[use.tenant] = _Sealing(sealer, now + self._lifetime_s)
        if self.openers is not None:
            self.openers.add(spare.key_id, FieldOpener(spare.key_id, spare.key, use.tenant))
        wipe(spare.key)
        self.on_taken()
        return sealer

    def _make_now(self, use: Use, now: float) -> Spare:
        if not self.at_once or now < self._not_before:
            self.on_taken()  # have one made, soon
            raise unavailable()
        self._not_before = now + _RETRY_S
        self.keep(self.make((use,)))
        self._not_before = 0.0
        return self._spares.pop(use)


def _forget(reference: weakref.ref[DataKeys]) -> None:
    keys = reference()
    if keys is not None:
        keys.forget()


def _nobody(made: list[tuple[bytes, str]]) -> None:
    del made
