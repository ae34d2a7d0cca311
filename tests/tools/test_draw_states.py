"""The drawing of the states is that of the table."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gateway.states import FINAL, State, may_follow


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/draw_states.py, which is a script and in no package."""
    path = Path(__file__).resolve().parent.parent.parent / "tools" / "draw_states.py"
    spec = importlib.util.spec_from_file_location("draw_states", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_has_every_way_and_no_other(tool: ModuleType) -> None:
    """A cell is marked exactly where a message may go from the row to the column."""
    _, _, *rows = tool.table()
    for old, row in zip(State, rows, strict=True):
        label, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert label == (f"{old.name} (final)" if old in FINAL else old.name)
        assert [cell == "●" for cell in cells] == [may_follow(old, new) for new in State]


def test_what_is_between_the_markers_is_replaced(tool: ModuleType) -> None:
    """The rest of the page stays, and drawing twice changes nothing."""
    page = f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n"
    drawn = tool.drawn(page)
    assert drawn.startswith("before\n")
    assert drawn.endswith("\nafter\n")
    assert "old\n" not in drawn
    assert "    SENDING --> UNKNOWN" in drawn
    assert tool.drawn(drawn) == drawn


def test_a_page_without_its_markers_is_refused(tool: ModuleType) -> None:
    """A page that has lost a marker is not overwritten."""
    with pytest.raises(ValueError, match="markers"):
        tool.drawn(f"{tool.BEGIN} and no end")
