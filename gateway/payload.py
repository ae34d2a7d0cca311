"""The border between what the gateway handles and what it stores.

Payloads (the envelope with recipient, client reference and labels; the content; inbound parts) pass through a
`PayloadBox` on their way into the store and out of it. Today the only box is `ClearBox`: it stores octets as they are,
behind a version octet that says so. The sealing box (AES-256-GCM) takes its place in the composition root; rows written
by either are told apart by that octet.
"""

from __future__ import annotations

from typing import Protocol

from gateway.errors import StoreCorrupt

CLEAR_VERSION = 0


class PayloadBox(Protocol):
    """Turns payloads into what is stored, and back."""

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return the stored form of `payload`, which belongs to this tenant, object and field."""

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return the payload. Raises StoreCorrupt when `stored` is not a payload of this tenant, object and field."""


class ClearBox:
    """Stores payloads in the clear."""

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return `payload` behind its version octet."""
        del tenant, object_id, field
        return b"\x00" + payload

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return the payload of a row that this box wrote."""
        del tenant, object_id
        if not stored or stored[0] != CLEAR_VERSION:
            raise StoreCorrupt(f"a stored {field} has an unknown version; was it written by a newer smsgw?")
        return stored[1:]
