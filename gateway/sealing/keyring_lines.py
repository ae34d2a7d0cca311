"""A key's record as a line of JSON: the format of the folder's files. Pure.

{"v":1,"key":..,"node":..,"tenant":..,"made":..,"usable_until":..,"seals":..,"kek":..,"wrapped":..}
{"v":2,"key":..,"node":..,"tenant":..,"made":..,"usable_until":..,"seals":..,"destroyed":..,"by":..,"why":..}

Keys from before they had a purpose have no "seals".
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from gateway.sealing.keyring import DestroyedKey, KeyRecord, Tombstone, WrappedKey
from gateway.sealing.providers import Wrapped

MAX_LINE_BYTES = 16_384  # what a tombstone says, escaped, and the largest wrap

_WRAPPED = 1
_DESTROYED = 2


def line_of(record: KeyRecord) -> bytes:
    """Return a record as a line, its end included."""
    version = _WRAPPED if isinstance(record, WrappedKey) else _DESTROYED
    document: dict[str, object] = {
        "v": version,
        "key": record.key_id.hex(),
        "node": record.node,
        "tenant": record.tenant,
        "made": _text(record.made_at),
        "usable_until": _text(record.usable_until),
        **({"seals": record.purpose} if record.purpose else {}),
    }
    if isinstance(record, WrappedKey):
        octets = base64.b64encode(record.wrapped.octets).decode("ascii")
        document |= {"kek": record.wrapped.kek_id, "wrapped": octets}
    else:
        stone = record.stone
        document |= {"destroyed": _text(stone.at), "by": stone.by, "why": stone.why}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def words_of(key_id: bytes) -> bytes:
    """Return what the line of a key has in it, and no other."""
    return b'"key":"%s"' % key_id.hex().encode()


def record_of(line: bytes) -> KeyRecord | None:
    """Return the record in a line, None when it is none."""
    try:
        document = json.loads(line)
        if not isinstance(document, dict):
            return None
        head = (
            bytes.fromhex(document["key"]),
            str(document["node"]),
            str(document["tenant"]),
            _time(document["made"]),
            _time(document["usable_until"]),
        )
        return _tail(document, head)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _tail(document: dict[str, Any], head: tuple[bytes, str, str, int, int]) -> KeyRecord | None:
    purpose = str(document.get("seals", ""))
    if document["v"] == _WRAPPED:
        octets = base64.b64decode(document["wrapped"], validate=True)
        return WrappedKey(*head, Wrapped(str(document["kek"]), octets), purpose)
    if document["v"] == _DESTROYED:
        stone = Tombstone(_time(document["destroyed"]), str(document["by"]), str(document["why"]))
        return DestroyedKey(*head, stone, purpose)
    return None


def _text(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
