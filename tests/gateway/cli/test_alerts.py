"""`smsgw alerts`: every alert there is, in three forms."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli.main import main
from visibility.catalogue import ALERTS


def run(*arguments: str) -> str:
    """Run the command, which must succeed; what it printed."""
    result = CliRunner().invoke(main, ["alerts", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_for_people_and_machines() -> None:
    """Each alert has its line, with what it means."""
    text = run()
    for kind in ALERTS:
        assert kind.name in text
        assert kind.summary in text
    found = [json.loads(line) for line in run("--json").splitlines()]
    assert [one["alert"] for one in found] == [kind.name for kind in ALERTS]
    assert all(one["runbook"] == f"docs/runbook.md#{one['alert']}" for one in found)


def test_for_prometheus() -> None:
    """A rule for each, whose link leads to the runbook that was named."""
    rules = yaml.safe_load(run("--prometheus", "--runbook", "https://wiki.example.org/r"))["groups"][0]["rules"]
    assert {rule["annotations"]["runbook_url"] for rule in rules} == {
        f"https://wiki.example.org/r#{kind.name}" for kind in ALERTS
    }


@pytest.mark.parametrize("arguments", [("--prometheus", "--json"), ("--runbook", "https://wiki.example.org")])
def test_misuse(arguments: tuple[str, ...]) -> None:
    """What does not go together is refused."""
    assert CliRunner().invoke(main, ["alerts", *arguments]).exit_code == 2
