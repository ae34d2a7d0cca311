"""`smsgw audit checkpoint`: what the log over the audit has signed last."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.connection import directory_option
from gateway.cli.manners import Failure, Misused, emit, json_option
from gateway.config.audit_settings import AuditLogSettings
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.errors import Unavailable
from gateway.sequencing.files import LogFiles
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import parse


@click.command(short_help="Print the newest signed checkpoint.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The node's smsgw.yaml; left out: DIR/smsgw.yaml."
)
@directory_option
@json_option
def checkpoint(config: Path | None, directory: Path, as_json: bool) -> None:
    """Print the newest checkpoint that this machine has published of the log over the audit: a signed note.

    It is taken from the folder of the log, and nothing of it is verified here. A node need not be running.

    \b
    Examples:
      smsgw audit checkpoint
      smsgw audit checkpoint --json
    """
    log = _log_of(config or directory / "smsgw.yaml")
    try:
        octets = LogFiles(log.dir).read_checkpoint()
    except Unavailable as error:
        raise Failure(str(error), reason="LOG_UNREADABLE") from error
    if octets is None:
        raise Failure(f"{log.dir} has no checkpoint yet: is the node running, and the one that signs?", reason="NO_LOG")
    try:
        note = parse(octets)
        found = parse_text(note.text)
    except TlogError as error:
        raise Failure(f"{log.dir / 'checkpoint'} is no checkpoint: {error}", reason="LOG_UNREADABLE") from error
    if as_json:
        signed = [{"name": one.name, "key_id": one.key_id.hex()} for one in note.signatures]
        tree = {"origin": found.origin, "size": found.size, "root": found.root.hex()}
        emit({**tree, "signatures": signed, "note": octets.decode()})
    else:
        click.echo(octets.decode(), nl=False)


def _log_of(config: Path) -> AuditLogSettings:
    """Return where the log is, and what it is called. Raises Misused."""
    try:
        log = load(config).audit.log
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    if log is None:
        raise Misused(f"{config} has no section audit.log: the audit has no log", reason="NO_LOG")
    return log
