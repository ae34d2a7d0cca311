"""The log of a node: standard error, JSON or text, with numbers hidden and control characters escaped.

Redaction sits in the formatter, behind every logger: a library's line passes through it too. It hides what looks like a
telephone number; bodies, codes and keys are never given to a logger in the first place.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from gateway.config.schema import LogFormat, LogSettings
from gateway.masking import escape_controls, mask_number
from gateway.telemetry.context import current_span

# 8 to 15 digits (E.164), not inside a word, a decimal or a UUID.
_NUMBER = re.compile(r"(?<![\w.:-])\+?[0-9]{8,15}(?![\w:-]|\.[0-9])", re.ASCII)


def redact(text: str) -> str:
    """Return `text` with telephone numbers masked."""
    return _NUMBER.sub(lambda found: mask_number(found[0]), text)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return value


class RedactingJsonFormatter(JsonFormatter):
    """One JSON object a line; JSON itself escapes control characters."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Hide numbers in every text of the record, keywords and tracebacks included; name the span of sampled work."""
        record = {key: _clean(value) for key, value in super().process_log_record(log_data).items()}
        span = current_span.get()
        if span is not None:  # ids of ours, and a caller's that was read as 32 hexadecimal digits
            record |= {"trace_id": span.trace_text, "span_id": span.span_text}
        return record


class RedactingTextFormatter(logging.Formatter):
    """A line for people: time, level, event, keywords."""

    _OWN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows it, indented, escaped line by line."""
        fields = " ".join(
            f"{key}={value}" for key, value in vars(record).items() if key not in self._OWN and value is not None
        )
        head = f"{record.levelname.lower():7} {record.name} {record.getMessage()} {fields}".rstrip()
        span = current_span.get()
        if span is not None:
            head += f" trace_id={span.trace_text} span_id={span.span_text}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        lines = [escape_controls(redact(line)) for line in [head, *trace.splitlines()]]
        return f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} " + "\n    ".join(lines)


def set_up(settings: LogSettings) -> None:
    """Send all logging to standard error, as the configuration says."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(settings.format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)


def _formatter(kind: LogFormat) -> logging.Formatter:
    if kind is LogFormat.TEXT:
        return RedactingTextFormatter()
    return RedactingJsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "message": "event"},
        timestamp="time",
    )
