"""What can go wrong with the log.

The tree:

    TlogError            the text says what; it never holds a key
    ├── MalformedLog     octets are not what they should be: no note, no checkpoint, no tile, no entry, out of bounds
    ├── MissingTile      a tile is needed that nobody has given
    ├── NotProven        a proof leads to another root: something was changed, left out or put elsewhere
    └── BadSignature     a signature is wrong, or there is none of a key that is known

Verification raises; it never returns a bool. None of these goes away by itself.
"""

from __future__ import annotations


class TlogError(Exception):
    """The root: the text is for operators."""


class MalformedLog(TlogError):
    """Octets are not in the form that they should have."""


class MissingTile(TlogError):
    """A tile is needed that is not there."""


class NotProven(TlogError):
    """A proof does not lead where it should."""


class BadSignature(TlogError):
    """A note is not signed by who should have signed it."""
