"""The records of decisions: docs/adr, and what refers to them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDS = sorted((ROOT / "docs" / "adr").glob("*.md"))
_LINK = re.compile(r"\[ADR (\d+)\]\(([^)#]+)")


def test_numbers() -> None:
    """Each record has a number of its own, none is left out, and its title says the same one."""
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))
    assert [record.read_text().split(".")[0] for record in RECORDS] == [f"# {n + 1}" for n in range(len(RECORDS))]


def test_links() -> None:
    """Where a page names a record by its number, the link leads to that one."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(page, *link) for page in pages for link in _LINK.findall(page.read_text())]
    assert len(links) > 20
    wrong = [
        (page.name, number, target)
        for page, number, target in links
        if not (page.parent / target).is_file() or Path(target).name[:4] != f"{int(number):04}"
    ]
    assert not wrong
