"""The proposed profile as YAML: settings that were found, each with how sure it is, and facts as comments. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from carrier.probe.conclusions import Finding


def as_yaml(known: Sequence[tuple[str, object]], findings: Sequence[Finding], *, sent: int) -> str:
    """Return a section `carriers` that can be pasted into smsgw.yaml.

    `known`: what was set before, by its key; what was found goes before it. `sent`: submit_sm that the probe has sent.
    """
    found = {finding.key for finding in findings}
    kept = [Finding(key, value, "") for key, value in known if key not in found]
    lines = [f"# Proposed by smsgw carrier probe, from {sent} submit_sm. Read it, and compare it with the contract."]
    lines += [f"# {finding.value}: {finding.why}" for finding in findings if not finding.key]
    lines.append("carriers:")
    items = _settings([*kept, *(finding for finding in findings if finding.key)])
    return "\n".join([*lines, *(f"  {'- ' if not at else '  '}{item}" for at, item in enumerate(items))]) + "\n"


def _settings(findings: Sequence[Finding]) -> list[str]:
    """Return the lines of settings, those of one part together."""
    lines = [_line(finding.key, finding) for finding in findings if "." not in finding.key]
    parts = dict.fromkeys(finding.key.partition(".")[0] for finding in findings if "." in finding.key)
    for part in parts:
        lines.append(f"{part}:")
        for finding in findings:
            head, _, key = finding.key.partition(".")
            if head == part and key:
                lines.append("  " + _line(key, finding))
    return lines


def _line(key: str, finding: Finding) -> str:
    return f"{key}: {json.dumps(finding.value)}" + (f"  # {finding.why}" if finding.why else "")


def as_objects(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """Return findings for machines."""
    return [
        {"setting": finding.key, "value": finding.value, "why": finding.why}
        if finding.key
        else {"fact": finding.value, "why": finding.why}
        for finding in findings
    ]
