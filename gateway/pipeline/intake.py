"""From validated drafts to committed messages.

One call of `accept` is one store operation. Messages that are due now and find a place in their lane's memory are
claimed by the commit that stores them and go straight to the dispatcher; the others wait in the store.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.audit.records import Record
from gateway.commitments import commitment
from gateway.identity import Caller
from gateway.ids import IdSource
from gateway.payload import PayloadBox
from gateway.pipeline.lanes import Lanes
from gateway.records import SALT_BYTES, IndexKeys, add_salt, decode_sealed
from gateway.states import State
from gateway.store.contract import Accepted, Idempotency, NewMessage, Store, Verdict, Waiting
from gateway.telemetry.journey import Acceptance
from gateway.telemetry.meters import Meters
from gateway.telemetry.tracing import Tracing
from gateway.validation import Draft

_SEALED_S = 1.0  # longer than the largest batch takes from its first seal to its commit
_SLICE = 100  # messages sealed without giving way to other calls: about 1 ms
_ACCEPTED = int(State.ACCEPTED)
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)
IDEMPOTENCY_LIFETIME = 72 * 3600 * 1_000_000


class Onward(Protocol):
    """What the intake tells the pipeline."""

    lanes: Lanes

    def add(self, message: Waiting, number: str) -> None:
        """Take a message that its acceptance has claimed; `number` is its recipient's."""

    def destined(
        self, tenant: str, sender: str, category: int, country: str, number: str, message_id: bytes
    ) -> tuple[bool, str]:
        """Say whether a new message may stay in memory here, and by which ways it can go."""

    def offered(self) -> None:
        """Messages have been added."""

    def left_to_others(self) -> None:
        """Messages wait that other nodes may take."""

    def note_waiting(self, category: int, due_at: int, ways: str) -> None:
        """A message of `category` waits in the store until `due_at`, for these ways."""


class Intake:
    """Takes messages in: ids, sealing, lanes, the commit."""

    def __init__(
        self,
        *,
        store: Store,
        pipeline: Onward,
        box: PayloadBox,
        keys: IndexKeys,
        ids: IdSource,
        now: Callable[[], int],
        tracing: Tracing | None = None,
        meters: Meters | None = None,
        require: Callable[[], None] = lambda: None,
    ) -> None:
        """Without `tracing` nothing is traced, without `meters` nothing is told of what is counted. `require` raises
        when nothing may be accepted."""
        self._require = require
        self._tracing = tracing or Tracing.off()
        self._meters = meters or Meters(())
        self._store = store
        self._pipeline = pipeline
        self._box = box
        self._keys = keys
        self._ids = ids
        self._now = now
        self._commits: set[asyncio.Task[list[Accepted]]] = set()

    async def accept(self, caller: Caller, drafts: Sequence[Draft], audit: Sequence[Record] = ()) -> list[Accepted]:
        """Commit `drafts` for `caller`, with the records of what allowed it, and return an answer for each, in order.

        Raises Overloaded or Unavailable (of the store, or of the keys) for all of them: then nothing has been stored. A
        caller that goes away while the commit runs changes nothing: what is on disk is in the lanes too.
        """
        self._require()
        now = self._now()
        trace = self._tracing.accepting(len(drafts))
        batch: list[NewMessage] = []
        salts = os.urandom(SALT_BYTES * len(drafts))
        try:
            for index, draft in enumerate(drafts):
                if index and not index % _SLICE:
                    await asyncio.sleep(0)
                batch.append(self._message(caller, draft, now, salts[SALT_BYTES * index : SALT_BYTES * (index + 1)]))
        except BaseException:
            self._release(batch)
            raise
        if trace is not None:
            trace.begin(batch)
        commit = asyncio.get_running_loop().create_task(self._commit(batch, drafts, audit, now, trace))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        return await asyncio.shield(commit)

    async def replays(self, caller: Caller, drafts: Sequence[Draft]) -> list[Accepted | None]:
        """Return what `accept` would answer to those of `drafts` whose idempotency key is known, None for the others;
        stores nothing. Raises Overloaded or Unavailable."""
        now = self._now()
        keys = [self._idempotency(caller, draft, now) for draft in drafts]
        found = iter(await self._store.replays([key for key in keys if key is not None], now))
        return [None if key is None else next(found) for key in keys]

    async def settled(self) -> None:
        """Return when all is committed, or refused, that was sealed before the call: what is sealed becomes a commit in
        the same moment, or a few turns of the event loop later."""
        await asyncio.sleep(_SEALED_S)
        await self.drained()

    async def drained(self) -> None:
        """Return when every commit under way is over."""
        await asyncio.gather(*self._commits, return_exceptions=True)

    async def _commit(
        self,
        batch: Sequence[NewMessage],
        drafts: Sequence[Draft],
        audit: Sequence[Record],
        began: int,
        trace: Acceptance | None,
    ) -> list[Accepted]:
        try:
            answers = await self._store.accept(batch, audit)
        except BaseException as error:
            if trace is not None:
                trace.failed(error)
            raise
        finally:
            self._release(batch)
        self._hand_on(batch, drafts, answers)
        self._meters.accept.observe((self._now() - began) * 1e-6, len(batch))
        if trace is not None:
            trace.committed(answers)
        return answers

    def _message(self, caller: Caller, draft: Draft, now: int, salt: bytes) -> NewMessage:
        message_id, tenant, put = self._ids.new(), caller.tenant, self._box.put
        (
            recipient, masked, sender, category, envelope, content, encoding, segments, due_at, expires_at, key, _,
            country, reserved,
        ) = draft  # fmt: skip
        stays, ways = self._pipeline.destined(tenant, sender, category, country, recipient, message_id)
        told = content if segments else decode_sealed(content)[1]  # as its caller has it
        return _tuple(NewMessage, (
            tenant,
            message_id,
            caller.spiffe_id,
            category,
            sender,
            masked,
            self._keys.recipient_hash(recipient),
            put(tenant, message_id, "envelope", add_salt(envelope, salt)),
            put(tenant, message_id, "content", content),
            encoding,
            segments,
            now,
            due_at,
            expires_at,
            stays and due_at <= now and self._pipeline.lanes[category].reserve(),
            self._idempotency(caller, draft, now) if key else None,
            country,
            commitment(salt, tenant, sender, category, envelope, told),
            b"",
            reserved,
            ways,
        ))  # fmt: skip

    def _idempotency(self, caller: Caller, draft: Draft, now: int) -> Idempotency | None:
        if not draft.idempotency_key:
            return None
        key_hash, content_hash = self._key_hashes(self._keys, caller, draft)
        older = [self._key_hashes(keys, caller, draft) for keys in self._keys.older]
        return Idempotency(key_hash, content_hash, now + IDEMPOTENCY_LIFETIME, tuple(older))

    @staticmethod
    def _key_hashes(keys: IndexKeys, caller: Caller, draft: Draft) -> tuple[bytes, bytes]:
        key_hash = keys.idempotency_key_hash(caller.tenant, caller.spiffe_id, draft.idempotency_key)
        return key_hash, keys.content_hash(draft.fingerprint)

    def _release(self, batch: Sequence[NewMessage]) -> None:
        for message in batch:
            if message.claimed:
                self._pipeline.lanes[message.category].release(1)

    def _hand_on(self, batch: Sequence[NewMessage], drafts: Sequence[Draft], answers: Sequence[Accepted]) -> None:
        offered = left = False
        accepted = self._meters.accepted
        for message, draft, answer in zip(batch, drafts, answers, strict=True):
            if answer.verdict is not Verdict.STORED:
                continue
            accepted[message.category] += 1
            if message.claimed:
                self._pipeline.add(_waiting(message), draft.recipient)
                offered = True
            else:
                self._pipeline.note_waiting(message.category, message.due_at, message.ways)
                left = True
        if offered:
            self._pipeline.offered()
        if left:
            self._pipeline.left_to_others()


def _waiting(message: NewMessage) -> Waiting:
    (
        tenant, message_id, owner, category, sender, _, recipient_hash, envelope, content, _, segments, _, due_at,
        expires_at, _, _, country, _, trace, reserved, _,
    ) = message  # fmt: skip
    return _tuple(Waiting, (
        tenant, message_id, category, sender, envelope, content, segments, due_at, expires_at, 0, _ACCEPTED, "", "", "",
        owner, country, trace, "", recipient_hash, reserved,
    ))  # fmt: skip
