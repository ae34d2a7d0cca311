"""The log of a node: standard error, one line a record, JSON or text, redacted.

Redaction sits behind every logger: a library's record passes through it too, with its arguments, fields, exceptions and
stacks, and so do warnings and what nobody caught. What it hides is in `gateway.redaction`; bodies, codes and keys are
never given to a logger in the first place.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import threading
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from gateway.config.schema import LogFormat, LogSettings
from gateway.redaction import Plain, clean, clipped, redact
from gateway.telemetry.context import current_span

log = logging.getLogger(__name__)

MAX_TRACE = 8192  # characters of a traceback or a stack
MAX_FIELDS = 50  # of one record
RESERVED = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_TAKEN = frozenset({"level", "logger", "event", "time"})  # what a line begins with
_LOST = '{"level": "ERROR", "logger": "gateway.cli.logs", "event": "record_lost", "why": "%s"}\n'


def redacted(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of `record` in which nothing is left to hide, and nothing left to compute."""
    safe = copy.copy(record)
    safe.name = redact(record.name, 256)
    safe.msg, safe.args = redact(_message(record)), None
    safe.exc_text, safe.exc_info = _exception(record), None
    safe.stack_info = _redacted_lines(record.stack_info) if record.stack_info else None
    fields = vars(safe)
    for count, key in enumerate([key for key in fields if key not in RESERVED]):
        value = fields.pop(key)
        if count < MAX_FIELDS:
            name = redact(str(key), 256)
            fields[f"{name}_" if name in _TAKEN else name] = clean(value, name)
    return safe


def _message(record: logging.LogRecord) -> str:
    """Return the record's message; one whose arguments do not fit is told without them."""
    try:
        return record.getMessage()
    except Exception as error:  # somebody else's mistake; the log must not fail by it
        return f"{record.msg} (its arguments do not fit: {type(error).__name__})"


def _exception(record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[0] is not None:
        return _redacted_lines(logging.Formatter().formatException(record.exc_info))
    return _redacted_lines(record.exc_text) if record.exc_text else None


def _redacted_lines(text: str) -> str:
    return "\n".join([redact(line) for line in clipped(text, MAX_TRACE).split("\n")])


class RedactingJsonFormatter(JsonFormatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return super().format(redacted(record))

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Give tracebacks and stacks as lists of their lines; name the span of sampled work."""
        for key in ("exc_info", "stack_info"):
            if log_data.get(key):
                log_data[key] = log_data[key].split("\n")
        span = current_span.get()
        if span is not None:  # ids of ours, and a caller's that was read as 32 hexadecimal digits
            log_data |= {"trace_id": span.trace_text, "span_id": span.span_text}
        return log_data


class RedactingTextFormatter(logging.Formatter):
    """A line for people: time, level, logger, event, fields; then exception and stack, on the same line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        safe = redacted(record)
        words = [f"{safe.levelname.lower():7}", safe.name, str(safe.msg)]
        words += [f"{key}={_shown(value)}" for key, value in vars(safe).items() if key not in RESERVED]
        span = current_span.get()
        if span is not None:
            words.append(f"trace_id={span.trace_text} span_id={span.span_text}")
        words += [text.replace("\n", "\\n") for text in (safe.exc_text, safe.stack_info) if text]
        return f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} {' '.join(words)}"


def _shown(value: Plain) -> str:
    """Return a field's value, in quotes where it could be taken for another field."""
    if isinstance(value, str) and value and not any(mark in value for mark in ' ="'):
        return value
    return json.dumps(value, ensure_ascii=False)


class RedactingHandler(logging.StreamHandler[TextIO]):
    """Writes lines. A record that cannot be written is reported without any of its contents."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the name is logging's
        """Report the loss of `record`, which logging itself would print as it is."""
        del record
        kind = sys.exc_info()[0]
        try:
            self.stream.write(_LOST % (kind.__name__ if kind else "unknown"))
            self.flush()
        except (OSError, ValueError):  # nobody reads the log any more
            return


def set_up(settings: LogSettings) -> None:
    """Send all logging to standard error, as the configuration says, and what nobody catches with it."""
    handler = RedactingHandler(sys.stderr)
    handler.setFormatter(formatter(settings.format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("uncaught", exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is SystemExit:
        return
    error = found.exc_value if found.exc_value is not None else found.exc_type()
    name = found.thread.name if found.thread else ""
    log.critical("uncaught_in_thread", extra={"work": name}, exc_info=(type(error), error, found.exc_traceback))


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    error = found.exc_value if found.exc_value is not None else found.exc_type()
    log.error("unraisable", extra={"why": found.err_msg}, exc_info=(type(error), error, found.exc_traceback))


def formatter(kind: LogFormat) -> logging.Formatter:
    """Return what writes lines of this kind."""
    if kind is LogFormat.TEXT:
        return RedactingTextFormatter()
    return RedactingJsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "message": "event"},
        timestamp="time",
    )
