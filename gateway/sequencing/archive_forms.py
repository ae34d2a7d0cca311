"""The forms in which archives get a checkpoint: a line of JSON, and a message of syslog (RFC 5424, RFC 5425 §4.3).

line      {"at": "2026-11-27T22:00:00.000000Z", "origin": ..., "size": ..., "root": "<hex>", "note": "<the note>"}
message   <109>1 TIME NODE smsgw - checkpoint - the same object            facility 13 (log audit), notice
frame     its length in octets, a space, the message
"""

from __future__ import annotations

import datetime as dt
import json
import re

from gateway.sequencing.archiving import Archived
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.errors import MalformedLog
from gateway.tlog.notes import MAX_NOTE, parse

MAX_LINE = 2 * MAX_NOTE
_PRIORITY = 13 * 8 + 5
_HOST = re.compile(r"[^!-~]")  # PRINTUSASCII, RFC 5424 §6


def line_of(one: Archived) -> bytes:
    """Return the line of a checkpoint."""
    document = {
        "at": _moment(one.at),
        "origin": one.checkpoint.origin,
        "size": one.checkpoint.size,
        "root": one.checkpoint.root.hex(),
        "note": one.note.decode(),
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def note_in(line: bytes) -> bytes:
    """Return the note of a line, unverified. Raises MalformedLog."""
    try:
        document = json.loads(line)
        note = document["note"].encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MalformedLog("a line of the archive holds no checkpoint") from None
    if not isinstance(note, bytes) or len(note) > MAX_NOTE:
        raise MalformedLog("a line of the archive holds no checkpoint")
    return note


def origin_in(line: bytes) -> str:
    """Return of which log a line's checkpoint says to be. Raises MalformedLog."""
    return parse_text(parse(note_in(line)).text).origin


def syslog_frame(one: Archived, node: str) -> bytes:
    """Return the frame of a checkpoint; `node` is the name of the sender."""
    host = _HOST.sub("_", node)[:255] or "-"
    head = f"<{_PRIORITY}>1 {_moment(one.at)} {host} smsgw - checkpoint - "
    message = head.encode("ascii") + line_of(one)[:-1]
    return b"%d %s" % (len(message), message)


def _moment(at: int) -> str:
    return dt.datetime.fromtimestamp(at / 1_000_000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
