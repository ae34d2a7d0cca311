"""The node that holds the signing key: it changes the list, signs it anew as time goes on, and tells those who follow.

The file is the list: a change is made there, under the lock, before it is in force anywhere. So a list that a running
node pushes is never one that a crash makes undone, and `smsgw revoke --offline` can change it beside the node, which
looks at the file ten times a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.revocation.calls import RevokedCalls
from gateway.revocation.codec import SignedList, encode_body, open_body, sign, verify
from gateway.revocation.entries import Denials, DenyList, Entry
from gateway.revocation.errors import DenyListError, DenyListFileError, OldDenyList
from gateway.revocation.files import ListFiles, Stamp
from gateway.revocation.legacy import legacy_entries, retire
from gateway.revocation.taking import Seen

log = logging.getLogger(__name__)

_LOOK_S = 0.1
_UNREAD: Stamp = (-1, -1, -1)  # of a file that another process may have changed since it was written here


class Edition:
    """The publisher's list in its file: read, and changed, whole. For threads and commands; knows no event loop."""

    def __init__(
        self, files: ListFiles, key: Ed25519PrivateKey, lifetime: int, older: Sequence[Ed25519PublicKey] = ()
    ) -> None:
        """`lifetime`: how long a signature is good, in microseconds; `older`: keys that it may have been signed by."""
        self.files = files
        self._key = key
        self._lifetime = lifetime
        self._keys = (key.public_key(), *older)

    def load(self, now: int) -> DenyList:
        """Return the list; a node without any begins with an empty one. Raises DenyListError: OldDenyList when the file
        was put back, DenyListFileError when it is gone."""
        signed, seen = self.files.read(), self.files.memory().seen
        if signed is None:
            if seen.version:
                text = f"{self.files.path} is gone: put it back. Without it everybody who was revoked would be let in"
                raise DenyListFileError(text)
            return self._begin(now)
        head = verify(signed.head, self._keys)
        if head.version < seen.version:
            raise OldDenyList(
                f"{self.files.path} holds version {head.version}, and {seen.version} was in force: put back the "
                "newest copy"
            )
        return open_body(head, signed.body)

    def change(
        self, added: Sequence[Entry], removed: Sequence[str], now: int, known: DenyList | None = None
    ) -> DenyList:
        """Change the list in the file, and return it. `known` is the list in force: it stands for a file that is
        damaged or gone, unless that was newer. Raises DenyListError: then it is as it was."""
        with self.files.locked():
            deny = self._newest(now, known).changed(added, removed, now)
            self.files.write(self.signed(deny, now))
        return deny

    def remember(self, deny: DenyList) -> None:
        """Remember a list that is in its file as the newest: to be called after `change`. Until then the file alone
        says so. Raises DenyListError."""
        self.files.see(_seen(deny))

    def _newest(self, now: int, known: DenyList | None) -> DenyList:
        try:
            return self.load(now)
        except DenyListError:
            if known is None or known.version < self.files.memory().seen.version:
                raise
            return known

    def signed(self, deny: DenyList, now: int) -> SignedList:
        """Return the list with a fresh signature. Raises like `encode_body`."""
        body = encode_body(deny)
        return SignedList(self._head(deny, body, now), body)

    def refreshed(self, deny: DenyList, signed: SignedList, now: int) -> SignedList:
        """Return the same list with a fresh signature."""
        return signed._replace(head=self._head(deny, signed.body, now))

    def _head(self, deny: DenyList, body: bytes, now: int) -> bytes:
        return sign(deny, body, self._key, issued_at=now, expires_at=now + self._lifetime)

    def _begin(self, now: int) -> DenyList:
        folder = self.files.path.parent
        deny = DenyList().changed(legacy_entries(folder, now), (), now)
        self.files.write(self.signed(deny, now))
        self.files.see_locked(_seen(deny))
        retire(folder)
        return deny


def _seen(deny: DenyList) -> Seen:
    return Seen(version=deny.version, digest=hashlib.sha256(encode_body(deny)).digest())


class Listener(Protocol):
    """Who is told of lists that are in force, and of those that are not."""

    def in_force(self, deny: DenyList, digest: str, cut: int) -> None:
        """A list is in force from now on, with this digest; so many calls were cut."""

    def read(self) -> None:
        """What is in force was read, or signed, anew: what could not be read before is over."""

    def not_read(self, error: Exception) -> None:
        """The list could not be taken up: the one before stays."""


@dataclass(slots=True)
class _State:
    deny: DenyList
    signed: SignedList
    stamp: Stamp | None
    signed_at: int


class Publisher:
    """Belongs to one event loop, once `open` has been called."""

    def __init__(
        self, edition: Edition, calls: RevokedCalls, listener: Listener, now: Callable[[], int], *, heartbeat_s: float
    ) -> None:
        self._edition = edition
        self._calls = calls
        self._listener = listener
        self._now = now
        self._heartbeat_s = heartbeat_s
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._state: _State | None = None

    def open(self) -> None:
        """Read the list and put it in force, before anybody calls. Raises DenyListError: the node must not start."""
        stamp = self._edition.files.stamp()  # before reading: what is written meanwhile is read again
        deny = self._edition.load(self._now())
        self._put(deny, self._edition.signed(deny, self._now()), Denials(deny), stamp)

    @property
    def deny(self) -> DenyList:
        """The list in force."""
        return self._held.deny

    @property
    def signed(self) -> SignedList:
        """The same, with a signature of the last heartbeat."""
        return self._held.signed

    @property
    def signed_at(self) -> int:
        """When it was signed last, in microseconds; 0 before it is read."""
        return self._state.signed_at if self._state is not None else 0

    @property
    def _held(self) -> _State:
        if self._state is None:
            raise DenyListFileError("the deny list has not been read yet")
        return self._state

    def changed(self) -> asyncio.Event:
        """Return what is set when there is another list or signature: ask for it before looking at `signed`."""
        return self._changed

    async def change(self, added: Sequence[Entry], removed: Sequence[str] = ()) -> DenyList:
        """Change the list: on disk, then in force here, then on its way to those who follow. Raises DenyListError: then
        nothing has changed. It goes on to its end when whoever asked goes away."""
        return await asyncio.shield(asyncio.get_running_loop().create_task(self._change(added, removed)))

    async def _change(self, added: Sequence[Entry], removed: Sequence[str]) -> DenyList:
        async with self._lock:
            deny = await asyncio.to_thread(self._edition.change, added, removed, self._now(), self.deny)
            await self._take_up(deny, _UNREAD)
            await asyncio.to_thread(self._edition.remember, deny)
            return deny

    async def run(self) -> None:
        """Look at the file, and sign anew with each heartbeat, until cancelled. A file that is damaged leaves the "
        "list in
        force, which is signed and pushed as before."""
        loop = asyncio.get_running_loop()
        beat = loop.time() + self._heartbeat_s
        broken = ""
        while True:
            await asyncio.sleep(_LOOK_S)
            broken = await self._attempt(self._look, broken)
            if loop.time() >= beat:
                beat = loop.time() + self._heartbeat_s
                if self._held.deny.has_ended(self._now()):
                    broken = await self._attempt(lambda: self.change(()), broken)
                await self._beat()

    async def _attempt(self, work: Callable[[], Awaitable[object]], broken: str) -> str:
        """Do something with the file; returns what is wrong, "" for nothing. The same fault is told once."""
        try:
            await work()
        except (DenyListError, OSError) as error:
            if str(error) != broken:
                self._listener.not_read(error)
            return str(error)
        if broken:
            self._listener.read()
        return ""

    async def _look(self) -> None:
        """Take up what another process has written."""
        stamp = self._edition.files.stamp()
        if stamp == self._held.stamp:
            return
        async with self._lock:
            deny = await asyncio.to_thread(self._edition.load, self._now())
            if deny == self._held.deny:
                self._held.stamp = stamp
                return
            if deny.version < self._held.deny.version:
                raise OldDenyList(f"{self._edition.files.path} was put back to an older version: the newer one stays")
            await self._take_up(deny, stamp)
            await asyncio.to_thread(self._edition.remember, deny)

    async def _beat(self) -> None:
        async with self._lock:
            held = self._held
            held.signed_at = self._now()
            held.signed = self._edition.refreshed(held.deny, held.signed, held.signed_at)
            self._wake()

    async def _take_up(self, deny: DenyList, stamp: Stamp | None) -> None:
        signed, denials = await asyncio.to_thread(lambda: (self._edition.signed(deny, self._now()), Denials(deny)))
        self._put(deny, signed, denials, stamp)

    def _put(self, deny: DenyList, signed: SignedList, denials: Denials, stamp: Stamp | None) -> None:
        cut = self._calls.apply(denials)
        known = self._state is not None and self._state.deny.version == deny.version
        self._state = _State(deny, signed, stamp, self._now())
        self._wake()
        if not known:
            self._listener.in_force(deny, hashlib.sha256(signed.body).hexdigest(), cut)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
