"""Cursors and page tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.cursors import Cursors
from gateway.errors import InvalidRequest

CURSORS = Cursors(b"k" * 32)
ID = bytes(range(16))


def refused(cursor: str, tenant: str = "a") -> str:
    """Return the reason for which a cursor is refused."""
    with pytest.raises(InvalidRequest) as refusal:
        CURSORS.event_seq(tenant, cursor)
    return refusal.value.reason


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=63), st.integers(0, 2**63 - 1))
def test_cursor_round_trip(tenant: str, seq: int) -> None:
    """A cursor names its place, in at most 40 characters that need no escaping anywhere."""
    cursor = CURSORS.event_cursor(tenant, seq)
    assert CURSORS.event_seq(tenant, cursor) == seq
    assert len(cursor) <= 40
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_cursor_bound() -> None:
    """A cursor of another tenant, or under another key, is none."""
    cursor = CURSORS.event_cursor("a", 7)
    assert refused(cursor, "b") == "CURSOR_INVALID"
    assert refused(Cursors(b"l" * 32).event_cursor("a", 7)) == "CURSOR_INVALID"


def test_cursor_of_an_older_key() -> None:
    """A cursor or token outlives the replacement of the key, for as long as the older one is kept."""
    both = Cursors(b"l" * 32, [b"k" * 32])
    assert both.event_seq("a", CURSORS.event_cursor("a", 7)) == 7
    assert both.page_before("a", [b"f"], CURSORS.page_token("a", [b"f"], ID)) == ID
    assert both.event_cursor("a", 7) == Cursors(b"l" * 32).event_cursor("a", 7)
    with pytest.raises(InvalidRequest):
        both.event_seq("b", CURSORS.event_cursor("a", 7))


@pytest.mark.parametrize("at", range(25))
def test_cursor_tampered(at: int) -> None:
    """A cursor with any octet changed is refused."""
    octets = bytearray(base64.urlsafe_b64decode(CURSORS.event_cursor("a", 7) + "=="))
    octets[at] ^= 1
    assert refused(base64.urlsafe_b64encode(octets).decode().rstrip("=")) == "CURSOR_INVALID"


def test_one_text() -> None:
    """A cursor has one text: neither padding nor loose bits nor spaces are taken."""
    cursor = CURSORS.event_cursor("a", 7)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = cursor[:-1] + alphabet[alphabet.index(cursor[-1]) + 1]
    for other in (cursor + "=", cursor + "==", " " + cursor, cursor + "\n", loose):
        assert refused(other) == "CURSOR_INVALID"


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=80), st.from_regex(r"[A-Za-z0-9_-]{30,40}", fullmatch=True)))
def test_cursor_fuzz(text: str) -> None:
    """No other text is a cursor."""
    assert refused(text) == "CURSOR_INVALID"


def test_page_round_trip() -> None:
    """A page token names its message, for its tenant and filters only."""
    token = CURSORS.page_token("a", (b"\x01", b"hash"), ID)
    assert CURSORS.page_before("a", (b"\x01", b"hash"), token) == ID
    for tenant, filters in (("b", (b"\x01", b"hash")), ("a", (b"\x01",)), ("a", (b"\x01h", b"ash")), ("a", ())):
        with pytest.raises(InvalidRequest) as refusal:
            CURSORS.page_before(tenant, filters, token)
        assert refusal.value.violations[0].field == "page_token"


def test_kinds_kept_apart() -> None:
    """A page token is no cursor and a cursor no page token."""
    assert refused(CURSORS.page_token("a", (), ID)) == "CURSOR_INVALID"
    with pytest.raises(InvalidRequest):
        CURSORS.page_before("a", (), CURSORS.event_cursor("a", 7))


def test_key() -> None:
    """A short key is refused, and the key does not show."""
    with pytest.raises(ValueError, match="32 to 64"):
        Cursors(b"k")
    assert repr(CURSORS) == "Cursors(**)"
