"""Where the statements of a Cedar text begin and end.

Cedar's own parser names no lines, so each statement is cut out and parsed alone: its line is then known whatever is
wrong with it. Only three things matter for that: strings, comments (`//` to the end of the line) and the semicolon,
which ends a statement and stands nowhere else (Cedar policy grammar).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n\r]*|;|\n|[^\s"/;]+|[^\S\n]+|.', re.DOTALL)
_QUOTED = re.compile(r"`([^`]+)`")


class Statement(NamedTuple):
    """A statement, from its first character to its semicolon (which a text that breaks off does not have)."""

    line: int  # 1-based
    text: str


def split(text: str) -> Iterator[Statement]:
    """Yield the statements of `text`."""
    line, begun, start = 1, 0, -1
    for found in _LEXEME.finditer(text):
        lexeme = found.group()
        if start < 0 and not lexeme.isspace() and not lexeme.startswith("//"):
            start, begun = found.start(), line
        line += lexeme.count("\n")
        if lexeme == ";" and start >= 0:
            yield Statement(begun, text[start : found.end()])
            start = -1
    if start >= 0:
        yield Statement(begun, text[start:].rstrip())


def line_of(statement: Statement, message: str) -> int:
    """Return the line that a message of Cedar is about: of what it quotes in backticks where that stands on one line
    of the statement only, else the statement's first."""
    for quoted in reversed(_QUOTED.findall(message)):
        lines = [number for number, line in enumerate(statement.text.split("\n")) if _mentions(line, quoted)]
        if len(lines) == 1:
            return statement.line + lines[0]
    return statement.line


def _mentions(line: str, quoted: str) -> bool:
    return re.search(rf"(?<![\w]){re.escape(quoted)}(?![\w])", line) is not None
