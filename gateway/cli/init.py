"""`smsgw init`: writes what a new node starts from, and says what comes next."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.manners import Failure, Misused, emit, json_option
from gateway.cli.site import OPERATOR, InTheWay, Site, write_site
from gateway.config.identity_settings import WorkloadEndpoint
from gateway.config.kinds import NAME, TRUST_DOMAIN, Text

PLACEHOLDER = "acme.password"


class _TextType(click.ParamType[str]):
    """A text that the configuration's own rule accepts."""

    def __init__(self, kind: Text | WorkloadEndpoint, name: str) -> None:
        self._kind = kind
        self.name = name

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        try:
            return self._kind.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(short_help="Write the configuration and keys of a new node.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default="this folder",
    help="Where to write; made when it is missing.",
)
@click.option(
    "--trust-domain",
    type=_TextType(TRUST_DOMAIN, "DOMAIN"),
    default="example.org",
    show_default=True,
    help="The SPIFFE trust domain of node and callers.",
)
@click.option(
    "--tenant", type=_TextType(NAME, "NAME"), default="demo", show_default=True, help="The first tenant's name."
)
@click.option(
    "--bundle",
    default="ca/root.pem",
    show_default=True,
    help="The trust bundle: where a CA in the folder ca keeps it, or where you will put that of another CA.",
)
@click.option(
    "--workload-api",
    type=_TextType(WorkloadEndpoint(), "ADDRESS"),
    help="Take all identities from this SPIFFE Workload API, as SPIRE's: unix:///PATH, or environment.",
)
@json_option
def init(folder: Path, trust_domain: str, tenant: str, bundle: str, *, workload_api: str | None, as_json: bool) -> None:
    """Write the configuration and keys of a new node, and print what comes next. Nothing is overwritten.

    smsgw.yaml holds every setting with its meaning, and `smsgw serve` runs it as it is once there is a certificate.
    Without a carrier in it, messages are accepted and wait.

    \b
    A node whose host has a SPIFFE Workload API:
      smsgw init --trust-domain example.org --workload-api unix:///run/spire/agent-sockets/api.sock

    \b
    A node with a certificate authority of its own, in four commands:
      smsgw init --trust-domain example.org
      smsgw ca init --dir ca --trust-domain example.org
      smsgw ca issue --dir ca --spiffe-id spiffe://example.org/gateway \\
          --dns gateway.example.org --out pki/gateway
      smsgw serve
    """
    os.umask(0o077)
    site = Site(
        folder=folder,
        trust_domain=trust_domain,
        tenant=tenant,
        bundle=bundle,
        chosen={},
        passwords={PLACEHOLDER: b""},
        workload_api=workload_api or "",
    )
    try:
        files = write_site(site)
    except InTheWay as error:
        raise Misused(str(error), reason="IN_THE_WAY") from error
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", reason="CANNOT_WRITE") from error
    steps = _steps_with_workload_api(site) if workload_api else _steps(site)
    if as_json:
        emit({"files": [str(file) for file in files], "next": [command for _, command in steps]})
        return
    for file in files:
        click.echo(f"wrote {file}")
    for text, command in steps:
        click.echo(f"\n{text}\n  {command}" if text else f"  {command}")


def _steps(site: Site) -> list[tuple[str, str]]:
    """Return what comes next: sentence and command."""
    folder, domain = site.folder, site.trust_domain
    ca, pki = folder / "ca", folder / "pki"
    return [
        (
            "Next, a certificate authority (or use yours: put its bundle where identity.bundles says):",
            f"smsgw ca init --dir {ca} --trust-domain {domain}",
        ),
        (
            "the node's certificate, for an hour:",
            f"smsgw ca issue --dir {ca} --spiffe-id {site.node_id} --dns {site.server_name} --out {pki / 'gateway'}",
        ),
        ("the node:", f"smsgw serve --config {folder / 'smsgw.yaml'}"),
        (
            "Then a certificate for a caller of the tenant, and a first message:",
            f"smsgw ca issue --dir {ca} --spiffe-id {site.caller_id} --out {pki / site.tenant}",
        ),
        (
            "",
            f"smsgw send --dir {folder} --to +4915112345678 --from ACME --category otp --text Hello",
        ),
        (
            "One for an operator, and what an operator sees:",
            f"smsgw ca issue --dir {ca} --spiffe-id {site.operator_id} --out {pki / OPERATOR}",
        ),
        ("", f"smsgw carrier status --dir {folder}"),
        (
            "Keep all certificates fresh, in a process of its own:",
            f"smsgw ca serve --dir {ca} --svids {folder / 'svids.yaml'}",
        ),
        (
            f"A carrier: uncomment it in smsgw.yaml, put its password into {folder / 'keys' / PLACEHOLDER}, and look:",
            f"smsgw check --config {folder / 'smsgw.yaml'}",
        ),
    ]


def _steps_with_workload_api(site: Site) -> list[tuple[str, str]]:
    """Return what comes next where somebody else issues: sentence and command."""
    config, password = site.folder / "smsgw.yaml", site.folder / "keys" / PLACEHOLDER
    register = (
        f"Next, have {site.node_id} registered for this user, with the DNS name {site.server_name}, and\n"
        f"{site.caller_id} and {site.operator_id} for who calls (docs/workload-identity.md).\n"
        "What the node would get:"
    )
    return [
        (register, f"smsgw check --config {config}"),
        ("the node:", f"smsgw serve --config {config}"),
        (
            "a first message:",
            f"smsgw send --dir {site.folder} --to +4915112345678 --from ACME --category otp --text Hello",
        ),
        ("and what an operator sees:", f"smsgw carrier status --dir {site.folder}"),
        (
            f"A carrier: uncomment it in smsgw.yaml, put its password into {password}, and look:",
            f"smsgw check --config {config}",
        ),
    ]
