"""Texts brought into the GSM alphabet, where every character outside it has a sensible counterpart.

Typographic quotes, dashes and spaces, letters with accents, ligatures and full-width forms have one; another script,
emoji, fractions and raised digits (10² is not 102) have none, and then the text stays as it is.
"""

from __future__ import annotations

import functools
import unicodedata

from carrier.text.gsm7 import GSM_CHARACTERS

_COUNTERPARTS = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02b9\u02bc\u00b4`", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2039", "<"),
    **dict.fromkeys("\u203a", ">"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043", "-"),
    **dict.fromkeys("\u2022\u2027\u00b7", "*"),
    **dict.fromkeys("\t\u2028\u2029", " "),
    **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
    "\u2044": "/", "\u2026": "...", "\u2122": "TM", "\u00a9": "(c)", "\u00ae": "(R)", "\u00d7": "x",
    "\u0131": "i", "\u0142": "l", "\u0141": "L", "\u0111": "d", "\u0110": "D", "\u0127": "h", "\u0126": "H",
    "\u0153": "oe", "\u0152": "OE", "\u00f0": "d", "\u00d0": "D", "\u00fe": "th", "\u00de": "Th", "\u1e9e": "SS",
}  # fmt: skip
_KEEPING_THEIR_MEANING = frozenset({"<compat>", "<wide>", "<narrow>", "<noBreak>", "<font>"})


def transliterate(text: str) -> str | None:
    """Return `text` in characters of the GSM alphabet, itself where it has no others; None when one has no counterpart.

    What is made anew can be longer than `text`.
    """
    composed = unicodedata.normalize("NFC", text)
    found: list[str] = []
    for char in composed:
        counterpart = char if char in GSM_CHARACTERS else _counterpart(char)
        if counterpart is None:
            return None
        found.append(counterpart)
    return "".join(found)


@functools.lru_cache(maxsize=4096)
def _counterpart(char: str) -> str | None:
    known = _COUNTERPARTS.get(char)
    if known is not None:
        return known
    if unicodedata.category(char) == "Zs":
        return " "
    if unicodedata.category(char) == "Mn":  # NFC left it over: the letter before it has no such form
        return "" if "\u0300" <= char <= "\u036f" else None
    return _decomposed(char)


def _decomposed(char: str) -> str | None:
    """Return what NFKD makes of `char` without its accents, if that means the same and is in the alphabet."""
    how = unicodedata.decomposition(char).split(" ", 1)[0]
    if not how or (how.startswith("<") and how not in _KEEPING_THEIR_MEANING):
        return None
    parts = unicodedata.normalize("NFKD", char)
    base = "".join(part for part in parts if not unicodedata.combining(part))
    return base if base.strip() and GSM_CHARACTERS.issuperset(base) else None
