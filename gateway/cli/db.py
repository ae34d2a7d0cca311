"""`smsgw db`: the database of a node, looked at, brought forward, backed up and restored."""

from __future__ import annotations

import click

from gateway.cli.db_backup import backup, restore
from gateway.cli.db_grants import grants
from gateway.cli.db_schema import check, migrate


@click.group(short_help="Check, migrate, back up and restore the database.")
def db() -> None:
    """Look after the database: on the node's machine, as the user that runs smsgw.

    docs/operating.md has a section about backups: what is in one, what must be kept apart, and what a restore does to
    messages that waited.
    """


for _command in (check, migrate, backup, restore, grants):
    db.add_command(_command)
