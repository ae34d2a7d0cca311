"""The table of alerts, the runbook and the program agree: none is without its section, and none is never raised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from visibility import catalogue
from visibility.alerts import RUNBOOK, AlertKind
from visibility.catalogue import ALERTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / RUNBOOK).read_text()
SECTIONS = {
    title.strip("`"): text
    for title, text in re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
}
SOURCES = "\n".join(
    path.read_text()
    for package in ("gateway", "certs")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "_pb2" not in path.name
)


def test_names_are_unique() -> None:
    """No two alerts share a name, and each in the table is one of the module's."""
    assert len({kind.name for kind in ALERTS}) == len(ALERTS)
    assert {kind for kind in vars(catalogue).values() if isinstance(kind, AlertKind)} == set(ALERTS)


def test_the_page_has_them_all() -> None:
    """The runbook has a section for each alert, and for nothing else."""
    assert sorted(SECTIONS) == sorted(kind.name for kind in ALERTS)


@pytest.mark.parametrize("kind", ALERTS, ids=lambda kind: kind.name)
def test_each_section_helps(kind: AlertKind) -> None:
    """It says the severity and the labels, what the alert means, where to look and what to do."""
    text = SECTIONS[kind.name]
    first = text.strip().partition("\n")[0]
    assert first.startswith(f"*{kind.severity.value}*")
    for label in kind.labels:
        assert f"`{label}`" in first
    for heading in ("**Means**", "**Look**", "**Do**"):
        assert heading in text, heading


@pytest.mark.parametrize("kind", ALERTS, ids=lambda kind: kind.name)
def test_each_is_raised_somewhere(kind: AlertKind) -> None:
    """The program uses it: in more than one place of one line, since it is imported before."""
    (name,) = [name for name, value in vars(catalogue).items() if value is kind]
    assert len(re.findall(rf"\b{name}\b", SOURCES)) >= 2


def test_commands_of_the_page_exist() -> None:
    """A command that the page tells somebody to run at night is one."""
    import importlib.metadata

    known = {point.name for point in importlib.metadata.entry_points(group="smsgw.commands")}
    named = set(re.findall(r"`smsgw ([a-z-]+)", PAGE))
    assert named
    assert named <= known


def test_metrics_of_the_page_exist() -> None:
    """A metric that the page names is documented."""
    documented = set(
        re.findall(r"^\| `((?:smsgw|rpc)_\w+)` \|", (ROOT / "docs" / "telemetry.md").read_text(), re.MULTILINE)
    )
    assert set(re.findall(r"`(smsgw_\w+)", PAGE)) <= documented
