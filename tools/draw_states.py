"""Draw the states of a message from gateway/states.py into docs/architecture.md, or say whether they are (`--check`).

The drawing is a Mermaid diagram and, for readers without Mermaid, a table. Both stand between two marker comments, and
what is between those is replaced.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway.states import FINAL, TRANSITIONS, State

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
BEGIN = "<!-- states: drawn by tools/draw_states.py; do not edit -->"
END = "<!-- states: end -->"


def mermaid() -> list[str]:
    """Return the lines of a Mermaid state diagram of the table."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.ACCEPTED.name}"]
    for old, followers in TRANSITIONS.items():
        lines += [f"    {old.name} --> {new.name}" for new in sorted(followers)]
    return [*lines, *(f"    {state.name} --> [*]" for state in sorted(FINAL)), "```"]


def table() -> list[str]:
    """Return the lines of a table: from each state (rows) to each state (columns)."""
    names = [state.name for state in State]
    lines = ["| from \\ to | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for old in State:
        cells = ["●" if new in TRANSITIONS[old] else " " for new in State]
        label = f"{old.name} (final)" if old in FINAL else old.name
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def drawn(page: str) -> str:
    """Return the page with its drawing renewed. Raises ValueError when the markers are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its markers {BEGIN!r} and {END!r}")
    body = "\n".join(["", *mermaid(), "", *table(), ""])
    return f"{head}{BEGIN}\n{body}\n{END}{tail}"


def main() -> int:
    """Run the command line; 0 when the drawing is (now) up to date, 1 when `--check` finds it stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the drawing is stale")
    check = parser.parse_args().check
    page = PAGE.read_text()
    renewed = drawn(page)
    if check and renewed != page:
        print("docs/architecture.md: the drawing of the states is stale; run `make docs`", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(renewed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
