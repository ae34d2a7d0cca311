"""`smsgw check`: everything a configuration names is looked at, and nothing is started."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click
from rich.text import Text

from gateway.cli.finding import Finding
from gateway.cli.inspection import everything
from gateway.cli.manners import Exit, console, emit, json_option, shown
from gateway.config.errors import ConfigError
from gateway.config.loader import load


@click.command(short_help="Look at a configuration and all it names, without starting anything.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="smsgw.yaml",
    show_default=True,
    help="The node's configuration.",
)
@json_option
def check(config: Path, as_json: bool) -> None:
    """Look at a configuration and at all it names: keys and their modes, certificates and when they end, bundles,
    the database and its schema, the carriers' TLS files. Nothing is started, changed or sent.

    Exits 2 when there is a problem; each is told with what to do.

    \b
    Examples:
      smsgw check
      smsgw check --config /etc/smsgw/smsgw.yaml --json
    """
    findings = _findings(config)
    if as_json:
        rows = [{**finding._asdict(), "ok": finding.ok} for finding in findings]
        emit({"ok": all(finding.ok for finding in findings), "findings": rows})
    else:
        _show(findings)
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(Exit.MISUSED)


def _findings(config: Path) -> list[Finding]:
    try:
        settings = load(config)
    except ConfigError as error:
        return [
            Finding(f"{problem.file.name}:{problem.line}" if problem.line else problem.file.name, "",
                    f"{problem.key}: {problem.text}" if problem.key else problem.text)
            for problem in error.problems
        ]  # fmt: skip
    return [Finding("configuration", str(config)), *everything(settings, dt.datetime.now(dt.UTC))]


def _show(findings: list[Finding]) -> None:
    out = console()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        mark = Text("ok     ", style="green") if finding.ok else Text("problem", style="bold red")
        out.print(
            mark.append(f"  {shown(finding.subject):<{width}}  {shown(finding.found or finding.problem)}", "none")
        )
        if finding.advice:
            out.print(Text(f"{'':{width + 11}}→ {shown(finding.advice)}", style="bold"))
