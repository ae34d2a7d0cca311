"""docs/audit.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.audit.records import KINDS, Kind

DOCS = Path(__file__).parents[3] / "docs" / "audit.md"


def test_the_table_of_kinds() -> None:
    """Every kind stands in the table, in the order of its number, with its fields in the order of their octets."""
    rows = re.findall(r"^\| ([A-Z_]+) \| .+ \| ([a-z_, ]+) \|$", DOCS.read_text(), flags=re.MULTILINE)
    fields = {kind: type_._fields for type_, kind in KINDS.items()}
    assert [(name, tuple(listed.split(", "))) for name, listed in rows] == [(kind.name, fields[kind]) for kind in Kind]
    assert [int(kind) for kind in Kind] == list(range(1, len(Kind) + 1))
