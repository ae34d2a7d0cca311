"""Draw what policies can be asked about into docs/policy.md, or say whether it is there (`--check`).

Two tables: the groups with their actions, from the method table, and the attributes of the context. Each stands between
two marker comments, and what is between those is replaced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.api.authorizing import call_actions
from gateway.policy.vocabulary import ATTRIBUTES, Attribute, Subject, groups_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "policy.md"
_COLUMNS = (Subject.CALL, Subject.SENDING, Subject.ROUTING)


def groups() -> list[str]:
    """Return the lines of the table of groups."""
    rows = [f"| `{group}` | {', '.join(_short(names))} |" for group, names in groups_of(call_actions()).items()]
    return ["| group | actions |", "|---|---|", *rows]


def _short(names: Sequence[str]) -> list[str]:
    """Return names of actions, each service named once."""
    shown, known = [], ""
    for name in names:
        service, dot, method = name.rpartition(".")
        shown.append(f".{method}" if dot and service == known else name)
        known = service
    return shown


def attributes() -> list[str]:
    """Return the lines of the table of attributes."""
    rows = [
        f"| `context.{attribute.name}` | {' | '.join(_mark(attribute, subject) for subject in _COLUMNS)} "
        f"| {attribute.type} | {attribute.doc} |"
        for attribute in ATTRIBUTES
    ]
    return ["| attribute | calls | sends | `UseRoute` | type | |", "|---|---|---|---|---|---|", *rows]


def _mark(attribute: Attribute, subject: Subject) -> str:
    if subject not in attribute.subjects:
        return " "
    return "○" if attribute.optional else "●"


TABLES: dict[str, Callable[[], list[str]]] = {"groups": groups, "attributes": attributes}


def drawn(page: str) -> str:
    """Return the page with its tables renewed. Raises ValueError when their markers are not there."""
    for name, table in TABLES.items():
        first = f"<!-- {name}: drawn by tools/draw_policies.py; do not edit -->"
        last = f"<!-- {name}: end -->"
        head, begin, rest = page.partition(first)
        _, end, tail = rest.partition(last)
        if not begin or not end:
            raise ValueError(f"{PAGE.name} has lost its markers {first!r} and {last!r}")
        body = "\n".join(["", *table(), ""])
        page = f"{head}{first}\n{body}\n{last}{tail}"
    return page


def main() -> int:
    """Run the command line; 0 when the tables are (now) up to date, 1 when `--check` finds them stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a table is stale")
    check = parser.parse_args().check
    page = PAGE.read_text()
    renewed = drawn(page)
    if check and renewed != page:
        print("docs/policy.md: a table of what can be asked is stale; run `make docs`", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(renewed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
