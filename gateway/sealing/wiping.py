"""Overwriting keys in memory, as far as a program in Python can.

A `bytes` object is overwritten where it lies: CPython keeps its octets behind the header of the object. That is done
for objects that this package has made, or was given for good, and that nobody else may go on using. What a library
copied meanwhile is the library's: OpenSSL cleanses its contexts when they are freed.
"""

from __future__ import annotations

import ctypes

_HEADER_BYTES = bytes.__basicsize__ - 1  # of a bytes object, before its octets


def wipe(*keys: bytes) -> None:
    """Overwrite keys with zeros. Who holds one of these objects from then on holds zeros."""
    for key in keys:
        if len(key) > 1:  # shorter ones are shared by the whole interpreter
            ctypes.memset(id(key) + _HEADER_BYTES, 0, len(key))
