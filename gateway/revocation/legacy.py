"""denied.json: the list of smsgw before lists were signed. A publisher takes it over once, for good."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from gateway.revocation.entries import FOR_GOOD, Entry, What, check
from gateway.revocation.errors import BadEntry, DenyListFileError

FILE = "denied.json"
_TAKEN_OVER = ".taken-over"
_MAX_BYTES = 16 << 20
_REASON = "taken over from denied.json"


def legacy_entries(folder: Path, now: int) -> list[Entry]:
    """Return what the file names, nothing when there is none. Raises DenyListFileError: nothing in it is skipped."""
    path = folder / FILE
    try:
        octets = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DenyListFileError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if len(octets) > _MAX_BYTES:
            raise ValueError("it is too long")
        document = json.loads(octets)
        if document["version"] != 1 or set(document) != {"version", "certificates", "spiffe_ids"}:
            raise ValueError("it is of another version")
        identities = [_entry(now, What.IDENTITY, spiffe_id=str(text)) for text in document["spiffe_ids"]]
        return identities + [
            _entry(now, What.CERTIFICATE, authority_key_id=str(each["authority_key_id"]), serial=str(each["serial"]))
            for each in document["certificates"]
        ]
    except (ValueError, KeyError, TypeError, BadEntry) as error:
        raise DenyListFileError(f"{path} is no deny list: {error!a}; put back the last good copy") from error


def retire(folder: Path) -> None:
    """Put the file aside: what it names is in the signed list. Raises DenyListFileError."""
    path = folder / FILE
    try:
        path.rename(path.with_name(FILE + _TAKEN_OVER))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DenyListFileError(f"{path} cannot be renamed: {error.strerror}") from error


def refuse_legacy(folder: Path) -> None:
    """Raise DenyListFileError when there is such a file, on a node that follows another one."""
    if (folder / FILE).exists():
        raise DenyListFileError(
            f"{folder / FILE} is of an earlier version, and this node follows another one now: revoke there what it "
            "names, then delete it"
        )


def _entry(now: int, what: What, *, spiffe_id: str = "", authority_key_id: str = "", serial: str = "") -> Entry:
    return check(
        Entry(
            id=secrets.token_hex(4),
            what=what,
            revoked_at=now,
            cutoff=FOR_GOOD if what is What.IDENTITY else 0,
            spiffe_id=spiffe_id,
            authority_key_id=authority_key_id,
            serial=serial,
            reason=_REASON,
        )
    )
