"""`smsgw reload`: the running node takes over what has changed in its smsgw.yaml."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import Misused, console, emit, json_option, shown
from gateway.client import CallFailed, explained, open_channel
from smsgw.v1 import node_service_pb2 as pb
from smsgw.v1.node_service_pb2_grpc import NodeServiceStub

_TIMEOUT_S = 900.0  # links of changed carriers end in order: api.drain_timeout is at most ten minutes


@click.command(short_help="Let the running node take over its changed smsgw.yaml.")
@click.option("--reason", default="", help="Why; may be left out. It is recorded.")
@connection_options
@json_option
def reload(reason: str, as_json: bool, **options: Any) -> None:
    """Let the running node read its smsgw.yaml again, and take over what has changed.

    All of it is checked first, and all of it is refused when anything is wrong, with file, line and key; also when a
    setting is changed that only a restart can change (docs/configuration.md marks those that can be reloaded). Carriers
    that are added, removed or changed (a password in its file too) are bound or end in order; no other connection is
    touched. SIGHUP to the node does the same.

    \b
    Examples:
      smsgw check && smsgw reload --reason 'new password of acme'
    """
    settings = operator_settings(options)

    async def work() -> list[str]:
        async with open_channel(settings) as channel:
            try:
                with explained(settings):
                    request = pb.ReloadConfigurationRequest(reason=reason)
                    response = await NodeServiceStub(channel).ReloadConfiguration(request, timeout=_TIMEOUT_S)
            except CallFailed as failed:
                raise _refusal(failed) from failed
        return list(response.changes)

    changes = run(work())
    if as_json:
        emit({"changes": changes})
    elif changes:
        for change in changes:
            console().print(f"reloaded {shown(change)}")
    else:
        console().print("nothing has changed")


def _refusal(failed: CallFailed) -> Exception:
    """Return the failure with a line for each problem of the configuration."""
    if not failed.violations:
        return failed
    text = "\n".join(f"{text} ({key})" for key, text in failed.violations)
    return Misused(f"nothing was changed:\n{text}", reason=failed.reason)
