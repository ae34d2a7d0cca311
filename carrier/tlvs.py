"""TLVs of a carrier's own: what they are called, which form they have, and what is put into each submit_sm, or read
in a receipt.

Tags above 0x1400 belong to vendors and collide: 0x1401 is a template's id in India, a customer's reference here and a
carrier's id there. So each carrier has a list of its own (`TlvRule`). A value is fixed, for all senders or some, or
comes from a label of the message; a message without a label that is required cannot be sent.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from carrier.errors import TextError
from carrier.smpp.tlv import Tlv, encode_tlvs

MAX_LENGTH = 255  # octets of a value
_MAX_INT = 8


class TlvType(enum.StrEnum):
    """The form of a value."""

    CSTRING = "cstring"  # printable ASCII and a NUL
    STRING = "string"  # printable ASCII
    INT = "int"  # big-endian
    HEX = "hex"  # octets, written in hexadecimal


class ReceiptKey(enum.StrEnum):
    """The key of a receipt's text that a TLV stands for."""

    ID = "id"
    STAT = "stat"
    ERR = "err"
    DONE = "done"  # the done date


@dataclass(frozen=True, slots=True, kw_only=True)
class TlvRule:
    """One TLV. `value` and `from_label`, which are alternatives, are for submit_sm; `receipt_key` is for receipts."""

    name: str
    tag: int
    type: TlvType = TlvType.CSTRING
    length: int = MAX_LENGTH  # octets: exactly so many of an int, at most so many of the others, a NUL included
    mask: str = ""  # what a value looks like: "#" is a digit, all else itself; empty: anything
    value: str | None = None
    from_label: str | None = None
    required: bool = True  # a message without the label is refused
    senders: tuple[str, ...] = ()  # only for these; empty: for all
    receipt_key: ReceiptKey | None = None  # what it says in a receipt

    def octets(self, text: str) -> bytes:
        """Return `text` in this form. Raises TextError, which does not tell the text."""
        if self.mask and not _fits(text, self.mask):
            raise TextError(f"the value of TLV {self.name} does not look like {self.mask} (# is a digit)")
        try:
            octets = _ENCODERS[self.type](text, self.length)
        except (ValueError, OverflowError):
            raise TextError(f"the value of TLV {self.name} is no {_MEANINGS[self.type]}") from None
        if len(octets) > self.length:
            raise TextError(f"the value of TLV {self.name} takes {len(octets)} octets, and has {self.length}")
        return octets

    def read(self, octets: bytes) -> bytes:
        """Return what `octets` say, as a receipt's text would write it. Never fails."""
        if self.type is TlvType.INT:
            return b"%d" % int.from_bytes(octets[:_MAX_INT], "big")
        return octets.hex().encode() if self.type is TlvType.HEX else octets.partition(b"\0")[0]


def _fits(text: str, mask: str) -> bool:
    return len(text) == len(mask) and all(
        char in "0123456789" if place == "#" else char == place for char, place in zip(text, mask, strict=True)
    )


def _string(text: str, length: int) -> bytes:
    del length
    if not text.isprintable():
        raise ValueError("control characters")
    return text.encode("ascii")


def _cstring(text: str, length: int) -> bytes:
    return _string(text, length) + b"\0"


def _int(text: str, length: int) -> bytes:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("no digits")
    return int(text).to_bytes(length, "big")


def _hex(text: str, length: int) -> bytes:
    del length
    return bytes.fromhex(text)


_ENCODERS: dict[TlvType, Callable[[str, int], bytes]] = {
    TlvType.CSTRING: _cstring,
    TlvType.STRING: _string,
    TlvType.INT: _int,
    TlvType.HEX: _hex,
}
_MEANINGS = {
    TlvType.CSTRING: "printable ASCII",
    TlvType.STRING: "printable ASCII",
    TlvType.INT: "whole number that fits its length",
    TlvType.HEX: "octets in hexadecimal",
}


class TlvWriter:
    """Writes the TLVs of one carrier."""

    def __init__(self, rules: tuple[TlvRule, ...]) -> None:
        """Raises TextError for a fixed value that has not its form."""
        self._rules = [rule for rule in rules if rule.value is not None or rule.from_label is not None]
        for rule in self._rules:
            if rule.value is not None:
                rule.octets(rule.value)
        self._of_sender = functools.lru_cache(maxsize=1024)(self._plan)

    def write(self, sender: str, labels: Mapping[str, str]) -> bytes:
        """Return the TLVs of a message, encoded. Raises TextError for a label that is missing, or has not its form."""
        fixed, wanted = self._of_sender(sender)
        if not wanted:
            return fixed
        found = [Tlv(rule.tag, rule.octets(labels[label])) for rule, label in _there(wanted, labels)]
        return fixed + encode_tlvs(found)

    def _plan(self, sender: str) -> tuple[bytes, tuple[TlvRule, ...]]:
        """Return what is the same for every message of a sender, and the rules that ask for labels: of the rules of one
        tag, the first that is for this sender."""
        chosen: dict[int, TlvRule] = {}
        for rule in self._rules:
            if not rule.senders or sender in rule.senders:
                chosen.setdefault(rule.tag, rule)
        fixed = [Tlv(rule.tag, rule.octets(rule.value)) for rule in chosen.values() if rule.value is not None]
        return encode_tlvs(fixed), tuple(rule for rule in chosen.values() if rule.value is None)


def _there(wanted: tuple[TlvRule, ...], labels: Mapping[str, str]) -> list[tuple[TlvRule, str]]:
    found: list[tuple[TlvRule, str]] = []
    for rule in wanted:
        label = rule.from_label or ""
        if label in labels:
            found.append((rule, label))
        elif rule.required:
            raise TextError(f"the carrier wants TLV {rule.name}: send the message with a label {label}")
    return found
