"""`smsgw alerts`: every alert there is, for people, for programs, and as alerting rules of Prometheus."""

from __future__ import annotations

import click
from rich.table import Table

from gateway.cli.manners import Misused, emit, json_option, print_table
from visibility.catalogue import ALERTS
from visibility.rules import rules


@click.command(short_help="List every alert there is, or print them as alerting rules of Prometheus.")
@click.option("--prometheus", is_flag=True, help="Print a rule file of Prometheus (YAML).")
@click.option("--runbook", metavar="URL", help="Where your runbook is, for the links in the rules: URL#carrier_down.")
@json_option
def alerts(prometheus: bool, runbook: str | None, as_json: bool) -> None:
    """List every alert that smsgw can raise: what it means, how grave it is. docs/runbook.md says what to do.

    Which are active is told by `smsgw status` and the metric smsgw_alert.

    \b
    Examples:
      smsgw alerts
      smsgw alerts --prometheus --runbook https://wiki.example.org/smsgw > /etc/prometheus/rules/smsgw.yaml
      smsgw alerts --json
    """
    if prometheus and as_json:
        raise Misused("rules are YAML: give --prometheus or --json", reason="BAD_ARGUMENTS")
    if runbook is not None and not prometheus:
        raise Misused("--runbook goes with --prometheus", reason="BAD_ARGUMENTS")
    if prometheus:
        click.echo(rules(ALERTS, runbook or ""), nl=False)
    elif as_json:
        for kind in ALERTS:
            emit(
                {
                    "alert": kind.name,
                    "severity": kind.severity.value,
                    "labels": list(kind.labels),
                    "security": kind.security,
                    "summary": kind.summary,
                    "runbook": kind.runbook,
                }
            )
    else:
        table = Table("alert", "severity", "labels", "what it means", box=None, pad_edge=False)
        for kind in ALERTS:
            table.add_row(kind.name, kind.severity.value, " ".join(kind.labels), kind.summary)
        print_table(table)
