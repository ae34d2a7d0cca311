"""Which country a number belongs to: ISO 3166-1 alpha-2, "ZZ" for none that is known.

Most calling codes have one country. Twelve are shared (+1, +7, +44, ...): there the plan of each country decides, as
libphonenumber's metadata has it. The plans of one code become one regular expression, its alternatives in the order of
the metadata, so that a number is judged in a microsecond or two where `phonenumbers` takes a hundred. Nothing is cached
by a part of the number: what one caller sends cannot change what another's number is taken for.

A number of a shared code that no plan claims is "ZZ", not the code's main country: that would be a guess, and premium
ranges of small countries would profit from it. So is a number of a worldwide code (+800, +870, ...).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from phonenumbers import PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

from gateway.destinations import SHARED, WORLDWIDE, Destination, destination

UNKNOWN_COUNTRY = "ZZ"  # ISO 3166-1: user-assigned, and CLDR's code for an unknown region

# What a plan may contain (libphonenumber's phonemetadata.proto); a number is of the plan when one of them is all of it.
_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)


def country_of(number: str) -> str:
    """Return the country of a number in E.164 with its plus sign; "ZZ" when it is not known."""
    found = destination(number)
    return UNKNOWN_COUNTRY if found is None else country_at(found, number)


def country_at(found: Destination, number: str) -> str:
    """Return the same for a number whose destination is known (hot)."""
    code, regions = found
    if len(regions) == 1:
        return regions[0] if regions[0] != WORLDWIDE else UNKNOWN_COUNTRY
    plan = _plans(code).match(number, len(code))
    return regions[plan.lastindex - 1] if plan is not None and plan.lastindex else UNKNOWN_COUNTRY


def load_plans() -> None:
    """Read the plans of all shared codes now, which takes some hundred milliseconds, and not at the first message."""
    for code in SHARED:
        _plans(code)


@functools.cache  # one entry for each shared code
def _plans(code: str) -> re.Pattern[str]:
    """Return the plans of a shared calling code: group n matches the numbers of its n-th region."""
    return re.compile("|".join(f"({_plan(region)})" for region in SHARED[code]), re.ASCII)


def _plan(region: str) -> str:
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return r"(?!)"  # matches nothing
    if metadata.leading_digits:  # these digits belong to the region, whatever follows
        return f"(?:{metadata.leading_digits})"
    descriptions = [getattr(metadata, kind) for kind in _KINDS]
    return f"(?:{'|'.join(_patterns(descriptions)) or '(?!)'})\\Z"


def _patterns(descriptions: list[PhoneNumberDesc | None]) -> Iterator[str]:
    for description in descriptions:
        if description is not None and description.national_number_pattern:
            # A pattern that is an alternation or holds spaces for reading stays one unit.
            yield "(?:" + re.sub(r"\s", "", description.national_number_pattern) + ")"
