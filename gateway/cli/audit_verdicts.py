"""What `smsgw audit verify` says: of a receipt, and of a whole log."""

from __future__ import annotations

from collections.abc import Mapping

import click

from gateway.cli.audit_sources import Bounds
from gateway.cli.manners import Failure, emit, shown
from gateway.proving.archives import Found
from gateway.proving.whole import Verified
from smsgw.client import VerifiedReceipt


def show_receipt(verified: VerifiedReceipt, as_json: bool) -> None:
    """Print what a receipt proves."""
    if as_json:
        emit(_receipt_json(verified))
        return
    for step in verified.steps:
        click.echo(shown(f"{step.at:%Y-%m-%dT%H:%M:%S.%fZ}  #{step.seq:<9}  {step.kind:<17}  {_words(step.fields)}"))
    way = "every step is there" if verified.gapless else "steps are missing between these"
    click.echo(shown(f"{verified.message_id} of tenant {verified.tenant} is {verified.state}: {way}"))
    if verified.content_shown:
        click.echo("it is the message that was given")
    for name, at in verified.witnesses.items():
        click.echo(shown(f"cosigned by {name} at {at:%Y-%m-%dT%H:%M:%SZ}"))
    click.echo(shown(f"verified: in the log {verified.origin}, of {verified.size} commits"))


def _words(fields: Mapping[str, object]) -> str:
    left_out = ("message_id", "tenant", "commitment", "message_ids")
    return "  ".join(
        f"{name}={value}" for name, value in fields.items() if value not in ("", None) and name not in left_out
    )


def _receipt_json(verified: VerifiedReceipt) -> dict[str, object]:
    steps = [
        {"kind": step.kind, "at": _time(step.at), "committed_at": _time(step.committed_at), "seq": step.seq,
         **{name: value.hex() if isinstance(value, bytes) else value for name, value in step.fields.items()}}
        for step in verified.steps
    ]  # fmt: skip
    return {
        "verified": True,
        "message_id": verified.message_id,
        "tenant": verified.tenant,
        "state": verified.state,
        "gapless": verified.gapless,
        "content_shown": verified.content_shown,
        "origin": verified.origin,
        "size": verified.size,
        "witnesses": {name: _time(at) for name, at in verified.witnesses.items()},
        "steps": steps,
    }


def _time(at: object) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


def show_whole(verified: Verified, bounds: Bounds, checkpoints: Found, as_json: bool) -> None:
    """Say what was found. Raises Failure when anything is not as it was signed."""
    found = [
        {"fault": finding.fault.name, "what": finding.text}
        | ({"seq": finding.seq} if finding.seq else {})
        | ({"record": finding.record} if finding.record >= 0 else {})
        for finding in verified.findings
    ]
    whole = {
        "commits": verified.commits,
        "records": verified.records,
        "let_go": bounds.before_oldest,
        "checkpoints": len(checkpoints.marks),
        "lines_without": checkpoints.empty,
        "left_out": checkpoints.left_out,
        "of_other_logs": checkpoints.others,
        "right": verified.checkpoints,
        "covered": verified.last.size if verified.last is not None else 0,
    }
    if as_json and not found:
        emit({"verified": True, **whole})
    if found:
        text = "\n".join(f"{finding.fault.value}: {finding.text}" for finding in verified.findings)
        more = f"\nand {verified.more} more" if verified.more else ""
        raise Failure(
            f"the audit is not what was signed\n{text}{more}", reason="NOT_AS_SIGNED", findings=found, **whole
        )
    if as_json:
        return
    if bounds.before_oldest:
        click.echo(f"commits 1 to {bounds.before_oldest} were let go: their leaves are in the log")
    if checkpoints.left_out:
        click.echo(f"{checkpoints.left_out} checkpoints more are signed, and were not compared: there are too many")
    if checkpoints.others:
        click.echo(f"{checkpoints.others} checkpoints are of logs of another name, and say nothing of this one")
    if checkpoints.empty:
        click.echo(f"{checkpoints.empty} lines of the archives hold no checkpoint: were they cut off?")
    uncovered = bounds.newest - int(whole["covered"])
    newest = f"; the newest {uncovered} are not covered yet" if uncovered > 0 else ""
    covered = f"are what {len(checkpoints.marks)} checkpoints cover"
    click.echo(f"verified: {verified.commits} commits with {verified.records} records {covered}{newest}")
