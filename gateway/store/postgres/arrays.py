"""Columns of a batch as arrays in PostgreSQL's binary format, made without a step of Python for each value.

The format is that of `array_send` (src/backend/utils/adt/arrayfuncs.c): the number of dimensions, whether there are
NULLs, the type of the elements, length and lower bound of the dimension, then each element behind its length; -1 is the
length of NULL. All numbers are 32 bits, big-endian. Whole batches go to `unnest` so; psycopg's own lists cost ten times
as much.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from typing import cast

from gateway.store.engine.statements import Value

BIGINT, BYTEA, TEXT = 20, 17, 25  # of pg_type
_HEAD = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i").pack
_NULL = _LENGTH(-1)
_BIGINT_SLOT = _LENGTH(8) + bytes(8)


def bigints(column: Sequence[Value]) -> bytes:
    """Pack numbers of 64 bits."""
    if None in column:
        return _some_null(BIGINT, [None if value is None else _big(value) for value in column])
    values = array("q", cast("Sequence[int]", column))  # a TypeError for what is no number
    if sys.byteorder == "little":
        values.byteswap()
    octets = values.tobytes()
    slots = bytearray(_BIGINT_SLOT) * len(column)
    for place in range(8):  # a step of C for each octet of all numbers
        slots[4 + place :: 12] = octets[place::8]
    return _head(BIGINT, len(column), null=False) + slots


def byteas(column: Sequence[Value]) -> bytes:
    """Pack octets."""
    return _packed(BYTEA, column)


def texts(column: Sequence[Value]) -> bytes:
    """Pack texts as UTF-8. Raises UnicodeEncodeError for a lone surrogate."""
    if None in column:
        return _some_null(TEXT, [None if value is None else value.encode() for value in column])  # type: ignore[union-attr]  # as declared for the column
    return _packed(TEXT, [value.encode() for value in column])  # type: ignore[union-attr]  # as declared for the column


PACKERS: dict[str, tuple[str, Callable[[Sequence[Value]], bytes]]] = {
    "int": ("bigint[]", bigints),
    "bytes": ("bytea[]", byteas),
    "text": ("text[]", texts),
}


def _head(oid: int, number: int, *, null: bool) -> bytes:
    return _HEAD.pack(1, int(null), oid, number, 1)


def _big(value: Value) -> bytes:
    return struct.pack("!q", value)


def _packed(oid: int, column: Sequence[Value]) -> bytes:
    if None in column:
        return _some_null(oid, column)
    lengths = map(_LENGTH, map(len, column))  # type: ignore[arg-type]  # as declared for the column
    return _head(oid, len(column), null=False) + b"".join(chain.from_iterable(zip(lengths, column, strict=True)))  # type: ignore[arg-type]  # octets


def _some_null(oid: int, column: Sequence[Value]) -> bytes:
    elements = [_NULL if value is None else _LENGTH(len(value)) + value for value in column]  # type: ignore[arg-type, operator]  # octets
    return _head(oid, len(column), null=True) + b"".join(elements)
