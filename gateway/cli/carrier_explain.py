"""`smsgw carrier explain`: which carrier a message would go by, and why."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gateway.assembly import offline_explainer
from gateway.cli.connection import directory_option
from gateway.cli.manners import Exit, Misused, emit, json_option, shown
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.destinations import is_e164
from gateway.ids import from_text
from gateway.local_socket import LocalUnreachable
from gateway.pipeline.explainer import Asked, lines
from gateway.pipeline.routing_socket import MAX_TEXT, SOCKET_NAME, ask_node
from gateway.senders import sender_fault
from gateway.states import Category


@click.command(short_help="Say which carrier a message would go by, and why.")
@click.option("--to", "recipient", required=True, help="The recipient, in E.164.")
@click.option(
    "--category",
    type=click.Choice([category.name for category in Category], case_sensitive=False),
    required=True,
    help="The message's category.",
)
@click.option("--from", "sender", default="ACME", show_default=True, help="The message's sender.")
@click.option("--tenant", default="", help="Whose message it is.  [default: the first of the configuration]")
@click.option("--spiffe-id", "owner", default="", help="Who sends it, for policies.  [default: the tenant's first]")
@click.option("--text", default="", help="Its text: how each carrier would write it, and in how many segments.")
@click.option("--message-id", default="", help="A message that there is: its own order among weighted carriers.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The node's smsgw.yaml; left out: DIR/smsgw.yaml."
)
@directory_option
@json_option
def explain(config: Path | None, directory: Path, as_json: bool, **asked: str) -> None:
    """Say which route a message would have, which of its carriers it would go by now, and what stands against others.

    The node that runs here is asked, which knows its links, switches and circuit breakers. Without one, the answer
    comes from the configuration and the policies alone, and says so. Percentages are of such messages: with weights,
    they are divided. Exits 0 when a carrier can take it, 1 when none can.

    \b
    Examples:
      smsgw carrier explain --to +919812345678 --category OTP
      smsgw carrier explain --to +4915112345678 --category PROMOTIONAL --from ACME --tenant shop --text 'Sale!'
      smsgw carrier explain --to +4915112345678 --category OTP --json
    """
    try:
        settings = load(config or directory / "smsgw.yaml")
        question = _question(settings, **asked)
        answer = _answer(settings, question)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    except ValueError as error:
        raise Misused(str(error), reason="BAD_QUESTION") from error
    if as_json:
        emit(answer)
    else:
        for line in lines(answer):
            click.echo(shown(line))
    if answer["carrier"] is None:
        raise click.exceptions.Exit(Exit.FAILED)


def _answer(settings: Settings, asked: Asked) -> dict[str, object]:
    """Ask the running node, or work it out here. Raises ValueError."""
    try:
        return ask_node(settings.node.data_dir / SOCKET_NAME, asked)
    except LocalUnreachable:
        return offline_explainer(settings).answer(asked, time.time_ns() // 1000)


def _question(
    settings: Settings,
    *,
    recipient: str,
    category: str,
    sender: str,
    tenant: str,
    owner: str,
    text: str,
    message_id: str,
) -> Asked:
    """Return what was typed as a question. Raises ValueError for what is wrong with it."""
    if not is_e164(recipient):
        raise ValueError("--to wants a number in E.164, as +4915112345678")
    fault = sender_fault(sender)
    if fault is not None:
        raise ValueError(f"--from {fault.description}")
    if len(text) > MAX_TEXT:
        raise ValueError(f"--text has {len(text)} characters; at most {MAX_TEXT} can be sent")
    known = {one.name: one.spiffe_ids[0] for one in settings.tenants}
    tenant = tenant or next(iter(known), "")
    if tenant not in known:
        raise ValueError(f"there is no tenant {tenant!a} in {settings.file}" if tenant else "there are no tenants")
    return Asked(
        recipient=recipient,
        category=int(Category[category.upper()]),
        tenant=tenant,
        owner=owner or known[tenant],
        sender=sender,
        text=text,
        message_id=from_text(message_id) if message_id else b"",
    )
