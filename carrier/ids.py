"""The canonical form of a carrier's message ids: what its submit_sm_resp and its receipts have in common.

Many carriers write one id in two ways: hexadecimal in the response and decimal in the receipt, with leading zeros in
one of them, in other case. The profile says how each side is to be read; both then give one text. Whatever does not
look as the profile says stays as it is written, so that a wrong profile loses no id; `IdRule.read` tells it by None.

Knows nothing of PDUs or stores.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass

# A number has at most 31 digits: 32 hexadecimal ones are a UUID without its dashes, which is never a number.
_DECIMAL = re.compile(r"[0-9]{1,31}", re.ASCII)
_HEX = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,31})", re.ASCII)
_HEX_BYTES = re.compile(r"(?:[2-7][0-9A-Fa-f]){1,127}", re.ASCII)  # of octets of printable ASCII


class IdForm(enum.StrEnum):
    """How one side writes ids."""

    AS_IS = "as_is"
    DECIMAL = "decimal"  # a decimal number: spaces and leading zeros do not count
    HEX = "hex"  # a hexadecimal number, which becomes decimal
    HEX_BYTES = "hex_bytes"  # the octets of the id, two hexadecimal digits each


@dataclass(frozen=True, slots=True, kw_only=True)
class IdForms:
    """How a carrier writes ids."""

    response: IdForm = IdForm.AS_IS  # in submit_sm_resp
    receipt: IdForm = IdForm.AS_IS
    ignore_case: bool = False

    @property
    def plain(self) -> bool:
        """Whether every id already is its canonical form."""
        return self == AS_WRITTEN


AS_WRITTEN = IdForms()


class IdRule:
    """Reads the ids of one side."""

    __slots__ = ("_ignore_case", "_read")

    def __init__(self, form: IdForm, *, ignore_case: bool) -> None:
        self._read = _READERS[form]
        self._ignore_case = ignore_case

    def read(self, written: str) -> str | None:
        """Return the canonical form of an id, None for one that is not written in the form of this side."""
        found = self._read(written)
        return found.lower() if found is not None and self._ignore_case else found

    def kept(self, written: str) -> str:
        """Return what stands for an id that is not written in the form: itself."""
        return written.lower() if self._ignore_case else written


def _as_is(written: str) -> str | None:
    return written


def _decimal(written: str) -> str | None:
    digits = written.replace(" ", "")
    return (digits.lstrip("0") or "0") if _DECIMAL.fullmatch(digits) else None


def _hex(written: str) -> str | None:
    found = _HEX.fullmatch(written.replace(" ", ""))
    return str(int(found[1], 16)) if found else None


def _hex_bytes(written: str) -> str | None:
    if not _HEX_BYTES.fullmatch(written):
        return None
    text = bytes.fromhex(written).decode("ascii")
    return text if text.isprintable() else None


_READERS: dict[IdForm, Callable[[str], str | None]] = {
    IdForm.AS_IS: _as_is,
    IdForm.DECIMAL: _decimal,
    IdForm.HEX: _hex,
    IdForm.HEX_BYTES: _hex_bytes,
}
