"""Looks for texts and numbers in any octets, in every form in which they could have been left there.

A `Needle` is something that was sent. Each is looked for as UTF-8, UTF-16 (both ways), GSM-7 (unpacked, and packed at
every bit), as semi-octets (how SMS writes numbers), as the escapes of JSON and Python, and in hexadecimal and base64 at
every alignment. A `Place` is a name and octets: what else is exported one day is searched by making more of them.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from carrier.errors import TextError
from carrier.text import gsm7

SHORTEST = 5  # octets of a pattern: shorter ones are found by chance


class Place(NamedTuple):
    """Somewhere that octets end up."""

    name: str
    octets: bytes


class Leak(NamedTuple):
    """A needle that was found."""

    place: str
    needle: str
    form: str
    at: int

    def __str__(self) -> str:
        return f"{self.needle} in {self.place}, as {self.form}, at octet {self.at}"


def forms(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the octets of each form of `text`. In packed forms only whole octets of its own count."""
    plain = dict(_plain(text))
    yield from plain.items()
    if "GSM-7" in plain:
        for bit in range(8):
            yield f"GSM-7 packed at bit {bit}", _packed(plain["GSM-7"], bit)
    for name, octets in plain.items():
        yield f"hex of {name}", octets.hex().encode()
        yield f"upper-case hex of {name}", octets.hex().upper().encode()
        for shift in range(3):
            yield f"base64 of {name}, shifted by {shift}", _base64(octets, shift)
            yield f"base64url of {name}, shifted by {shift}", _base64(octets, shift, altchars=b"-_")


def _plain(text: str) -> Iterator[tuple[str, bytes]]:
    yield "UTF-8", text.encode()
    yield "UTF-16LE", text.encode("utf-16-le")
    yield "UTF-16BE", text.encode("utf-16-be")
    with contextlib.suppress(TextError):  # not in the alphabet: it cannot be left in this form
        yield "GSM-7", gsm7.encode(text)
    yield "escapes of JSON", json.dumps(text)[1:-1].encode()
    yield "escapes of Python", ascii(text)[1:-1].encode()
    if text.isascii() and text.isdigit():
        for shift in range(2):  # TS 23.040 §9.1.2.3: two digits an octet, the first one low
            digits = text[shift : len(text) - (len(text) - shift) % 2]
            pairs = [int(digits[at]) | int(digits[at + 1]) << 4 for at in range(0, len(digits), 2)]
            yield f"semi-octets from digit {shift}", bytes(pairs)
            yield f"BCD from digit {shift}", bytes((pair & 15) << 4 | pair >> 4 for pair in pairs)


def _packed(septets: bytes, bit: int) -> bytes:
    """Return the whole octets of packed septets (TS 23.038 §6.1.2.1) whose first bit is bit `bit` of an octet."""
    bits = sum(septet << 7 * number for number, septet in enumerate(septets)) << bit
    octets = bits.to_bytes((bit + 7 * len(septets) + 7) // 8, "little")
    return octets[1 if bit else 0 : (bit + 7 * len(septets)) // 8]


def _base64(octets: bytes, shift: int, altchars: bytes | None = None) -> bytes:
    """Return the characters that `octets` alone decide when `shift` octets (modulo 3) stand before them."""
    encoded = base64.b64encode(bytes(shift) + octets, altchars)
    first, last = -(-8 * shift // 6), 8 * (shift + len(octets)) // 6
    return encoded[first:last]


class Search:
    """Needles, ready to be looked for in many places."""

    def __init__(self, needles: Mapping[str, str]) -> None:
        """`needles` are names, for the report, and texts. ValueError for one that would be found by chance."""
        self._patterns: dict[bytes, tuple[str, str]] = {}
        for name, text in needles.items():
            for form, octets in forms(text):
                if len(octets) < SHORTEST:
                    raise ValueError(f"{name} as {form} has {len(octets)} octets: too short to be looked for")
                self._patterns.setdefault(octets, (name, form))

    def leaks(self, places: Iterable[Place]) -> list[Leak]:
        """Return what was found, the first occurrence of each form in each place."""
        return [
            Leak(place.name, *found, at)
            for place in places
            for pattern, found in self._patterns.items()
            if (at := place.octets.find(pattern)) >= 0
        ]


def files_of(folder: Path) -> Iterator[Place]:
    """Yield every file below a folder, by name and by content: an open database's log and index of it among them."""
    for path in sorted(folder.rglob("*")):
        yield Place("the names of files", str(path.relative_to(folder)).encode())
        if path.is_file():
            yield Place(str(path.relative_to(folder.parent)), path.read_bytes())
