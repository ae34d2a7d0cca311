"""The border between what the gateway handles and what it stores.

Payloads (the envelope with recipient, client reference and labels; the content; inbound parts) pass through a
`PayloadBox` on their way into the store and out of it. `gateway.sealing.box.SealingBox` is the one there is; nothing is
ever stored in the clear.
"""

from __future__ import annotations

from typing import Protocol


class PayloadBox(Protocol):
    """Turns payloads into what is stored, and back."""

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return the stored form of `payload`, which belongs to this tenant, object and field.

        Raises Unavailable when there is no key for it.
        """

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return the payload. Raises StoreCorrupt when `stored` is not a payload of this tenant, object and field, and
        Unavailable when its key cannot be had at the moment."""
