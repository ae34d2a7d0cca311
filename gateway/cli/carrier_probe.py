"""`smsgw carrier probe`: what a carrier does, found out by its test account, as a proposed profile."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from carrier.errors import CarrierError
from carrier.probe.conclusions import conclude
from carrier.probe.observations import Observations
from carrier.probe.prober import Plan, Prober
from carrier.probe.report import as_objects, as_yaml
from carrier.profile import CarrierProfile
from gateway.cli.connection import directory_option
from gateway.cli.manners import Failure, Misused, Refused, emit, json_option, shown
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.destinations import is_e164
from gateway.masking import mask_number
from gateway.senders import sender_fault

_MOST = 500  # submit_sm of one probe, whatever is asked for


@click.command(short_help="Find out what a carrier does, and propose its settings.")
@click.argument("name", metavar="CARRIER")
@click.option("--to", "recipient", required=True, help="A test number of your own, in E.164: it gets the messages.")
@click.option("--from", "sender", default="smsgw", show_default=True, help="The sender of the test messages.")
@click.option("--alone", type=click.IntRange(1, 50), default=4, show_default=True,
              help="Messages sent one after another, each followed to its receipt: for ids and dates.")  # fmt: skip
@click.option("--fast", type=click.IntRange(0, 200), default=20, show_default=True,
              help="Messages in each of two runs as fast as answers come, a second at most: for the rate.")  # fmt: skip
@click.option("--burst", type=click.IntRange(0, 200), default=20, show_default=True,
              help="Messages at once: for the window.")  # fmt: skip
@click.option("--binds", type=click.IntRange(1, 20), default=4, show_default=True,
              help="Binds at the same time, at most: for their cap. A running node's count, too.")  # fmt: skip
@click.option("--wait", "wait_s", type=click.FloatRange(1, 600), default=60.0, show_default=True,
              help="Seconds to wait for a receipt.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Send without asking first.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The node's smsgw.yaml; left out: DIR/smsgw.yaml."
)
@directory_option
@json_option
def probe(name: str, config: Path | None, directory: Path, yes: bool, as_json: bool, **options: Any) -> None:
    """Bind to a carrier of the configuration, send test messages, and print the settings that fit what it does.

    Use an account that the carrier gave you for tests: the messages are real, and each costs what the carrier charges.
    How many there are at most is said first. What comes out is a section for smsgw.yaml, each setting with how sure it
    is and of how many observations; what no setting stands for is a comment. Nothing is changed.

    \b
    Found out: TLS and interface version, transceiver or pair, cap of binds, window, rate, forms of ids, dialect and
    time zone of receipts, of which parts of a long message they come, the default alphabet, query_sm, cancel_sm,
    replace_sm.

    \b
    Examples:
      smsgw carrier probe acme --to +4915112345678
      smsgw carrier probe acme --to +4915112345678 --from ACME --fast 0 --burst 0 --yes > acme.yaml
    """
    file = config or directory / "smsgw.yaml"
    profile, known = _carrier(file, name)
    plan = _plan(**options)
    try:
        prober = Prober(profile, plan)
    except CarrierError as error:
        raise Misused(f"{name} cannot be probed so: {error}", reason="NOT_WRITABLE") from error
    _ask(profile, plan, yes=yes)
    try:
        seen = asyncio.run(prober.run())
    except CarrierError as error:
        raise Refused(f"nothing was found out: {error}", reason="CARRIER_REFUSED") from error
    _show(known, seen, as_json=as_json)


def _carrier(file: Path, name: str) -> tuple[CarrierProfile, list[tuple[str, object]]]:
    """Return a carrier's profile, and its section as it stands. Raises Misused."""
    try:
        settings = load(file)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    found = next((profile for profile in settings.carriers if profile.name == name), None)
    if found is None:
        names = ", ".join(profile.name for profile in settings.carriers) or "none"
        raise Misused(f"{file} has no carrier {name!a}; it has: {names}", reason="NO_SUCH_CARRIER")
    sections = yaml.safe_load(file.read_text("utf-8"))["carriers"]
    section = next(section for section in sections if section.get("name") == name)
    known: list[tuple[str, object]] = []
    for key, value in section.items():
        known += (
            [(f"{key}.{inner}", each) for inner, each in value.items()] if isinstance(value, dict) else [(key, value)]
        )
    return found, known


def _plan(
    *, recipient: str, sender: str, alone: int, fast: int, burst: int, binds: int, wait_s: float
) -> Plan:  # fmt: skip
    """Return what to try. Raises Misused for what is wrong with it."""
    if not is_e164(recipient):
        raise Misused("--to wants a number in E.164, as +4915112345678", reason="BAD_RECIPIENT")
    fault = sender_fault(sender)
    if fault is not None:
        raise Misused(f"--from {fault.description}", reason="BAD_SENDER")
    plan = Plan(sender=sender, recipient=recipient.removeprefix("+"), alone=alone, fast=fast, burst=burst, binds=binds,
                wait_s=wait_s)  # fmt: skip
    if plan.most > _MOST:
        raise Misused(f"that would be up to {plan.most} messages; a probe sends at most {_MOST}", reason="TOO_MANY")
    return plan


def _ask(profile: CarrierProfile, plan: Plan, *, yes: bool) -> None:
    """Say what it costs, and go on only with a yes. Raises Misused where nobody can be asked."""
    plain = " IN PLAIN TEXT" if profile.tls is None else ""
    what = (
        f"sends up to {plan.most} messages to {mask_number('+' + plan.recipient)} by {profile.name} "
        f"({profile.host}:{profile.port}{plain}), and holds up to {plan.binds} binds"
    )
    if yes:
        click.echo(shown(f"smsgw: {what}"), err=True)
    elif not sys.stdin.isatty():
        raise Misused(f"this {what}; say --yes to that", reason="NOT_CONFIRMED")
    else:
        click.confirm(shown(f"This {what}. Each costs what the carrier charges. Go on?"), abort=True, err=True)


def _show(known: list[tuple[str, object]], seen: Observations, *, as_json: bool) -> None:
    findings = conclude(seen)
    if as_json:
        emit({"sent": seen.sent, "findings": as_objects(findings)})
    else:
        for line in as_yaml(known, findings, sent=seen.sent).splitlines():
            click.echo(shown(line))
    if not seen.single or seen.single[0].answer.status != 0:
        raise Failure("the first message was not accepted: see the findings, and the carrier", reason="NOT_ACCEPTED")
