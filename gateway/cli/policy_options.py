"""The options that commands about policies have in common."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="smsgw.yaml",
    show_default=True,
    help="The node's configuration: it names the folder, the time zone, and who belongs to which tenant.",
)
dir_option = click.option(
    "--dir",
    "--policies",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the policies, when there is no configuration or another set is meant.",
)
