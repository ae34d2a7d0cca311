"""`smsgw policy test`: asks a set of policies what a table expects of it, and says where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.api.authorizing import call_actions
from gateway.cli.manners import Exit, Misused, emit, json_option, shown
from gateway.cli.policy_answer import about, policy_fields
from gateway.cli.policy_options import config_option, dir_option
from gateway.cli.policy_place import Place, find_place
from gateway.cli.policy_table import Case, Expected, read_table
from gateway.config.errors import ConfigError
from gateway.policy.default_set import EXPECTATIONS
from gateway.policy.engine import Decision, Engine
from gateway.policy.errors import PoliciesRefused
from gateway.policy.loader import Policies, Policy, load_policies

_SHOWN = 50  # failures; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A case that was decided otherwise than expected."""

    case: Case
    decision: Decision

    @property
    def expected(self) -> str:
        """What was expected, in words."""
        return f"{self.case.expect}{f' by {self.case.by}' if self.case.by else ''}"

    @property
    def found(self) -> str:
        """What was decided, in words."""
        return f"{_word(self.decision)} by {', '.join(self.decision.policies)}"

    def fields(self) -> dict[str, object]:
        """Return the failure for machines."""
        return {
            "file": str(self.case.file),
            "line": self.case.line,
            "name": self.case.name,
            "question": about(self.case.question),
            "expected": self.case.expect.value,
            "expected_by": self.case.by,
            "found": _word(self.decision).value,
            "found_by": list(self.decision.policies),
            "errors": list(self.decision.errors),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a table."""

    cases: int
    failures: tuple[Failed, ...]
    undecided: tuple[Policy, ...]  # policies that decided no case


def try_cases(policies: Policies, cases: Sequence[Case]) -> Outcome:
    """Ask every case."""
    engines = {home: Engine(policies, home) for home in {case.home for case in cases}}
    decisions = [(case, engines[case.home].decide(case.question)) for case in cases]
    deciding = {name for _, decision in decisions for name in decision.policies}
    return Outcome(
        cases=len(cases),
        failures=tuple(
            Failed(case=case, decision=decision) for case, decision in decisions if not _holds(case, decision)
        ),
        undecided=tuple(policy for policy in policies.policies if policy.id not in deciding),
    )


def _holds(case: Case, decision: Decision) -> bool:
    return _word(decision) is case.expect and (not case.by or case.by in decision.policies)


def _word(decision: Decision) -> Expected:
    return Expected.ALLOW if decision.allowed else Expected.DENY


@click.command("test", short_help="Ask the policies what a table expects of them.")
@click.argument("tables", nargs=-1, type=click.Path(path_type=Path, dir_okay=False), metavar="[TABLE]...")
@config_option
@dir_option
@click.option("--strict", is_flag=True, help="A policy that no case was decided by counts as a failure.")
@json_option
def policy_test(tables: tuple[Path, ...], config: Path, folder: Path | None, strict: bool, as_json: bool) -> None:
    """Ask a set of policies what tables in YAML expect of it. Without a TABLE, it is expectations.yaml beside the
    policies: `smsgw init` writes one for the default set. docs/policy.md describes it.

    Exits 0 when all expectations hold, 1 when one does not, 2 when a table or a policy is faulty. What no case was
    decided by is listed: it might as well not be there, or nobody has thought about it.

    \b
    Examples:
      smsgw policy test
      smsgw policy test expectations.yaml --policies policy --strict --json
    """
    place = find_place(config, folder)
    try:
        policies = load_policies(place.folder, call_actions())
    except PoliciesRefused as error:
        raise Misused(str(error), reason="BAD_POLICIES") from None
    outcome = try_cases(policies, _read(tables or (place.folder / EXPECTATIONS,), place, policies))
    if as_json:
        emit(_fields(outcome, strict))
    else:
        for line in _lines(outcome):
            click.echo(shown(line))
    if not _good(outcome, strict):
        raise click.exceptions.Exit(Exit.FAILED)


def _read(tables: Sequence[Path], place: Place, policies: Policies) -> list[Case]:
    cases: list[Case] = []
    for table in tables:
        if not table.exists():
            raise Misused(f"{table}: there is no such table; docs/policy.md shows one", reason="BAD_TABLE")
        try:
            cases += read_table(table, place, policies)
        except ConfigError as error:
            raise Misused(str(error), reason="BAD_TABLE") from None
    return cases


def _good(outcome: Outcome, strict: bool) -> bool:
    return not outcome.failures and not (strict and outcome.undecided)


def _fields(outcome: Outcome, strict: bool) -> dict[str, object]:
    return {
        "ok": _good(outcome, strict),
        "cases": outcome.cases,
        "failures": [failed.fields() for failed in outcome.failures],
        "undecided": [policy_fields(policy) for policy in outcome.undecided],
    }


def _lines(outcome: Outcome) -> Iterator[str]:
    for failed in outcome.failures[:_SHOWN]:
        case = failed.case
        yield f"FAIL  {case.file}:{case.line}  {case.name}".rstrip()
        yield f"      asked     {' '.join(f'{key}={value}' for key, value in about(case.question).items())}"
        yield f"      expected  {failed.expected}"
        yield f"      found     {failed.found}"
        yield from (f"      error     {error}" for error in failed.decision.errors)
    if len(outcome.failures) > _SHOWN:
        yield f"and {len(outcome.failures) - _SHOWN} more"
    held = outcome.cases - len(outcome.failures)
    yield f"{held} of {outcome.cases} cases are decided as expected"
    for policy in outcome.undecided:
        yield f"decides no case: {policy.id}  {policy.file}:{policy.line}"
