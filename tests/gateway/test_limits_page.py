"""The pages about limits and threats are true of this tree: what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMITS = (ROOT / "docs" / "limits.md").read_text()
THREATS = (ROOT / "docs" / "threat-model.md").read_text()
SETTINGS = (ROOT / "docs" / "configuration.md").read_text()
_TEST = re.compile(r"`(?:(?P<file>test_\w+\.py)(?:::)?)?(?P<name>test_\w+)?`")


def bounds() -> list[list[str]]:
    """Return the rows of the table of bounds, as cells."""
    table = LIMITS.partition("## Before anybody is recognised")[2]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows][1:]


@pytest.mark.parametrize("row", bounds(), ids=lambda row: row[0])
def test_each_bound_has_its_tests(row: list[str]) -> None:
    """Each bound names at least one test, in a file of the API's tests, and each of them is there."""
    named = [found.groupdict() for found in _TEST.finditer(row[3]) if found["file"] or found["name"]]
    assert named, row
    file = ""
    for found in named:
        file = found["file"] or file
        text = (ROOT / "tests" / "gateway" / "api" / file).read_text()
        assert found["name"] is None or f"def {found['name']}(" in text, found


@pytest.mark.parametrize("row", bounds(), ids=lambda row: row[0])
def test_each_setting_is_one(row: list[str]) -> None:
    """A setting that is named can be set."""
    for section, name in re.findall(r"`(\w+)\.(\w+)`", row[2]):
        assert re.search(rf"^## .*{section}", SETTINGS, re.MULTILINE), section
        assert f"| `{name}` |" in SETTINGS, name


def test_six_kinds_of_bounds() -> None:
    """Handshakes, connections of an address, streams, metadata, the size of messages and pings all have one."""
    what = "\n".join(row[0] for row in bounds())
    for kind in ("handshake", "connections of one address", "streams", "metadata", "a request", "pings"):
        assert kind in what


ATTACKERS = (
    "A caller with a valid certificate",
    "Someone with a stolen SVID",
    "A carrier, or someone who has become one",
    "Someone who gets the database, or a backup",
    "Someone who gets the whole disk",
    "Someone who changes the database",
    "Someone who takes over a node that only accepts",
)


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_each_attacker_is_met(attacker: str) -> None:
    """The threat model names each attacker, and says what stops him and what does not."""
    section = THREATS.partition(f"**{attacker}")[2].partition("\n\n**")[0]
    assert re.search(r"\*(Not stopped|Not avoidable|Not yet|What it still tells):?\*|Keep it on another disk", section)


def test_files_that_are_named_exist() -> None:
    """A test that a page names is in the tree."""
    for page in (LIMITS, THREATS):
        for name in re.findall(r"`(tests/[\w/]+\.py)`", page):
            assert (ROOT / name).is_file(), name
