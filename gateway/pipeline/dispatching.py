"""What the dispatcher needs of others: who opens and encodes messages, and who records what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.store.contract import Settlement, Waiting
from gateway.telemetry.journey import AttemptTrace

# (message, now, carrier) → submit_sm bodies, one a part. Raises TextError, StoreCorrupt or Unavailable.
Encoder = Callable[[Waiting, int, str], tuple[bytes, ...]]


class Opening(Protocol):
    """Whether messages can be opened without waiting for a key, and the wait (`gateway.pipeline.encoding`)."""

    def at_hand(self, messages: Iterable[Waiting]) -> bool:
        """Whether the encoder need not wait for a key of any of these."""

    async def ready(self, messages: Iterable[Waiting]) -> None:
        """Fetch their keys, without holding the event loop. Raises Unavailable."""


class Settling(Protocol):
    """Where outcomes go that the dispatcher finds by itself."""

    def settle(
        self,
        message: Waiting,
        settlement: Settlement,
        released: Callable[[], None],
        trace: AttemptTrace | None = None,
    ) -> None:
        """Record it; `released` is called when it is on disk."""
