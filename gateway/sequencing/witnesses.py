"""Asks witnesses to cosign checkpoints (C2SP tlog-witness): each is shown that the log has only grown since it last saw
it. A cosignature counts when it is one: of the witness's own key, over this checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import GatewayError
from gateway.sequencing.errors import NotArchived
from gateway.sequencing.http_post import Resource
from gateway.sequencing.tiles import TileStore, fetch
from gateway.tlog import proofs
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.cosignatures import verify_cosignature
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import Note, Signature, VerifyingKey
from gateway.tlog.witnessing import PATH, SIZE_TYPE, AddCheckpoint, parse_cosignatures, parse_size, with_signatures

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # the first may learn what size the witness has seen
_TYPE = "text/plain; charset=utf-8"


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
            if answer.status != 409 or answer.content_type != SIZE_TYPE:
                raise NotArchived(f"{self.key.name} answers {answer.status}")
            self._learn(answer.body, checkpoint)
        raise NotArchived(f"{self.key.name} answers 409, whatever size it is shown")

    def _verified(self, body: bytes, note: Note) -> Signature:
        try:
            for line in parse_cosignatures(body):
                if self.key.made(line):
                    return verify_cosignature(self.key, note.text, line).signature
        except TlogError as error:
            raise NotArchived(f"{self.key.name} gave no cosignature: {error}") from error
        raise NotArchived(f"{self.key.name} gave no cosignature of its key")

    def _learn(self, body: bytes, checkpoint: Checkpoint) -> None:
        try:
            seen = parse_size(body)
        except TlogError as error:
            raise NotArchived(f"{self.key.name} answers 409 without a size: {error}") from error
        if seen > checkpoint.size:
            raise NotArchived(f"{self.key.name} has seen {seen} commits of this log, and it has {checkpoint.size}")
        self.seen = seen


async def _proof(store: TileStore, old: int, size: int) -> tuple[bytes, ...]:
    if old > size:
        raise NotArchived(f"it has seen {old} commits of this log, and it has {size}")
    tiles = await fetch(store, proofs.consistency_tiles(old, size))
    return tuple(proofs.consistency(old, size, tiles))


@dataclass(slots=True, kw_only=True)
class Witnesses:
    """All that are configured; `required` of them have to cosign what is published."""

    store: TileStore
    all: Sequence[Witness] = ()
    required: int = 0
    failures: Counter[str] = field(default_factory=Counter)

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
            self.failures[witness.key.name] += 1
            log.warning("checkpoint_not_cosigned", extra={"witness": witness.key.name, "why": str(error)})
            return str(error)
