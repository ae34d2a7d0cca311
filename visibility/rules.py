"""The catalogue as alerting rules of Prometheus, for a site that is woken by its Alertmanager.

Each alert is a series of its own (`smsgw_alert`), 1 while it is active: how long a condition has to last has been
decided where it was found, so the rules wait no longer. What a process cannot say of itself, that it is away, is left
to Prometheus' own `up`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from visibility.alerts import AlertKind

METRIC = "smsgw_alert"


def rules(kinds: Iterable[AlertKind], runbook: str = "") -> str:
    """Return a rule file, YAML. `runbook` is what stands before the names of alerts in links to the runbook; "" for the
    place of it in the sources."""
    lines = ["groups:", "  - name: smsgw", "    rules:"]
    for kind in kinds:
        lines += _rule(kind, f"{runbook}#{kind.name}" if runbook else kind.runbook)
    return "\n".join(lines) + "\n"


def rule_name(kind: AlertKind) -> str:
    """Return an alert's name as Prometheus' rules are named: SmsgwCarrierDown."""
    return "Smsgw" + "".join(word.capitalize() for word in kind.name.split("_"))


def _rule(kind: AlertKind, link: str) -> Iterator[str]:
    labels = "".join(f" {name} {{{{ $labels.{name} }}}}" for name in kind.labels)
    yield f"      - alert: {rule_name(kind)}"
    yield f"        expr: {METRIC}{{name={json.dumps(kind.name)}}} == 1"
    yield "        labels:"
    yield f"          severity: {kind.severity.value}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(kind.summary + labels)}"
    yield f"          runbook_url: {json.dumps(link)}"
