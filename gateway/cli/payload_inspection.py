"""Looks at the payload keys that a configuration names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.finding import Finding
from gateway.config.schema import Settings
from gateway.config.secret_files import SecretFileRefused
from gateway.sealed.errors import PayloadKeyRefused

_SUBJECT = "payload keys"
_MAKE = "smsgw payload-key create --out FILE makes one"


def look_at_payload_keys(settings: Settings, now: dt.datetime) -> Iterator[Finding]:
    """Yield what there is to say of them: nothing where there are none."""
    files = settings.payload.key_files
    if files:
        yield _finding(files, now)


def _finding(files: tuple[Path, ...], now: dt.datetime) -> Finding:
    from gateway.sealed.key_files import read_keys  # it loads the library: a node without such keys does not

    try:
        keys = read_keys(files)
    except (SecretFileRefused, PayloadKeyRefused) as error:
        return Finding(_SUBJECT, "", str(error), f"{_MAKE}; restore a lost one, or messages sealed to it are rejected")
    live = [key for key in keys if now.timestamp() < key.not_after]
    if not live:
        return Finding(_SUBJECT, "", "none may be sealed to any more", f"{_MAKE}; put it first into payload.key_files")
    until = dt.datetime.fromtimestamp(max(key.not_after for key in live), dt.UTC)
    return Finding(_SUBJECT, f"{len(live)} of {len(keys)} published, the last until {until:%Y-%m-%d}")
