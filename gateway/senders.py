"""What may stand as the sender of a message: an alphanumeric name, a short code, or a number in E.164."""

from __future__ import annotations

import functools
import re

from carrier.text.gsm7 import ALPHABET, ESCAPE
from gateway.destinations import destination, is_e164
from gateway.errors import FieldViolation

MAX_ALPHANUMERIC = 11  # 3GPP TS 23.040 §9.1.2.5: ten octets of packed septets

_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_DIGITS = re.compile(r"[0-9]+")
# What of the alphabet an SMPP address can hold: Latin-1, as `carrier.outbound` writes it, so no Greek capitals.
_ALLOWED = frozenset(c for c in ALPHABET if ord(c) < 256) - {"\n", "\r", chr(ESCAPE)}


@functools.lru_cache(maxsize=4096)  # a tenant has few senders, and every message has one
def sender_fault(sender: str) -> FieldViolation | None:
    """Return what is wrong with the field `sender`, None when it may stand.

    A text of digits only is a short code, and one that starts with a plus sign a number: an alphanumeric sender has a
    letter, so that none of them can pass for another.
    """
    fault = _fault(sender)
    return FieldViolation("sender", fault, "SENDER_INVALID") if fault else None


def _fault(sender: str) -> str | None:
    if not sender:
        return "is required: 1 to 11 characters with a letter, a short code of 3 to 8 digits, or a number in E.164"
    if sender.startswith("+"):
        if not is_e164(sender):
            return "starts with + and is no number in E.164: + and 7 to 15 digits, the first one not 0"
        return None if destination(sender) else "begins with a country calling code that is not assigned"
    if _DIGITS.fullmatch(sender):
        return None if _SHORT_CODE.fullmatch(sender) else "is no short code (3 to 8 digits), and a number needs its +"
    return _alphanumeric_fault(sender)


def _alphanumeric_fault(sender: str) -> str | None:
    if len(sender) > MAX_ALPHANUMERIC:
        return f"has {len(sender)} characters: an alphanumeric sender has at most {MAX_ALPHANUMERIC}"
    if not _ALLOWED.issuperset(sender):
        return "has a character that no sender can have: letters and signs of the GSM default alphabet, not Greek"
    if sender != sender.strip():
        return "begins or ends with a space"
    if not any(character.isalpha() for character in sender):
        return "has no letter: write a short code as digits only, a number with its + and without separators"
    return None
