"""`smsgw policy`: looks at policies, says how they decide, and writes what a node starts with. Nothing is running."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gateway.api.authorizing import call_actions
from gateway.cli.manners import Exit, Failure, Misused, emit, json_option, shown
from gateway.cli.policy_answer import answer
from gateway.cli.policy_options import config_option, dir_option
from gateway.cli.policy_place import find_place
from gateway.cli.policy_question import Asked, question_of
from gateway.cli.policy_shadow import policy_shadow
from gateway.cli.policy_testing import policy_test
from gateway.cli.site import write_private
from gateway.policy.default_set import default_files
from gateway.policy.errors import PoliciesRefused, PolicyProblem
from gateway.policy.lint import hints, readers
from gateway.policy.loader import Policies, load_policies
from gateway.policy.schema import cedar_schema
from gateway.states import Category


@click.group(short_help="Look at policies, and ask how they decide.")
def policy() -> None:
    """Who may do what is written in Cedar policies: *.cedar files beside smsgw.yaml, see docs/policy.md.

    Every command of the group takes --json.

    \b
    Examples:
      smsgw policy check
      smsgw policy test
      smsgw policy shadow
      smsgw policy explain --spiffe-id spiffe://example.org/shop/api --action SendOtp \\
          --sender ACME --to +4915112345678
      smsgw policy schema > smsgw.cedarschema
      smsgw policy init --dir policy
    """


policy.add_command(policy_test)
policy.add_command(policy_shadow)


@policy.command(short_help="Say what is wrong with a set of policies.")
@config_option
@dir_option
@click.option("--strict", is_flag=True, help="Hints count as faults.")
@json_option
def check(config: Path, folder: Path | None, strict: bool, as_json: bool) -> None:
    """Parse the policies, and check them against the schema of this version of smsgw.

    Faults, each with file and line, keep a node from starting: exit code 2. Hints are about what is probably not meant.

    \b
    Examples:
      smsgw policy check
      smsgw policy check --dir policy --strict --json
    """
    where = find_place(config, folder).folder
    try:
        policies = load_policies(where, call_actions())
    except PoliciesRefused as error:
        if not as_json:
            raise Misused(str(error), reason="BAD_POLICIES") from None
        emit({"ok": False, "problems": [_fields(problem) for problem in error.problems]})
        raise click.exceptions.Exit(Exit.MISUSED) from None
    found = [*hints(policies, call_actions()), *_other_schemas(where)]
    ok = not (found and strict)
    if as_json:
        emit({"ok": ok, **_summary(policies), "hints": [_fields(hint) for hint in found]})
    else:
        files = len({policy.file for policy in policies.policies})
        click.echo(f"{len(policies.policies)} policies in {files} files of {shown(str(where))} are in order")
        reads = readers(policies.reads_of)
        click.echo(f"decisions depend on who, what, and: {', '.join(reads) or 'nothing else'}")
        for attribute, actions in reads.items():
            click.echo(f"  {attribute}: asked about {', '.join(actions)}")
        for hint in found:
            click.echo(f"hint: {shown(str(hint))}")
    if not ok:
        raise click.exceptions.Exit(Exit.MISUSED)


def _other_schemas(folder: Path) -> Iterator[PolicyProblem]:
    """Yield the schema files that an editor would go by, and that are not of this version."""
    text = cedar_schema(call_actions()).encode()
    for file in sorted(folder.glob("*.cedarschema")):
        if file.is_file() and file.read_bytes() != text:
            advice = "`smsgw policy schema` prints that of this version, which is built in"
            yield PolicyProblem(file, 0, f"is not read, and differs from what can be asked: {advice}")


def _fields(problem: PolicyProblem) -> dict[str, object]:
    return {"file": str(problem.file), "line": problem.line, "text": problem.text}


def _summary(policies: Policies) -> dict[str, object]:
    ids = [policy.id for policy in policies.policies]
    reads = readers(policies.reads_of)
    return {"policies": ids, "reads": sorted(policies.reads), "readers": reads, "digest": policies.digest}


@policy.command(short_help="Say how the policies decide a request, and why.")
@config_option
@dir_option
@click.option("--spiffe-id", required=True, help="Who asks: a SPIFFE ID.")
@click.option("--action", required=True, help="What for: SendOtp, UseRoute, MessageService.GetMessage, GetMessage ...")
@click.option("--tenant", default="", help="The caller's tenant.  [default: as the configuration says]")
@click.option("--sender", default="", help="The message's sender (for sends and UseRoute).")
@click.option("--to", default="", help="Its recipient, in E.164: the country follows from it.")
@click.option("--to-country", default="", help="Its recipient's country instead: two letters, or ZZ.")
@click.option(
    "--category",
    type=click.Choice([category.name for category in Category], case_sensitive=False),
    default=None,
    help="Its category (for UseRoute; the action of a send says it).",
)
@click.option("--carrier", default="", help="The carrier (for UseRoute).")
@click.option("--address", default="", help="The client's IP address.  [default: not known]")
@click.option("--segments", default=0, metavar="N", help="How many segments the message takes.  [default: 1]")
@click.option("--sealed", is_flag=True, help="Its content is sealed by the caller.")
@click.option("--batch", default=0, metavar="N", help="How many messages its request has (for sends).  [default: 1]")
@click.option("--trust-domain", default="", help="The node's.  [default: as the configuration says, else the caller's]")
@click.option("--at", default="", help="When: 2026-11-23T21:05, in policy.timezone.  [default: now]")
@json_option
def explain(
    config: Path, folder: Path | None, category: str | None, trust_domain: str, as_json: bool, **asked: Any
) -> None:
    """Say whether a request would be permitted, and by which policies. Exits 0 when it is, 4 when it is denied.

    A message is sent when its call (MessageService.SendMessage ...) is permitted, the message itself (SendOtp,
    SendTransactional, SendPromotional), and at least one carrier (UseRoute): each is a question of its own.

    \b
    Examples:
      smsgw policy explain --spiffe-id spiffe://example.org/shop --action GetMessage
      smsgw policy explain --spiffe-id spiffe://example.org/shop --action SendPromotional \\
          --sender ACME --to-country DE --address 10.20.1.1 --at 2026-11-22T21:05
      smsgw policy explain --spiffe-id spiffe://example.org/shop --action UseRoute --carrier acme \\
          --category OTP --sender ACME --to +4915112345678
    """
    place = dataclasses.replace(find_place(config, folder), trust_domain=trust_domain)
    try:
        question = question_of(Asked(**asked, category=category or ""), place, time.time_ns() // 1000)
        policies = load_policies(place.folder, call_actions())
    except PoliciesRefused as error:
        raise Misused(str(error), reason="BAD_POLICIES") from None
    except ValueError as error:
        raise Misused(str(error), reason="BAD_QUESTION") from None
    found = answer(policies, question, place.home(question.spiffe_id))
    if as_json:
        emit(found.fields())
    else:
        for line in found.lines(place.zone_name):
            click.echo(shown(line))
    if not found.decision.allowed:
        raise click.exceptions.Exit(Exit.REFUSED)


@policy.command(short_help="Print the schema of this version.")
@json_option
def schema(as_json: bool) -> None:
    """Print the Cedar schema of this version, for editors and other tools. A node has it built in, and reads no such
    file.

    \b
    Examples:
      smsgw policy schema > smsgw.cedarschema
    """
    text = cedar_schema(call_actions())
    if as_json:
        emit({"schema": text})
    else:
        click.echo(text, nl=False)


@policy.command(short_help="Write the default policies into a folder.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="policy",
    show_default=True,
    help="Where to; made when it is missing.",
)
@json_option
def init(folder: Path, as_json: bool) -> None:
    """Write the policies that a new node starts with. Nothing is overwritten.

    \b
    Examples:
      smsgw policy init --dir policy
    """
    files = {folder / name: octets for name, octets in default_files().items()}
    for file in files:
        if file.exists() or file.is_symlink():
            raise Misused(f"{file} exists; it is not overwritten", reason="IN_THE_WAY")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, octets in files.items():
            write_private(file, octets)
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", reason="CANNOT_WRITE") from error
    if as_json:
        emit({"files": [str(file) for file in files]})
        return
    for file in files:
        click.echo(f"wrote {shown(str(file))}")
