"""Unwrapped data keys, kept in memory for a while: what opens the fields of a key that seals no more, or not here.

A key is kept for `lifetime_s` at most, and is unwrapped anew from a third of that on, as long as it is in use
(`renew`). So what a key-encryption key service takes away is away after that time; and whenever the service is out of
reach, what is in use goes on for half of that time at least.

Unwrapping may take a key service's time: `load` does it beside the event loop. Where key and wraps are files, `get`
does it there and then; anywhere else it begins to, and says that the key cannot be had at the moment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from gateway.errors import KeyDestroyed, StoreCorrupt, Unavailable
from gateway.sealing.envelope import FieldOpener
from gateway.sealing.key_work import KeyWork, TooSlow
from gateway.sealing.keyring import DestroyedKey, Keyring, KeyringUnavailable, context_of
from gateway.sealing.providers import KeyEncryptionProvider, ProviderUnavailable, UnwrapRefused
from gateway.sealing.wiping import wipe
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import KEYS_FAILING

log = logging.getLogger(__name__)

KEPT = 2048  # a tenant's newest are up to three
LIFETIME_S = 3600.0
RENEWED_AT_ONCE = 64  # of which so many are at the service at a time as `KeyWork` has threads
_RENEWED_AFTER = 1 / 3  # of the lifetime; a sixth is then left for trying again before half of it is over
_RETRY_S = 1.0  # after a failure nobody is asked again for so long
_REFUSED_S = 60.0  # for so long it is remembered that a key cannot be had at all
_REFUSALS = 4096


class _Term(NamedTuple):
    renewed_from: float
    ends: float


class _Refusal(NamedTuple):
    error: StoreCorrupt
    until: float


class Openers:
    """Of one node. Everything belongs to the event loop, but for what `load` does in threads."""

    def __init__(
        self,
        *,
        provider: KeyEncryptionProvider,
        keyring: Keyring,
        kept: int = KEPT,
        lifetime_s: float = LIFETIME_S,
        at_once: bool = True,
        work: KeyWork | None = None,
        clock: Callable[[], float] = time.monotonic,
        alerts: AlertSink = NOBODY,
    ) -> None:
        """Args:
        kept: how many keys at most.
        lifetime_s: how long one, in seconds.
        at_once: whether `get` unwraps a key itself.
        clock: monotonic seconds.
        """
        if kept < 1:
            raise ValueError("at least one opener is kept")
        self._provider = provider
        self._keyring = keyring
        self._kept = kept
        self._lifetime_s = lifetime_s
        self.at_once = at_once
        self._work = work
        self._clock = clock
        self._alerts = alerts
        self._openers: OrderedDict[bytes, FieldOpener] = OrderedDict()
        self._terms: dict[bytes, _Term] = {}
        self._refusals: OrderedDict[bytes, _Refusal] = OrderedDict()
        self._loading: dict[bytes, asyncio.Task[None]] = {}
        self._round = 0  # counts rests; marks when an opener was used
        self._not_before = 0.0
        self._renewing_fails = False

    def __len__(self) -> int:
        return len(self._openers)

    def get(self, key_id: bytes) -> FieldOpener:
        """Return what opens the fields of a key. Raises KeyDestroyed, StoreCorrupt (no such key, or it cannot be
        unwrapped), and Unavailable when it cannot be had at the moment."""
        opener = self._openers.get(key_id)
        if opener is None:
            return self._missing(key_id)
        opener.used = self._round
        self._openers.move_to_end(key_id)
        return opener

    def missing(self, key_ids: Iterable[bytes]) -> set[bytes]:
        """Return those of `key_ids` that `load` would have to load."""
        return {key_id for key_id in set(key_ids) if key_id not in self._openers and key_id not in self._refusals}

    async def load(self, key_ids: Iterable[bytes]) -> None:
        """Have these keys at hand, as far as they can be had at all. Raises Unavailable when one cannot at the
        moment."""
        tasks = [self._load(key_id) for key_id in self.missing(key_ids)]
        if not tasks:
            return
        done = await asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True)
        for error in done:
            if isinstance(error, BaseException):
                raise error

    def add(self, key_id: bytes, opener: FieldOpener) -> None:
        """Keep an opener from now on."""
        opener.used = self._round
        self._openers[key_id] = opener
        self._terms[key_id] = self._term()
        if len(self._openers) > self._kept:
            del self._terms[self._openers.popitem(last=False)[0]]

    async def renew(self) -> None:
        """Unwrap those anew whose lifetime is a third over: all that are here have been needed lately (`rest`). While
        that fails, one of them is tried; what cannot be renewed stays until its end."""
        now = self._clock()
        if now < self._not_before:
            return
        due = sorted((term, key_id) for key_id, term in self._terms.items() if now >= term.renewed_from)
        chosen = due[: 1 if self._renewing_fails else RENEWED_AT_ONCE]
        await asyncio.gather(*(self._renewed(key_id) for _, key_id in chosen))

    async def _renewed(self, key_id: bytes) -> None:
        try:
            opener = await self._begun().do(lambda: self._unwrap(key_id))
        except KeyDestroyed as error:
            self.drop(key_id)
            self._refuse(key_id, error)
        except StoreCorrupt as error:  # what is in memory is sound, and its record is not any more
            log.error("data_key_not_renewed", extra={"key": key_id.hex(), "why": str(error)})
            if key_id in self._terms:
                ends = self._terms[key_id].ends
                self._terms[key_id] = _Term(ends, ends)
        except TooSlow as error:
            self._failed(key_id, error)
            self._renewing_fails = True
        except Unavailable:
            self._renewing_fails = True
        else:
            self._renewing_fails = False
            self._replace(key_id, opener)

    def _replace(self, key_id: bytes, opener: FieldOpener) -> None:
        """Have a key for another lifetime, unless it was dropped meanwhile."""
        before = self._openers.get(key_id)
        if before is not None:
            opener.used = before.used
            self._openers[key_id] = opener
            self._terms[key_id] = self._term()

    def _term(self) -> _Term:
        now = self._clock()
        return _Term(now + self._lifetime_s * _RENEWED_AFTER, now + self._lifetime_s)

    def expire(self) -> None:
        """Drop those whose lifetime is over."""
        now = self._clock()
        for key_id in [key_id for key_id, term in self._terms.items() if now >= term.ends]:
            self.drop(key_id)
        for key_id in [key_id for key_id, refusal in self._refusals.items() if now >= refusal.until]:
            del self._refusals[key_id]

    def rest(self) -> None:
        """Drop those that nobody has needed since the rest before this one."""
        for key_id in [key_id for key_id, opener in self._openers.items() if opener.used < self._round]:
            self.drop(key_id)
        self._round += 1

    def drop(self, key_id: bytes) -> None:
        """Drop one, if it is there."""
        if self._openers.pop(key_id, None) is not None:
            del self._terms[key_id]

    def clear(self) -> None:
        """Drop all, and what is known of those that cannot be had."""
        self._openers.clear()
        self._terms.clear()
        self._refusals.clear()

    def _missing(self, key_id: bytes) -> FieldOpener:
        refusal = self._refusals.get(key_id)
        if refusal is not None:
            raise refusal.error.with_traceback(None)  # it is raised again and again: its frames must not pile up
        if not self.at_once:
            self._load(key_id)
            raise unavailable()
        opener = self._unwrap(key_id)
        self.add(key_id, opener)
        return opener

    def _load(self, key_id: bytes) -> asyncio.Task[None]:
        """Return the task that loads a key, begun now unless one has begun."""
        task = self._loading.get(key_id)
        if task is None:
            task = self._loading[key_id] = asyncio.get_running_loop().create_task(self._loaded(key_id))
            task.add_done_callback(partial(self._done, key_id))
        return task

    def _done(self, key_id: bytes, task: asyncio.Task[None]) -> None:
        del self._loading[key_id]
        if not task.cancelled():
            task.exception()  # who waits for it has it, and maybe nobody waits

    async def _loaded(self, key_id: bytes) -> None:
        if self._clock() < self._not_before:
            raise unavailable()
        try:
            self.add(key_id, await self._begun().do(lambda: self._unwrap(key_id)))
        except StoreCorrupt as error:
            self._refuse(key_id, error)
        except TooSlow as error:
            self._failed(key_id, error)
            raise unavailable() from error
        except Unavailable:
            self._not_before = self._clock() + _RETRY_S
            raise

    def _begun(self) -> KeyWork:
        if self._work is None:
            self._work = KeyWork()
        return self._work

    def _refuse(self, key_id: bytes, error: StoreCorrupt) -> None:
        self._refusals[key_id] = _Refusal(error, self._clock() + _REFUSED_S)
        if len(self._refusals) > _REFUSALS:
            self._refusals.popitem(last=False)

    def _unwrap(self, key_id: bytes) -> FieldOpener:
        """Return a new opener. May run in any thread."""
        try:
            record = self._keyring.find(key_id)
            if record is None:
                raise StoreCorrupt(
                    f"the data key {key_id.hex()} is not in {self._keyring.name}: restore that from a copy"
                )
            if isinstance(record, DestroyedKey):
                raise KeyDestroyed(f"the data key {key_id.hex()} was destroyed on purpose, on {record.stone}")
            key = self._provider.unwrap(record.wrapped, context_of(record))
            try:
                opener = FieldOpener(key_id, key, record.tenant)
            finally:
                wipe(key)
        except (UnwrapRefused, ValueError) as error:
            raise StoreCorrupt(f"the data key {key_id.hex()} cannot be unwrapped: {error}") from error
        except (ProviderUnavailable, KeyringUnavailable) as error:
            self._failed(key_id, error)
            raise unavailable() from error
        self._alerts.resolve(KEYS_FAILING, "opening")
        return opener

    def _failed(self, key_id: bytes, error: Exception) -> None:
        self._not_before = self._clock() + _RETRY_S
        log.error("data_key_not_unwrapped", extra={"key": key_id.hex(), "why": str(error)})
        self._alerts.raise_alert(KEYS_FAILING, "opening", why=str(error))


def unavailable() -> Unavailable:
    """Return what callers are told when keys cannot be had at the moment."""
    return Unavailable("the gateway cannot use its keys at the moment", reason="KEYS_UNAVAILABLE")
