"""The log hides numbers and lets nothing act on a terminal, whoever logs."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest

from gateway.cli import logs
from gateway.config.schema import LogFormat, LogLevel, LogSettings

Start = Callable[[LogFormat], io.StringIO]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Set up logging into a text, and put the former set-up back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def set_up(kind: LogFormat) -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs.set_up(LogSettings(level=LogLevel.INFO, format=kind))
        return stream

    yield set_up
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize("kind", list(LogFormat))
def test_numbers_are_hidden_everywhere(start: Start, kind: LogFormat) -> None:
    """Message, arguments, keywords, nested values and tracebacks are masked; ids and counts stay."""
    stream = start(kind)
    number = "+4915112345678"
    log = logging.getLogger("some.library")
    log.warning("to %s", number, extra={"to": number, "all": [number[1:], {"x": number}], "count": 1234567890})
    try:
        raise ValueError(number)
    except ValueError:
        log.exception("failed")
    log.info("done", extra={"id": "01932c07-7d4c-7a51-8000-123456789012", "version": "1.2.12345678"})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"about {number}", stacklevel=1)
    text = stream.getvalue()
    assert "15112345678" not in text
    assert "+49XXXXXXX5678" in text
    assert "01932c07-7d4c-7a51-8000-123456789012" in text
    assert "1234567890" in text


def test_json_lines(start: Start) -> None:
    """Each line is one object with time, level, logger, event and keywords."""
    stream = start(LogFormat.JSON)
    logging.getLogger("a").info("link.up", extra={"carrier": "acme\n\x1b[31m"})
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record.pop("time").startswith("20")
    assert record == {"level": "INFO", "logger": "a", "event": "link.up", "carrier": "acme\n\x1b[31m"}
    assert "\x1b" not in line


def test_text_lines_cannot_act(start: Start) -> None:
    """A line stays one line, and control characters are escaped."""
    stream = start(LogFormat.TEXT)
    logging.getLogger("a").info("link.up", extra={"carrier": "acme\n\x1b[31m"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("info    a link.up carrier=acme\\n\\x1b[31m")


def test_level(start: Start) -> None:
    """What is below the level is not written."""
    stream = start(LogFormat.JSON)
    logging.getLogger("a").debug("quiet")
    assert stream.getvalue() == ""
