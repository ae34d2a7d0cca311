"""The border between what the gateway handles and what it stores.

Payloads (the envelope with recipient, client reference and labels; the content; inbound parts) pass through a
`PayloadBox` on their way into the store and out of it. `gateway.sealing.box.SealingBox` is the one there is; nothing is
ever stored in the clear.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gateway.errors import Unsupported


class PayloadBox(Protocol):
    """Turns payloads into what is stored, and back."""

    @property
    def opens(self) -> bool:
        """Whether `take` opens anything at all; where not, it raises Unsupported (NOT_OPENED_HERE)."""

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return the stored form of `payload`, which belongs to this tenant, object and field.

        Raises Unavailable when there is no key for it.
        """

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return the payload. Raises StoreCorrupt when `stored` is not a payload of this tenant, object and field, and
        Unavailable when its key cannot be had at the moment."""

    def at_hand(self, stored: Iterable[bytes]) -> bool:
        """Whether `take` need not fetch a key for any of these stored payloads."""

    async def ready(self, stored: Iterable[bytes]) -> None:
        """Fetch the keys that `take` needs for these stored payloads, without holding the event loop. Raises
        Unavailable when one of them cannot be had at the moment; one that cannot be had at all is `take`'s to tell."""


def cannot_open() -> Unsupported:
    """Return what is said on a node that only accepts."""
    return Unsupported(
        "this node accepts messages and opens none: ask one that relays as well", reason="NOT_OPENED_HERE"
    )
