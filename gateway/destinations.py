"""Where a number is: E.164 syntax and country calling codes (ITU-T E.164 §6).

The codes come from phonenumbers' table at import. Calling codes are prefix-free and at most three digits long, so one
dictionary over all prefixes of three digits answers in a single look-up. Whether a number is in service is not known
here, and nothing asks the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


class Destination(NamedTuple):
    """A calling code with its plus sign, and the regions that share it (ISO 3166; "001" for a worldwide one), the main
    one first. A NamedTuple, as it is looked up for every message."""

    calling_code: str
    regions: tuple[str, ...]


def _by_prefix() -> dict[str, Destination]:
    """Return the destination of every prefix `+ddd` that begins with an assigned calling code."""
    table: dict[str, Destination] = {}
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        digits = str(code)
        destination = Destination("+" + digits, tuple(regions))
        free = 3 - len(digits)
        for rest in range(10**free):
            table[f"+{digits}{rest:0{free}d}" if free else f"+{digits}"] = destination
    return table


_DESTINATIONS = _by_prefix()
WORLDWIDE = "001"  # the region of a code that belongs to no country (UN M49)
SHARED: Mapping[str, tuple[str, ...]] = {  # calling codes of several countries; `gateway.countries` tells them apart
    f"+{code}": tuple(regions) for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() if len(regions) > 1
}


def is_e164(number: str) -> bool:
    """Say whether `number` is written as E.164: a plus sign and 7 to 15 ASCII digits, the first one not 0."""
    return _E164.fullmatch(number) is not None


def destination(number: str) -> Destination | None:
    """Return the destination of a number that starts with `+`, None when its calling code is not assigned."""
    return _DESTINATIONS.get(number[:4])
