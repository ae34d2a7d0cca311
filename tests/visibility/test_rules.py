"""The rule file: YAML of the form that Prometheus reads, one rule for each alert."""

from __future__ import annotations

import yaml

from visibility.catalogue import ALERTS
from visibility.rules import rule_name, rules


def test_rules() -> None:
    """Each alert has its rule, with its severity and its place in the runbook."""
    document = yaml.safe_load(rules(ALERTS, "https://wiki.example.org/smsgw"))
    (group,) = document["groups"]
    found = {rule["alert"]: rule for rule in group["rules"]}
    assert len(found) == len(group["rules"]) == len(ALERTS)
    for kind in ALERTS:
        rule = found[rule_name(kind)]
        assert rule["expr"] == f'smsgw_alert{{name="{kind.name}"}} == 1'
        assert rule["labels"] == {"severity": kind.severity.value}
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example.org/smsgw#{kind.name}"
        assert rule["annotations"]["summary"].startswith(kind.summary)
        for label in kind.labels:
            assert f"{{{{ $labels.{label} }}}}" in rule["annotations"]["summary"]


def test_without_a_place() -> None:
    """Links lead to the runbook of the sources then."""
    document = yaml.safe_load(rules(ALERTS))
    assert document["groups"][0]["rules"][0]["annotations"]["runbook_url"].startswith("docs/runbook.md#")
