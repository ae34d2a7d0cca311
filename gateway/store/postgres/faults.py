"""PostgreSQL's errors in our words: what to do about it, and whose turn it is.

Nothing of a server's own text about a statement is handed on but its code: texts and details name values.
"""

from __future__ import annotations

import psycopg

from gateway.errors import GatewayError, StoreCorrupt, StoreUnavailable

# SQLSTATE, or its class (two characters), and what is said of it; see appendix A of PostgreSQL's manual.
_UNAVAILABLE = {
    "08": "there is no connection: check host, port, role and the server's log",
    "28": "the server refuses the login: check store.user and store.password_file",
    "3D": "there is no database of that name: create it, or correct store.database",
    "25006": "the server only reads, as a standby does: name the one that writes",
    "40": "the transaction met another one: it will be tried again",
    "42501": "the role may not do this: make it the owner of the schema",
    "53100": "the server's disk is full: free some space, writes go on by themselves",
    "53200": "the server is out of memory",
    "53300": "the server has no connection left: raise its max_connections",
    "53": "the server is short of something: see its log",
    "55P03": "another session holds it locked: end that session",
    "57014": "the query took too long: ask for less",
    "57": "the server is going down, or not up yet",
    "58": "reading or writing failed: check the server's disk and log",
}
FENCED = "SMF01"  # of `write_as`
DISK_FULL = "53100"
_CORRUPT = {"XX001", "XX002"}
_BROKEN_SCHEMA = {"42P01", "42703", "3F000"}  # a table, a column, a schema is not there


def translate(error: BaseException, name: str, *, starting: bool = False) -> BaseException:
    """Return the gateway's error for one of PostgreSQL's; `name` says which database. `starting`: it is for those who
    operate the node alone, and says why there is no connection; what the driver tells of that has no code."""
    if isinstance(error, GatewayError) or not isinstance(error, psycopg.Error):
        return error
    code = error.sqlstate or ""
    if code in _CORRUPT:
        return StoreCorrupt(f"{name} is damaged ({code}): restore it from a backup")
    if code in _BROKEN_SCHEMA:
        return StoreCorrupt(f"{name} is not as this smsgw made it ({code}): restore it from a backup")
    if code == FENCED:
        return StoreUnavailable(f"{name}: this node has lost its lease, and takes a new one", reason="NODE_FENCED")
    advice = _UNAVAILABLE.get(code) or _UNAVAILABLE.get(code[:2])
    if advice is None and isinstance(error, psycopg.OperationalError) and not code:
        advice = _UNAVAILABLE["08"]
    if advice is None:
        return Refused(code or type(error).__name__)
    return StoreUnavailable(f"{name}: {advice} ({code or (_said(error) if starting else 'no answer')})")


def _said(error: psycopg.Error) -> str:
    """Return the line that says why there is no connection: names of host, role and database, no values."""
    first = str(error).partition("\n")[0].rpartition(" failed: ")[2]
    return "".join(character if character.isprintable() else "?" for character in first)[:200]


class Refused(Exception):
    """A statement that the server does not take: a mistake of ours, told by its SQLSTATE alone."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the database refused a statement (SQLSTATE {code})")
        self.code = code


def hopeless(error: BaseException) -> bool:
    """Say whether nothing can be written at all: no use to try the operations of a group one by one."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, StoreUnavailable)
    code = error.sqlstate or ""
    return not code or code[:2] in {"08", "28", "3D", "53", "57", "58"} or code in {"25006", "55P03", FENCED, *_CORRUPT}


def lost(error: psycopg.Error) -> bool:
    """Say whether the session went with this error."""
    code = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError) and (not code or code[:2] == "08" or code.startswith("57P"))


def passing(error: BaseException) -> bool:
    """Say whether the next attempt may succeed at once: the session was lost, or another transaction was in the way."""
    if not isinstance(error, psycopg.Error):
        return False
    return lost(error) or (error.sqlstate or "")[:2] == "40"
