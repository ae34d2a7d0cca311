"""The log of a process that has nothing personal to say: one line a record, JSON or text, on standard error.

The fields are named as in the gateway's own log (`gateway.cli.logs`), which redacts beside: what this one is used for
knows identities, serial numbers and reasons, and no message of anybody. What does not print as itself is escaped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator

from pythonjsonlogger.json import JsonFormatter

_TAKEN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_json: list[logging.Handler] = []  # those that write JSON now


def writing() -> bool:
    """Say whether this process writes its log as JSON now."""
    return bool(_json)


@contextlib.contextmanager
def logged(*, as_json: bool, level: str = "INFO") -> Iterator[None]:
    """Write all logging to standard error until the block ends."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter() if as_json else _Text())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    if as_json:
        _json.append(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        if handler in _json:
            _json.remove(handler)


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "message": "event"},
        timestamp="time",
        json_ensure_ascii=True,
    )


class _Text(logging.Formatter):
    """Level, event and fields, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; with an exception, the lines."""
        fields = (f"{key}={_shown(value)}" for key, value in vars(record).items() if key not in _TAKEN)
        line = f"{self.formatTime(record)} {record.levelname.lower():7} {' '.join((record.getMessage(), *fields))}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    plain = text.isascii() and text.isprintable() and not any(mark in text for mark in ' ="')
    return text if plain and text else json.dumps(text)
