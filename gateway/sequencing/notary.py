"""Signs checkpoints, and none that contradicts one before it: a log that has signed two histories has no value.

What counts is every checkpoint that anybody may have: the one in the database, the one in the folder of files, those in
archives. Each is shown to the notary before it signs (`remember`), and the largest is what the next one has to follow
from: by a proof of consistency made of the tiles as they are stored, verified as a stranger would.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from gateway.sequencing.errors import LogBroken
from gateway.tlog import proofs
from gateway.tlog.checkpoints import Checkpoint, open_checkpoint, parse_text
from gateway.tlog.errors import TlogError
from gateway.tlog.merkle import verify_consistency
from gateway.tlog.notes import Note, Signer, VerifyingKey, parse
from gateway.tlog.notes import sign as sign_note
from gateway.tlog.tiles import Tile

log = logging.getLogger(__name__)


class Notary:
    """Of one log. It belongs to whoever holds the lease."""

    def __init__(self, signer: Signer) -> None:
        """`signer` has the log's name."""
        self._signer = signer
        self._seen: dict[str, Checkpoint] = {}  # where it was seen last: the newest of each place

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._signer.key.name

    @property
    def key(self) -> VerifyingKey:
        """What its signatures are verified by."""
        return self._signer.key

    @property
    def last(self) -> Checkpoint | None:
        """The largest checkpoint that is known to be signed."""
        return max(self._seen.values(), key=lambda one: one.size, default=None)

    @property
    def seen(self) -> Mapping[str, Checkpoint]:
        """The checkpoints that are known to be signed, by where they are."""
        return self._seen

    def remember(self, octets: bytes, where: str) -> Checkpoint | None:
        """Take note of a checkpoint that exists; one of a log of another name concerns nobody here, and gives None.

        Raises LogBroken when this log's key has not signed it, or when it is another tree of a size that was signed
        elsewhere.
        """
        try:
            if parse_text(parse(octets).text).origin != self.origin:
                log.warning("checkpoint_of_another_log", extra={"where": where})
                return None
            checkpoint, _ = open_checkpoint(octets, self.origin, [self.key])
        except TlogError as error:
            raise LogBroken(
                f"{where} holds no checkpoint of {self.origin} signed by this log's key: {error}"
            ) from error
        for place, other in self._seen.items():
            if other.size == checkpoint.size and other.root != checkpoint.root:
                raise LogBroken(
                    f"two histories are signed: of {checkpoint.size} commits there is one checkpoint in {place}, and"
                    f" another in {where}"
                )
        self._seen[where] = checkpoint
        return checkpoint

    def needs(self, size: int) -> Sequence[Tile]:
        """Return the tiles that `sign` wants for a tree of `size` leaves. Raises LogBroken for one that is smaller than
        what was signed."""
        last = self.last
        if last is not None and size < last.size:
            raise LogBroken(f"the log has {size} commits, and a checkpoint of {last.size} has been signed")
        first = [] if last is None else proofs.consistency_tiles(last.size, size)
        return list(dict.fromkeys([*first, *proofs.root_tiles(size)]))

    def sign(self, size: int, root: bytes, tiles: Mapping[Tile, bytes]) -> Note:
        """Return the signed checkpoint of a tree. Raises LogBroken when the tiles make another root, or a tree that
        does not begin with the last one that was signed."""
        last = self.last
        try:
            if proofs.root(size, tiles) != root:
                raise LogBroken(f"the tiles of the log make another root of {size} commits than was reckoned")
            if last is not None:
                path = proofs.consistency(last.size, size, tiles)
                verify_consistency(last.size, last.root, size, root, path)
        except TlogError as error:
            raise LogBroken(f"the checkpoint of {size} commits is not signed: {error}") from error
        checkpoint = Checkpoint(origin=self.origin, size=size, root=root)
        self._seen["the last signature"] = checkpoint
        return sign_note(checkpoint.text(), [self._signer])
