"""The table of docs/carriers.md is whole: each row has a test that names it, a script, and settings that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import pytest

from carrier.simulator import script as s
from carrier.simulator.arrival import Received
from carrier.simulator.cli import simulator
from carrier.simulator.script_file import parse_script
from carrier.simulator.scripts import shipped

ROWS = list(range(1, 33))
HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
_NAMED = re.compile(r"\bRows? (\d+)((?:(?:, | and )\d+)*)")
_PARTS = {
    "binds": s.Binds, "responses": s.Responses, "receipts": s.Receipts, "throttle": s.Throttle, "window": s.Window,
    "operations": s.Operations, "inbound": s.InboundScript, "answers": s.OddAnswer, "errors": s.ErrorRule,
    "required_tlvs": s.RequiredTlv, "raw": s.Raw,
}  # fmt: skip


class Row(NamedTuple):
    """One line of the table."""

    number: int
    what: str
    settings: list[str]
    simulator: list[str]
    tests: list[str]


def table() -> dict[int, Row]:
    """Return the lines of the document's tables, by the number of their row."""
    found = {}
    for line in (DOCS / "carriers.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5 and cells[0].isdigit():
            names = [re.findall(r"`([^`]+)`", cell) for cell in cells[2:]]
            assert int(cells[0]) not in found
            found[int(cells[0])] = Row(int(cells[0]), cells[1], *names)
    return found


def rows_named_in(file: Path) -> set[int]:
    """Return the rows that the docstrings of a file's tests name."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for first, more in _NAMED.findall(ast.get_docstring(node) or ""):
                found |= {int(first), *map(int, re.findall(r"\d+", more))}
    return found


def carrier_settings() -> set[str]:
    """Return the paths of all settings of a carrier, from the document that is generated from them."""
    found: set[str] = set()
    part: str | None = None
    for line in (DOCS / "configuration.md").read_text("utf-8").splitlines():
        if line.startswith("#"):
            heading = re.fullmatch(r"#+ `carriers\[\](?:\.([a-z_.\[\]]+))?`", line)
            part = (heading[1] or "") if heading else None
        elif part is not None and (key := re.match(r"\| `([a-z0-9_]+)` \|", line)):
            found.add(f"{part}.{key[1]}" if part else key[1])
    return found | {path.partition(".")[0].removesuffix("[]") for path in found if "." in path}


def simulator_knobs() -> Iterator[str]:
    """Yield the paths of all fields of a script, the options of the command, and what the log has of a message."""
    for field in fields(s.Script):
        yield field.name
        part = _PARTS.get(field.name)
        if part is not None:
            yield from (f"{field.name}.{inner.name}" for inner in fields(part))
    yield from (option for parameter in simulator.params for option in parameter.opts)
    yield from (f"Received.{name}" for name in Received._fields)


def test_every_row_has_a_line() -> None:
    """Once, with a script's field and a test."""
    found = table()
    assert sorted(found) == ROWS
    assert [row.number for row in found.values() if not (row.what and row.simulator and row.tests)] == []


@pytest.mark.parametrize("number", ROWS)
def test_every_row_has_a_test_that_names_it(number: int) -> None:
    """In each of the files that its line says."""
    row = table()[number]
    assert [name for name in row.tests if number not in rows_named_in(HERE / name)] == []


def test_every_setting_of_the_table_is_one() -> None:
    """A name that was changed in the code is changed here."""
    known = carrier_settings()
    assert "ids.response" in known
    named = {name.partition(":")[0] for row in table().values() for name in row.settings}
    assert named - known == set()


def test_every_field_of_a_script_in_the_table_is_one() -> None:
    """The same, for the simulator."""
    known = set(simulator_knobs())
    named = {name.partition(":")[0] for row in table().values() for name in row.simulator}
    assert named - known == set()


def test_every_row_has_a_script() -> None:
    """That comes with the simulator."""
    assert sorted(shipped()) == ROWS


def test_the_script_of_the_document_can_be_played() -> None:
    """It names rows in its comments, and every key of it is one."""
    text = (DOCS / "carriers.md").read_text("utf-8")
    (shown,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "message_ids:" in block]
    script = parse_script(shown, "docs/carriers.md")
    assert {int(row) for row in re.findall(r"# (\d+)", shown)} <= set(ROWS)
    assert (script.message_ids, script.receipts.ids, len(script.receipts.variants)) == ("hex", "decimal", 2)
