"""Asks witnesses to cosign checkpoints (C2SP tlog-witness): each is shown that the log has only grown since it last saw
it. A cosignature counts when it is one: of the witness's own key, over this checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import GatewayError
from gateway.sequencing.consistency import WAS_IT_PUT_BACK
from gateway.sequencing.errors import Contradicted, LogBroken, NotArchived
from gateway.sequencing.http_post import Answer, Resource
from gateway.sequencing.tiles import TileStore, fetch
from gateway.store.sequencing import LogHead
from gateway.tlog import proofs
from gateway.tlog.checkpoints import Checkpoint, parse_text
from gateway.tlog.cosignatures import verify_cosignature
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import Note, Signature, VerifyingKey, parse
from gateway.tlog.witnessing import PATH, SIZE_TYPE, AddCheckpoint, parse_cosignatures, parse_size, with_signatures

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # the first may learn what size the witness has seen
_START_S = 5.0
_TYPE = "text/plain; charset=utf-8"


class WitnessedStore(TileStore, Protocol):
    """The part of the store that is needed here (`gateway.store.sequencing.SequencingStore`)."""

    async def log_head(self) -> LogHead:
        """Return the log as it stands."""


@dataclass(slots=True, kw_only=True)
class Witness:
    """One. `seen`: the size that it has cosigned last, as far as is known."""

    key: VerifyingKey
    resource: Resource
    seen: int = 0

    async def cosign(self, store: TileStore, checkpoint: Checkpoint, note: Note) -> Signature:
        """Return its cosignature. Raises NotArchived: it says why."""
        for _ in range(_ATTEMPTS):
            proof = await _proof(store, self.seen, checkpoint.size)
            request = AddCheckpoint(self.seen, proof, note).encode()
            answer = await self.resource.post(request, _TYPE, f"/{PATH}")
            if answer.status == 200:
                signature = self._verified(answer.body, note)
                self.seen = checkpoint.size
                return signature
            if answer.status == 422:  # by the proof from the very tree that it has seen last
                raise Contradicted(f"{self.key.name} has seen another history of this log", 0)
            self._learn(answer, checkpoint)
        raise NotArchived(f"{self.key.name} answers 409, whatever size it is shown")

    def _verified(self, body: bytes, note: Note) -> Signature:
        try:
            for line in parse_cosignatures(body):
                if self.key.made(line):
                    return verify_cosignature(self.key, note.text, line).signature
        except TlogError as error:
            raise NotArchived(f"{self.key.name} gave no cosignature: {error}") from error
        raise NotArchived(f"{self.key.name} gave no cosignature of its key")

    async def know(self, checkpoint: Checkpoint, note: Note) -> None:
        """Find out what it has seen, by a checkpoint that it may have seen before. Raises Contradicted, or NotArchived
        for an answer that says nothing."""
        answer = await self.resource.post(AddCheckpoint(checkpoint.size, (), note).encode(), _TYPE, f"/{PATH}")
        if answer.status == 200:
            self.seen = checkpoint.size
        else:
            self._learn(answer, checkpoint)

    def _learn(self, answer: Answer, checkpoint: Checkpoint) -> None:
        if answer.status != 409 or answer.content_type != SIZE_TYPE:
            raise NotArchived(f"{self.key.name} answers {answer.status}")
        try:
            seen = parse_size(answer.body)
        except TlogError as error:
            raise NotArchived(f"{self.key.name} answers 409 without a size: {error}") from error
        if seen > checkpoint.size:
            text = f"{self.key.name} has cosigned {seen} commits of this log, and it has {checkpoint.size}"
            raise Contradicted(text, seen)
        self.seen = seen


async def _proof(store: TileStore, old: int, size: int) -> tuple[bytes, ...]:
    if old > size:
        raise NotArchived(f"it has seen {old} commits of this log, and it has {size}")
    tiles = await fetch(store, proofs.consistency_tiles(old, size))
    return tuple(proofs.consistency(old, size, tiles))


@dataclass(slots=True, kw_only=True)
class Witnesses:
    """All that are configured; `required` of them have to cosign what is published."""

    store: WitnessedStore
    all: Sequence[Witness] = ()
    required: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    contradicted: Callable[[str], None] = lambda _why: None  # is told when one knows the log otherwise

    async def require_agreement(self, origin: str) -> None:
        """Ask each what it has seen of the log, for a moment: before a node does anything. Raises LogBroken when one
        knows more of it than there is, or another history; who does not answer is not waited for."""
        head = await self.store.log_head()
        if not head.checkpoint or not self.all:
            return
        note = parse(head.checkpoint)
        checkpoint = parse_text(note.text)
        if checkpoint.origin != origin:  # of the log before: nobody can have seen more of this one
            return
        found = await asyncio.gather(*(self._known(witness, checkpoint, note) for witness in self.all))
        if wrong := [why for why in found if why]:
            raise LogBroken("; ".join(wrong) + f". {WAS_IT_PUT_BACK}")

    async def _known(self, witness: Witness, checkpoint: Checkpoint, note: Note) -> str:
        """Return in what a witness contradicts, "" when it does not."""
        try:
            async with asyncio.timeout(_START_S):
                await witness.know(checkpoint, note)
        except Contradicted as error:
            return str(error) if await self._holds(error) else ""
        except (TimeoutError, GatewayError) as error:
            log.warning("witness_not_asked", extra={"witness": witness.key.name, "why": str(error) or "no answer"})
        return ""

    async def _holds(self, error: Contradicted) -> bool:
        """Say whether it is true of the log as it is now: another node may have signed more of it meanwhile."""
        return not error.seen or error.seen > (await self.store.log_head()).size

    async def cosigned(self, checkpoint: Checkpoint, note: Note) -> tuple[Note, int, str]:
        """Return a note with the cosignatures that were had, their number, and what the others said."""
        answers = await asyncio.gather(*(self._ask(witness, checkpoint, note) for witness in self.all))
        signatures = [answer for answer in answers if isinstance(answer, Signature)]
        why = "; ".join(answer for answer in answers if isinstance(answer, str))
        return with_signatures(note, signatures), len(signatures), why

    async def _ask(self, witness: Witness, checkpoint: Checkpoint, note: Note) -> Signature | str:
        try:
            return await witness.cosign(self.store, checkpoint, note)
        except GatewayError as error:
            if isinstance(error, Contradicted) and await self._holds(error):
                self.contradicted(str(error))
            self.failures[witness.key.name] += 1
            log.warning("checkpoint_not_cosigned", extra={"witness": witness.key.name, "why": str(error)})
            return str(error)
