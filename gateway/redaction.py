r"""What a log may say: numbers masked, codes hidden, nothing that acts on a terminal, everything bounded. Pure.

Free text may quote anybody: a carrier, a caller, an exception of a library. In it,

- a telephone number is masked like everywhere (`+49XXXXXXX5678`, `gateway.masking`), in whatever digits and with
  whatever between them it is written;
- every other run of 4 digits or more is a code to us, and becomes XXXX. Digits belong to one run when at most three
  characters that are neither letters nor digits stand between them;
- where a run could be a number with a code behind it, all of it is hidden;
- what does not print as itself becomes an escape (`\n`, `\x1b`, `\u202e`).

A few shapes stay, since no number or code is written so: UUIDs, times in ISO 8601, IPv4 addresses with their port
(unless their four groups are of one length), hexadecimal numbers (0x...) and digests, line numbers of a traceback. In
fields of a record, numbers stay under names that are known to hold counts, sizes, times and ports, and texts under
names whose shape is known.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

from gateway.masking import escape_controls, mask_number

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"

T = TypeVar("T")

HIDDEN = "XXXX"
MAX_TEXT = 4096  # characters of one text; what is beyond is left out of its middle
MAX_ITEMS = 50  # of one list or mapping
_MAX_DEPTH = 4
_CUT = " ...(cut)... "
_SHORTEST_CODE = 4
_MAX_E164 = 15
_SHOWN_FROM = 8  # digits of a number from which on its last ones may be shown
_NATIONAL_FROM = 11  # digits of a number without its plus sign: shorter ones might be codes

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_EXEMPT = rf"""
      \b[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}\b
    | \b20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d(?::[0-5]\d(?:\.\d{{1,6}})?)?(?:Z|[+-]\d\d:?\d\d)?(?![\w+])
    | \b(?!(?:\d\.){{3}}\d\b|(?:\d\d\.){{3}}\d\d\b|(?:\d{{3}}\.){{3}}\d{{3}}\b)
      (?:{_OCTET}\.){{3}}{_OCTET}(?::\d{{1,5}})?(?![\w.:-]?\d)\b
    | \b0x[0-9a-f]{{1,16}}\b
    | \b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{{32,128}}\b
    | (?<=",\ line\ )\d{{1,6}}(?=,\ in\ )
"""
_RUN = r"(?:\+[^\w+]{0,3})?\d(?:(?:[^\w+]{1,3}|_)?\d)*"
_FOUND = re.compile(rf"(?P<exempt>{_EXEMPT})|(?P<run>{_RUN})", re.ASCII | re.VERBOSE)
_DIGITS = re.compile(r"[0-9]+")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8}))")

# Numbers that stay, in the fields of a record.
_NUMBERS = frozenset(
    {
        "attempt", "attempts", "calls_cut", "connections", "count", "cut", "decisions", "deliveries", "errno",
        "in_doubt", "keys", "line", "messages", "outcomes", "pdus", "pid", "policies", "port", "reclaimed", "records",
        "segments", "sequence", "size", "unanswered",
    }
)  # fmt: skip
_NUMBER_SUFFIXES = ("_at", "_bytes", "_count", "_ms", "_ns", "_s", "_us")
# Texts that stay, when they have the shape that their name stands for.
_SHAPES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(shape, re.ASCII)
    for name, shape in {
        "address": r"[0-9a-f.:]{2,45}",
        "api": r"[A-Za-z0-9.:\[\]-]{1,255}:[0-9]{1,5}",
        "digest": r"[0-9a-f]{64}",
        "incident": r"[0-9a-f]{8}",
        "key": r"[0-9a-f]{16,64}",
        "span_id": r"[0-9a-f]{16}",
        "trace_id": r"[0-9a-f]{32}",
        "version": r"[0-9]{1,4}(?:\.[0-9a-z+]{1,20}){1,4}",
    }.items()
}


def redact(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` as a log may have it, at most about `limit` characters of it (its end and its beginning)."""
    text = clipped(text, limit)
    if not text.isascii():
        text = "".join([_plain(character) for character in text])
    if "\\" in text:
        text = _ESCAPE.sub(_digit_or_escape, text)
    return escape_controls(_FOUND.sub(_masked, text))


def clipped(text: str, limit: int) -> str:
    """Return `text` without its middle when it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}{_CUT}{text[-half:]}"


def clean(value: object, name: str = "") -> Plain:
    """Return a field's value as a log may have it: texts redacted, anything unknown as its redacted text.

    `name` is the field's name in the record, "" for what lies deeper or has a stranger's name.
    """
    return _clean(value, name, _MAX_DEPTH)


def _clean(value: object, name: str, depth: int) -> Plain:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, name)
    if isinstance(value, str):
        shape = _SHAPES.get(name)
        return value if shape is not None and shape.fullmatch(value) else redact(value)
    if depth and isinstance(value, Mapping):
        return {redact(_text(key), 256): _clean(item, "", depth - 1) for key, item in _first(value.items())}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, "", depth - 1) for item in _first(value)]
    return redact(_text(value))


def _first(items: Iterable[T]) -> list[T]:
    return list(itertools.islice(items, MAX_ITEMS))


def _number(value: float, name: str) -> Plain:
    """Return a number that is small, or under a name that numbers have; anything else may be a code."""
    whole = isinstance(value, int)
    if not whole and not math.isfinite(value):
        return str(value)
    if (name in _NUMBERS or name.endswith(_NUMBER_SUFFIXES)) and abs(value) < 1 << 63:
        return value
    if whole and abs(value) < 10 ** (_SHORTEST_CODE - 1):
        return value
    return redact(_text(value))


def _text(value: object) -> str:
    """Return an object's text, whatever its class makes of that."""
    try:
        return str(value)
    except Exception as error:  # foreign code; the log must not fail by it
        return f"<{type(value).__name__} without a text: {type(error).__name__}>"


def _plain(character: str) -> str:
    """Return the ASCII digit or plus sign that `character` is a form of, or the character itself."""
    if character.isascii():
        return character
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    return "+" if unicodedata.normalize("NFKC", character) == "+" else character


def _digit_or_escape(found: re.Match[str]) -> str:
    r"""Return the digit that an escape such as `\uff14` stands for; any other escape stays as it is."""
    code = int(found[1] or found[2] or found[3], 16)
    plain = _plain(chr(code)) if code < 0x110000 else ""
    return plain if plain.isascii() and plain.isdigit() else found[0]


def _masked(found: re.Match[str]) -> str:
    run = found["run"]
    if run is None:
        return found[0]
    groups = _DIGITS.findall(run)
    digits = "".join(groups)
    if len(digits) < _SHORTEST_CODE:
        return run
    if run[0] == "+":
        return _international(digits, groups)
    if digits.startswith("00") and len(digits) >= _NATIONAL_FROM:
        return _international(digits[2:], _without_prefix(groups))
    if len(groups) == 1 and _NATIONAL_FROM <= len(digits) <= _MAX_E164:
        return mask_number(digits)
    return HIDDEN


def _without_prefix(groups: list[str]) -> list[str]:
    """Return groups of digits without the two zeros that they begin with."""
    left, zeros = [], 2
    for group in groups:
        left.append(group[zeros:])
        zeros -= min(zeros, len(group))
    return [group for group in left if group]


def _international(digits: str, groups: list[str]) -> str:
    number = f"+{digits}"
    if _SHOWN_FROM <= len(digits) <= _MAX_E164 and (len(groups) == 1 or _one_number(number, groups)):
        return mask_number(number)
    return HIDDEN


def _one_number(number: str, groups: list[str]) -> bool:
    """Say whether all groups make one number, and nothing that might be a number with a code behind it."""
    if not _valid(number):
        return False
    behind = 0
    for group in reversed(groups):
        behind += len(group)
        if len(number) - behind > _SHOWN_FROM - 1 and behind >= _SHORTEST_CODE and _valid(number[:-behind]):
            return False
    return True


def _valid(number: str) -> bool:
    import phonenumbers  # its tables load when they are first needed

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number)))
    except phonenumbers.NumberParseException:
        return False
