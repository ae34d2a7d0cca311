"""What can go wrong with the deny list.

The tree:

    DenyListError            the text says what, where and what to do
    ├── BadEntry             what is to be revoked names nothing; whoever asked is at fault
    ├── UnknownEntry         there is no such entry to be taken back
    ├── DenyListFull         the list has as many entries, or octets, as it may: nothing was added, and nothing dropped
    ├── BadDenyList          octets are no signed list: truncated, out of bounds, not canonical, of another format
    ├── ForgedDenyList       the signature, or what it covers, is not that of a pinned key
    ├── OldDenyList          it is older than what is known: rolled back, or replayed
    ├── DenyListOutOfTime    it has expired, or is from the future: clocks differ, or it was kept back
    └── DenyListFileError    the file of the list, or of a key, cannot be used

Verification raises; it never returns a bool. Only DenyListOutOfTime may go away by itself.
"""

from __future__ import annotations


class DenyListError(Exception):
    """The root: the text is for operators."""


class BadEntry(DenyListError):
    """What is to be revoked names nothing."""


class UnknownEntry(DenyListError):
    """There is no such entry."""


class DenyListFull(DenyListError):
    """The list has as many entries, or octets, as it may."""


class BadDenyList(DenyListError):
    """Octets are no signed list."""


class ForgedDenyList(DenyListError):
    """It was not signed by a pinned key, or was changed afterwards."""


class OldDenyList(DenyListError):
    """It is older than what is known."""


class DenyListOutOfTime(DenyListError):
    """It has expired, or is from the future."""


class DenyListFileError(DenyListError):
    """A file cannot be used."""
