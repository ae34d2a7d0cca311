"""The SMPP version of a carrier, from what it states in its bind response (SMPP 3.4 §5.2.4, §5.3.2.25). Pure.

Carriers state none, or the digits in decimal, or nothing sensible. None of this may cost the bind.
"""

from __future__ import annotations

V33, V34, V50 = 0x33, 0x34, 0x50
_MEANT = {33: V33, 34: V34}  # the digits as a decimal number


def understood(stated: int | None, *, assumed: int) -> int:
    """Return the version to work by: `stated` where it makes sense, otherwise `assumed`.

    A number between versions is the earlier one; above 5.0 it is 5.0.
    """
    if stated is None:
        return assumed
    stated = _MEANT.get(stated, stated)
    if not V33 <= stated <= 0xFF:
        return assumed
    return V50 if stated >= V50 else V34 if stated >= V34 else V33


def version_name(version: int) -> str:
    """Return a version for people: 0x34 is "3.4"."""
    return f"{version >> 4}.{version & 0xF}"
