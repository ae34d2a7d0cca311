"""What may be shown of numbers and of texts that strangers wrote: logs, events and errors use these two."""

from __future__ import annotations

import re

from gateway.destinations import destination

_NUMBER = re.compile(r"\+?[0-9]{1,20}")
_HIDDEN_AT_MOST = 20  # so that a long text does not show its length
_HIDDEN = tuple("X" * count for count in range(_HIDDEN_AT_MOST + 1))


def mask_number(number: str) -> str:
    """Return `number` with its middle digits hidden: `+4915112345678` becomes `+49XXXXXXX5678`.

    The calling code and the last four digits stay, but at least half of what follows the code is hidden. A text that is
    no number is hidden altogether.
    """
    if not _NUMBER.fullmatch(number):
        return _HIDDEN[min(len(number), _HIDDEN_AT_MOST)]
    found = destination(number)
    return mask_after(number, len(found.calling_code) if found else number.startswith("+"))


def mask_after(number: str, kept: int) -> str:
    """Return a number with its middle digits hidden; of its first characters `kept` are shown, which is the calling
    code with its plus sign where one is known (hot)."""
    subscriber = len(number) - kept
    hidden = subscriber - 4 if subscriber >= 8 else (subscriber + 1) // 2
    return number[:kept] + _HIDDEN[hidden] + number[kept + hidden :]


def escape_controls(text: str) -> str:
    r"""Return `text` with every character that does not print as itself written as an escape (`\x1b`, `\u202e`).

    That is control and format characters, separators other than the space, and unassigned ones: none of them reaches a
    terminal, breaks a log line or turns the direction of a text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
