"""What can go wrong with the log in a running deployment.

The tree:

    StoreCorrupt
    └── LogBroken            audit, log and checkpoints contradict each other: the text says which commit, and how
    Unavailable
    ├── LogNotOurs           another node is the sequencer now: this one stops appending, and waits
    ├── LogNotWritten        a file of the log cannot be written or read
    └── NotArchived          a checkpoint did not get to an archive, or a witness did not cosign it
        └── Contradicted     since the witness has seen more of the log than there is, or another history of it
    ValueError
    └── LogKeyError          the signing key cannot be used

LogBroken does not go away by itself: a person has to look.
"""

from __future__ import annotations

from gateway.errors import StoreCorrupt, Unavailable


class LogBroken(StoreCorrupt):
    """The log is not what was signed, or the audit not what is in the log."""

    default_reason = "AUDIT_LOG_BROKEN"


class LogNotOurs(Unavailable):
    """The lease is another's now."""

    default_reason = "AUDIT_LOG_NOT_OURS"


class LogNotWritten(Unavailable):
    """A file of the log cannot be used."""

    default_reason = "AUDIT_LOG_NOT_WRITTEN"


class NotArchived(Unavailable):
    """An archive, or a witness, did not take a checkpoint; the text says why."""

    default_reason = "AUDIT_NOT_ARCHIVED"


class Contradicted(NotArchived):
    """A witness knows the log otherwise. `seen`: how many commits it says to have seen; 0: another history."""

    def __init__(self, message: str, seen: int) -> None:
        super().__init__(message)
        self.seen = seen


class LogKeyError(ValueError):
    """The key that signs the log cannot be used; the text never holds it."""
