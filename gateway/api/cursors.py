"""Cursors of the event log, and page tokens of lists: authenticated, and bound to their tenant.

Both are a version octet, a position and a keyed hash of 16 octets over purpose, tenant and position (BLAKE2b keyed
mode, RFC 7693 §2.5), in base64url without padding. One of another tenant, another filter or another key is refused like
any other text: its holder learns nothing from it. They name a place and grant nothing: the call that uses them decides
what may be read there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from gateway.errors import FieldViolation, InvalidRequest
from gateway.records import MAX_KEY_BYTES, MIN_KEY_BYTES, join_fields

_VERSION = b"\x01"
_MAC_BYTES = 16
_SEQ_BYTES = 8
_ID_BYTES = 16
_MAX_TEXT = 64


class Cursors:
    """Makes cursors and page tokens under one secret, and reads those made under older ones too."""

    __slots__ = ("_event", "_older", "_page")

    def __init__(self, key: bytes, older: Sequence[bytes] = ()) -> None:
        """Take secrets of 32 to 64 random octets (the index keys will do: the purposes are kept apart); ValueError."""
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"a cursor key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} octets; this one has {len(key)}")
        self._older = tuple(Cursors(other) for other in older)
        self._event = hashlib.blake2b(key=key, digest_size=_MAC_BYTES, person=b"smsgw.cursor")
        self._page = hashlib.blake2b(key=key, digest_size=_MAC_BYTES, person=b"smsgw.page")

    def __repr__(self) -> str:
        return "Cursors(**)"

    def event_cursor(self, tenant: str, seq: int) -> str:
        """Return the cursor of the place after event `seq` of the tenant's log."""
        position = seq.to_bytes(_SEQ_BYTES, "big")
        return _text(position, _mac(self._event, position, tenant.encode()))

    def event_seq(self, tenant: str, cursor: str) -> int:
        """Return the place that a cursor of this tenant names. Raises InvalidRequest for anything else."""
        position, mac = _parse(cursor, _SEQ_BYTES, "cursor")
        macs = [_mac(cursors._event, position, tenant.encode()) for cursors in (self, *self._older)]
        _require(mac, macs, "cursor")
        return int.from_bytes(position, "big")

    def page_token(self, tenant: str, filters: Sequence[bytes], before: bytes) -> str:
        """Return the token of the page after the message `before` (16 octets), in a list with these filters."""
        return _text(before, _mac(self._page, before, tenant.encode(), *filters))

    def page_before(self, tenant: str, filters: Sequence[bytes], token: str) -> bytes:
        """Return the message id that a token names. Raises InvalidRequest unless tenant and filters are its own."""
        position, mac = _parse(token, _ID_BYTES, "page_token")
        macs = [_mac(cursors._page, position, tenant.encode(), *filters) for cursors in (self, *self._older)]
        _require(mac, macs, "page_token")
        return position


def _mac(keyed: hashlib.blake2b, *fields: bytes) -> bytes:
    state = keyed.copy()
    state.update(join_fields(*fields))
    return state.digest()


def _text(position: bytes, mac: bytes) -> str:
    return base64.urlsafe_b64encode(_VERSION + position + mac).rstrip(b"=").decode("ascii")


def _parse(text: str, position_bytes: int, field: str) -> tuple[bytes, bytes]:
    """Return position and hash of a token's one canonical text."""
    octets = b""
    if text.isascii() and len(text) <= _MAX_TEXT:
        octets = _decoded(text.encode("ascii"))
    position, mac = octets[1 : 1 + position_bytes], octets[1 + position_bytes :]
    if octets[:1] != _VERSION or len(mac) != _MAC_BYTES or _text(position, mac) != text:
        raise _refused(field)
    return position, mac


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return b""


def _require(mac: bytes, expected: Sequence[bytes], field: str) -> None:
    if not any(hmac.compare_digest(mac, each) for each in expected):
        raise _refused(field)


def _refused(field: str) -> InvalidRequest:
    what = {
        "cursor": "is no cursor of this tenant: give back one exactly as WatchEvents gave it, or leave it empty",
        "page_token": "is no page token of this list: give next_page_token with the same filters, or leave it empty",
    }
    return InvalidRequest((FieldViolation(field, what[field], f"{field.upper()}_INVALID"),))
