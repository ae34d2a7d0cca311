"""The log hides numbers and lets nothing act on a terminal, whoever logs."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.cli import logs
from gateway.config.schema import LogFormat, LogLevel, LogSettings

Start = Callable[[LogFormat], io.StringIO]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Set up logging into a text, and put the former set-up back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook

    def set_up(kind: LogFormat) -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs.set_up(LogSettings(level=LogLevel.INFO, format=kind))
        return stream

    yield set_up
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


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
    """Each line is one object with time, level, logger, event and keywords; what is in it cannot act either."""
    stream = start(LogFormat.JSON)
    logging.getLogger("a").info("link.up", extra={"carrier": "acme\n\x1b[31m", "event": "x", "port": 3550})
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record.pop("time").startswith("20")
    assert record == {
        "level": "INFO",
        "logger": "a",
        "event": "link.up",
        "carrier": r"acme\n\x1b[31m",
        "event_": "x",
        "port": 3550,
    }


def test_text_lines_cannot_act(start: Start) -> None:
    """A line stays one line, and control characters are escaped; a value cannot pass for another field."""
    stream = start(LogFormat.TEXT)
    logging.getLogger("a").info("link.up", extra={"carrier": "acme\n\x1b[31m", "why": "x level=ERROR", "all": [1]})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r'info    a link.up carrier=acme\n\x1b[31m why="x level=ERROR" all=[1]')


class Careless:
    """An object of a library, whose text is a number, and whose arithmetic fails."""

    def __str__(self) -> str:
        return "+4915112345678"

    def __int__(self) -> int:
        raise ValueError("+4915112345678")


def test_json_of_any_object(start: Start) -> None:
    """An object that JSON does not know is written as its redacted text, and no other."""
    stream = start(LogFormat.JSON)
    fields = {"error": ValueError("+4915112345678"), "thing": Careless(), "octets": b"code 471123", "n": float("nan")}
    logging.getLogger("a").info("x", extra=fields)
    record = json.loads(stream.getvalue(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert {key: record[key] for key in fields} == {
        "error": "+49XXXXXXX5678",
        "thing": "+49XXXXXXX5678",
        "octets": "b'code XXXX'",
        "n": "nan",
    }


@pytest.mark.parametrize("kind", list(LogFormat))
def test_exceptions_and_stacks(start: Start, kind: LogFormat) -> None:
    """Causes, contexts, groups, notes and stacks are redacted, and each record is one line."""
    stream = start(kind)
    log = logging.getLogger("some.library")
    try:
        try:
            raise ValueError("first +4915112345678\nERROR forged")
        except ValueError as cause:
            error = RuntimeError("second, code 471123")
            error.add_note("about +49 151 1234 5678")
            raise ExceptionGroup("third 471123", [error, KeyError("00491511234 5678")]) from cause
    except ExceptionGroup:
        log.exception("failed", stack_info=True)
        log.warning("again", exc_info=True)
    first, second = stream.getvalue().splitlines()
    for line in (first, second):
        assert "ExceptionGroup" in line
        assert "direct cause" in line
        assert not re.search(r"15112|471123|1234", re.sub(r"line \d+", "", line))
        assert "+49XXXXXXX5678" in line
    if kind is LogFormat.JSON:
        record = json.loads(first)
        assert record["exc_info"][0].strip() == "Traceback (most recent call last):"
        assert record["stack_info"][0] == "Stack (most recent call last):"


@pytest.mark.parametrize("kind", list(LogFormat))
def test_arguments_that_do_not_fit(start: Start, kind: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    """A record whose arguments do not fit its text is told without them, and logging prints nothing of its own."""
    stream = start(kind)
    logging.getLogger("a").warning("to %d", "+4915112345678")
    logging.getLogger("a").warning("to %d", Careless())
    template = "to %s and %s"
    logging.getLogger("a").warning(template, "+4915112345678")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all("arguments do not fit" in line and "5678" not in line for line in lines)
    assert capsys.readouterr() == ("", "")


def test_a_record_that_cannot_be_written(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writing fails, that is reported, and not a word of the record."""
    stream = start(LogFormat.JSON)

    def fail(record: logging.LogRecord) -> str:
        raise UnicodeError("+4915112345678")

    monkeypatch.setattr(logging.getLogger().handlers[0], "format", fail)
    logging.getLogger("a").warning("to +4915112345678")
    record = json.loads(stream.getvalue())
    assert (record["event"], record["why"]) == ("record_lost", "UnicodeError")
    assert "5678" not in stream.getvalue()


def test_nobody_reads(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """A closed stream is no reason to fail, nor to write around the redaction."""
    stream = start(LogFormat.JSON)
    stream.close()
    logging.getLogger("a").warning("+4915112345678")
    assert capsys.readouterr() == ("", "")


def test_uncaught(start: Start) -> None:
    """What nobody catches, in the main thread, in another one, or in a destructor, is in the log, redacted."""
    stream = start(LogFormat.JSON)
    error = ValueError("+4915112345678")
    sys.excepthook(ValueError, error, None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail, name="store")
    thread.start()
    thread.join()

    class Bad:
        def __del__(self) -> None:
            raise error

    Bad()
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [record["event"] for record in records] == ["uncaught", "uncaught_in_thread", "unraisable"]
    assert records[1]["work"] == "store"
    assert all("+49XXXXXXX5678" in record["exc_info"][-1] for record in records)
    assert "15112345678" not in stream.getvalue()


def test_tasks_that_nobody_awaits(start: Start) -> None:
    """A task's error that nobody fetches is told by asyncio, through the log."""
    stream = start(LogFormat.JSON)

    async def fail() -> None:
        raise ValueError("+4915112345678")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait({task})
        del task

    asyncio.run(main())
    gc.collect()
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record["logger"] == "asyncio"
    assert "never retrieved" in record["event"]
    assert "15112345678" not in line


fields = st.dictionaries(
    st.text(max_size=12).filter(lambda name: name not in logs.RESERVED and not name.startswith("_")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(LogFormat)), st.text(max_size=60), st.text(max_size=30), fields)
def test_always_one_line(kind: LogFormat, message: str, argument: str, extra: dict[str, object]) -> None:
    """Whatever is logged, a record is one printable line, and JSON always parses."""
    record = logging.makeLogRecord({"msg": message, "args": (argument,), "name": argument, **extra})
    record.levelname = "INFO"
    line = logs.formatter(kind).format(record)
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    if kind is LogFormat.JSON:
        parsed = json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
        assert {"level", "logger", "event", "time"} <= set(parsed)


def test_level(start: Start) -> None:
    """What is below the level is not written."""
    stream = start(LogFormat.JSON)
    logging.getLogger("a").debug("quiet")
    assert stream.getvalue() == ""
