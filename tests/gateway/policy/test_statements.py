"""Cutting Cedar texts into statements that know their lines."""

from __future__ import annotations

from cedarpy import PolicySet
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.statements import Statement, line_of, split

_PERMIT = "permit(principal, action, resource)"


def test_lines() -> None:
    """A statement begins at its first character that is no comment, annotations included."""
    text = f'// a; comment\n\n@id("a;b") // {{\n{_PERMIT}\nwhen {{ 1 == 1 }};{_PERMIT};\n// end\n'
    assert list(split(text)) == [
        Statement(3, f'@id("a;b") // {{\n{_PERMIT}\nwhen {{ 1 == 1 }};'),
        Statement(5, f"{_PERMIT};"),
    ]


def test_what_breaks_off() -> None:
    """A text without its last semicolon, or with an open quote, gives a last statement without one."""
    assert list(split(f"{_PERMIT};\n{_PERMIT}")) == [Statement(1, f"{_PERMIT};"), Statement(2, _PERMIT)]
    assert list(split('@id("a)\npermit(principal')) == [Statement(1, '@id("a)\npermit(principal')]
    assert list(split(" \n// only this\n")) == []


def test_escaped_quotes_and_slashes_in_strings() -> None:
    """A quote behind a backslash ends no string, and two slashes in one begin no comment."""
    text = '@id("a\\";b//c")permit(principal, action, resource);'
    assert list(split(text)) == [Statement(1, text)]


_ATOMS = st.sampled_from(["a;b", "//", "{", "}", '\\"', "\\\\", "x", " ", "ü", "\n"])
_IDS = st.lists(_ATOMS, max_size=4).map("".join)
_GAPS = st.sampled_from(["", "\n", ' // c; " {\n', "\n\n", "// ;\r"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_IDS, _GAPS, _GAPS), min_size=1, max_size=6))
def test_cut_as_cedar_cuts(parts: list[tuple[str, str, str]]) -> None:
    """Whatever strings and comments hold, there are as many statements as Cedar finds, and each parses alone."""
    text = "".join(f'{before}@note("{name}"){between}{_PERMIT};' for name, before, between in parts)
    found = list(split(text))
    assert len(found) == len(PolicySet.from_str(text)) == len(parts)
    lines = text.split("\n")
    for statement in found:
        assert len(PolicySet.from_str(statement.text)) == 1
        assert statement.text.split("\n")[0] in lines[statement.line - 1]


def test_line_of() -> None:
    """A message is about the line where what it quotes stands, if there is one such line only."""
    statement = Statement(10, "permit(principal,\n action == x,\n resource) when { x.y };")
    assert line_of(statement, "unexpected token `action`") == 11
    assert line_of(statement, "attribute `y` not found") == 12
    assert line_of(statement, "unexpected token `x`") == 10
    assert line_of(statement, "something else") == 10
