"""docs/overload.md is true of this tree: it has every queue that the code makes, and their bounds."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "overload.md").read_text()
_QUEUES = frozenset({"deque", "Queue", "SimpleQueue", "LifoQueue", "PriorityQueue"})
# What a node is made of: not commands, and not the carriers that are played.
_PARTS = ("gateway", "carrier", "visibility")
_ELSEWHERE = ("gateway/cli/", "carrier/simulator/", "carrier/probe/")
_BOUND = re.compile(r"`((?:gateway|carrier|visibility)(?:\.\w+)+)` = (\d+)")

_TRIED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
_NOT_OURS = ("calls and connections", "spans for", "values of Vault")  # tried elsewhere, or by others


def makers() -> Iterator[str]:
    """Yield the files in which a node makes a queue."""
    for part in _PARTS:
        for file in sorted((ROOT / part).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            if not name.startswith(_ELSEWHERE) and any(map(_makes, ast.walk(ast.parse(file.read_text())))):
                yield name


def _makes(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func.value if isinstance(node.func, ast.Subscript) else node.func
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name in _QUEUES


@pytest.mark.parametrize("file", tuple(makers()))
def test_each_queue_of_the_tree_is_on_the_page(file: str) -> None:
    """A queue that somebody adds wants a row, with its bound."""
    assert f"`{file}`" in PAGE


def test_the_search_finds_queues() -> None:
    """Those that are known to be there are found, however they are written."""
    found = set(makers())
    assert {"gateway/store/engine/writer.py", "gateway/api/streaming.py", "gateway/pipeline/lanes.py"} <= found
    assert _makes(ast.parse("asyncio.Queue[int]()", mode="eval").body)
    assert not _makes(ast.parse("Lane(5)", mode="eval").body)


@pytest.mark.parametrize(("place", "number"), _BOUND.findall(PAGE))
def test_each_bound_is_the_one_of_the_code(place: str, number: str) -> None:
    """What the page names has the value that the page gives."""
    holder, _, name = place.rpartition(".")
    module, _, kind = holder.rpartition(".")
    if kind[0].isupper():
        fields = dataclasses.fields(getattr(importlib.import_module(module), kind))
        value = next(field.default for field in fields if field.name == name)
    else:
        value = getattr(importlib.import_module(holder), name)
    assert value == int(number)


def test_the_page_names_what_is_there() -> None:
    """Files and settings of the page exist."""
    for file in re.findall(r"`((?:gateway|carrier|visibility)/[\w/]+\.py)`", PAGE):
        assert (ROOT / file).exists(), file
    settings = (ROOT / "docs" / "configuration.md").read_text()
    for name in re.findall(r"`pipeline\.(\w+)`", PAGE):
        assert f"`{name}`" in settings, name


def rows() -> list[list[str]]:
    """Return the rows of the table, as cells."""
    lines = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines][1:]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_queue_is_tried(row: list[str]) -> None:
    """A row says what holds the node to its bound; what it names is there."""
    assert len(row) == 5
    named = _TRIED.findall(row[4])
    assert named or row[0].startswith(_NOT_OURS)
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), name
