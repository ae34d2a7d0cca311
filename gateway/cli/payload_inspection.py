"""Looks at the payload keys that a configuration names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from gateway import assembly
from gateway.cli.finding import Finding
from gateway.config.schema import Settings
from gateway.config.secret_files import SecretFileRefused
from gateway.sealed.errors import PayloadKeyRefused

_SUBJECT = "payload keys"
_WRITE = "smsgw payload-key public FILE --out FILE, on a node that relays, writes a public half"
_THERE = " of the relaying nodes, and its public half into payload.public_key_files here"
_MAKE = "smsgw payload-key create --out FILE makes one"


def look_at_payload_keys(settings: Settings, now: dt.datetime) -> Iterator[Finding]:
    """Yield what there is to say of them: nothing where there are none."""
    payload = settings.payload
    if payload.key_files or payload.public_key_files:
        yield _finding(settings, now)


def _finding(settings: Settings, now: dt.datetime) -> Finding:
    public = bool(settings.payload.public_key_files)
    try:
        keys = assembly.payload_keys(settings)
    except (SecretFileRefused, PayloadKeyRefused) as error:
        if public:
            return Finding(_SUBJECT, "", str(error), _WRITE)
        return Finding(_SUBJECT, "", str(error), f"{_MAKE}; restore a lost one, or messages sealed to it are rejected")
    live = [key for key in keys if now.timestamp() < key.not_after]
    if not live:
        return Finding(
            _SUBJECT,
            "",
            "none may be sealed to any more",
            f"{_MAKE}; put it first into payload.key_files{_THERE if public else ''}",
        )
    until = dt.datetime.fromtimestamp(max(key.not_after for key in live), dt.UTC)
    return Finding(_SUBJECT, f"{len(live)} of {len(keys)} published, the last until {until:%Y-%m-%d}")
