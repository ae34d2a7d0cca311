"""`smsgw policy shadow`: what a candidate set would decide otherwise than the set in force, from the running node."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import console, emit, json_option, print_table, shown
from gateway.cli.render import as_json as to_json
from gateway.client import CALL_TIMEOUT_S, explained, open_channel
from smsgw.v1 import policy_service_pb2 as pb
from smsgw.v1.policy_service_pb2_grpc import PolicyServiceStub


@click.command("shadow", short_help="Say what a candidate set would decide otherwise.")
@connection_options
@json_option
def policy_shadow(as_json: bool, **options: Any) -> None:
    """Show how the candidate set of policies (policy.shadow in smsgw.yaml) compares with the set in force: which
    decisions would be others, by which policies, how often, and an example of who asked for what.

    The candidate decides nothing. To put it in force, name its folder in policy.dir, and run `smsgw reload`.

    \b
    Examples:
      smsgw policy shadow
      smsgw policy shadow --json
    """
    settings = operator_settings(options)

    async def work() -> pb.GetPoliciesResponse:
        async with open_channel(settings) as channel:
            with explained(settings):
                request = pb.GetPoliciesRequest()
                return await PolicyServiceStub(channel).GetPolicies(request, timeout=CALL_TIMEOUT_S)

    response = run(work())
    if as_json:
        emit(to_json(response))
        return
    _show(response)


def _show(response: pb.GetPoliciesResponse) -> None:
    out = console()
    out.print(f"in force  {_set(response.in_force)}")
    if not response.HasField("shadow"):
        out.print("there is no candidate: name its folder in policy.shadow, and run smsgw reload")
        return
    shadow = response.shadow
    if not shadow.HasField("candidate"):
        out.print(f"shadow    not used: {shown(shadow.problem)}")
        return
    out.print(f"shadow    {_set(shadow.candidate)}, compared since {_time(shadow.since)}")
    compared = sum(count.count for count in shadow.counts)
    differ = sum(count.count for count in shadow.counts if count.live != count.shadow)
    left = f"; {shadow.not_compared} were not compared, since more came than could be" if shadow.not_compared else ""
    out.print(f"          {differ} of {compared} decisions would be others{left}")
    if shadow.differences:
        print_table(_table(shadow))
    if shadow.unlisted:
        out.print(f"and {shadow.unlisted} of sorts that the table has no room for")


def _table(shadow: pb.PolicyShadow) -> Table:
    table = Table("times", "action", "in force", "shadow", "last", "for example", box=None, pad_edge=False)
    for row in shadow.differences:
        about = [row.spiffe_id, f"tenant {row.tenant}" if row.tenant else "", row.country, row.carrier]
        table.add_row(
            str(row.count),
            row.action,
            _decided(row.live, list(row.live_policies)),
            _decided(row.shadow, list(row.shadow_policies)),
            _time(row.last_at),
            shown(", ".join(word for word in about if word)),
        )
    return table


def _decided(outcome: pb.PolicyOutcome.ValueType, policies: list[str]) -> str:
    word = pb.PolicyOutcome.Name(outcome).removeprefix("POLICY_OUTCOME_").lower()
    return shown(f"{word} by {', '.join(policies)}")


def _set(policies: pb.PolicySet) -> str:
    return f"{policies.digest[:12]}, {policies.policies} policies"


def _time(stamp: Timestamp) -> str:
    return f"{stamp.ToDatetime(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
