"""SQLite's errors in our words: what to do about it, and whose turn it is."""

from __future__ import annotations

import logging

import apsw

from gateway.errors import GatewayError, StoreCorrupt, StoreUnavailable

log = logging.getLogger(__name__)

_UNAVAILABLE: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.FullError, "the disk is full: free some space, writes go on by themselves"),
    (apsw.ReadOnlyError, "it is read-only: check the mount and the owner of the files"),
    (apsw.BusyError, "another program holds it locked: end that program (a shell, a backup)"),
    (apsw.LockedError, "another program holds it locked: end that program (a shell, a backup)"),
    (apsw.CantOpenError, "it cannot be opened: check that the directory exists and belongs to this user"),
    (apsw.PermissionsError, "this user may not open it: check the owner of the files"),
    (apsw.AuthError, "this user may not open it: check the owner of the files"),
    (apsw.IOError, "reading or writing failed: check the disk and the system's log"),
    (apsw.NoMemError, "out of memory"),
    (apsw.ProtocolError, "its write-ahead log is locked: end other programs that use it"),
    (apsw.InterruptError, "the query took too long: ask for less"),
)
_CORRUPT = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)

# These say that nothing can be written at all: no use to try the operations of a group one by one.
HOPELESS = (apsw.BusyError, apsw.LockedError, apsw.CantOpenError, apsw.IOError, apsw.ProtocolError, *_CORRUPT)
# After these the reader opens its connection anew.
SHAKEN = (apsw.IOError, apsw.CantOpenError, apsw.ProtocolError, *_CORRUPT)


def translate(error: BaseException, path: str) -> BaseException:
    """Return the gateway's error for one of SQLite's; an error that is not of the database stays as it is."""
    if isinstance(error, GatewayError) or not isinstance(error, apsw.Error):
        return error
    if isinstance(error, _CORRUPT):
        return StoreCorrupt(f"the database {path} is damaged, or is none ({error}): restore it from a backup")
    for kind, advice in _UNAVAILABLE:
        if isinstance(error, kind):
            return StoreUnavailable(f"the database {path}: {advice} ({_code(error)})")
    return error


def _code(error: apsw.Error) -> str:
    """Return SQLite's name for the error: SQLITE_IOERR_FSYNC."""
    code = getattr(error, "extendedresult", 0)
    names = apsw.mapping_extended_result_codes if code > 0xFF else apsw.mapping_result_codes
    return str(names.get(code, code)) if code else type(error).__name__


def close(db: apsw.Connection) -> None:
    """Close a connection, whatever its state."""
    try:
        db.close(True)
    except apsw.Error as error:
        log.warning("close_failed", extra={"why": str(error)})
