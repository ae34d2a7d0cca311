"""What every command has in common: exit codes, how a failure is told, colours, and the escaping of foreign text."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from rich.console import Console, RenderableType

from gateway.masking import escape_controls

_F = TypeVar("_F", bound=Callable[..., Any])

_LONG = 1_000  # columns, more than any line has
# What belongs to a script and not to a trick: joiners that Indic scripts and emoji need (Unicode §23.2).
_JOINERS = {"\\u200d": "\u200d", "\\u200c": "\u200c"}


class Exit(enum.IntEnum):
    """The exit codes of every command; `smsgw --help` explains them."""

    OK = 0
    FAILED = 1
    MISUSED = 2
    UNREACHABLE = 3
    REFUSED = 4
    UNFINISHED = 5
    INTERRUPTED = 130


class Failure(click.ClickException):
    """A command ends: a text for people, a stable reason for machines, an exit code."""

    exit_code = Exit.FAILED

    def __init__(self, message: str, *, reason: str = "FAILED", **details: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = details
        context = click.get_current_context(silent=True)
        self._as_json = bool(context and context.params.get("as_json"))

    def show(self, file: Any = None) -> None:
        """Print the failure: JSON on standard output under --json, else text on standard error."""
        if self._as_json:
            error = {"reason": self.reason, "message": self.message, **self.details}
            click.echo(json.dumps({"error": error}), file=file)
        else:
            click.echo("\n".join(f"smsgw: {shown(line)}" for line in self.message.splitlines()), file=file, err=True)


class Misused(Failure):
    """The command line, the configuration or the request is wrong."""

    exit_code = Exit.MISUSED


class Unreachable(Failure):
    """The node could not be reached."""

    exit_code = Exit.UNREACHABLE


class Refused(Failure):
    """The node, or this side, does not accept the identity or what it wants to do."""

    exit_code = Exit.REFUSED


def json_option(command: _F) -> _F:
    """Give a command the option that all of them have."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line, instead of text.")(
        command
    )


def shown(text: str) -> str:
    """Return text of callers, carriers and handsets as it may reach a terminal: nothing in it acts."""
    escaped = escape_controls(text)
    for escape, joiner in _JOINERS.items():
        escaped = escaped.replace(escape, joiner)
    return escaped


def emit(fields: Mapping[str, object]) -> None:
    """Print one JSON object as a line, at once. What does not print as itself is escaped: nothing in it acts."""
    text = json.dumps(fields, ensure_ascii=False)
    if not text.isprintable():
        text = "".join([c if c.isprintable() else json.dumps(c)[1:-1] for c in text])
    click.echo(text)


def print_table(table: RenderableType) -> None:
    """Print a table, folded at the terminal's width; where no terminal is, its lines are as long as they are."""
    out = console(wrap=True)
    if not out.is_terminal:
        out.width = _LONG
    out.print(table)


def console(*, stderr: bool = False, wrap: bool = False) -> Console:
    """Return a console that colours on a terminal only, and reads no markup in what it prints.

    Lines are as long as they are, for tools that read them, unless `wrap` folds them at the terminal's width.
    """
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=not wrap)
