"""Which database `smsgw db` is about: the one that a configuration names."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.manners import Misused
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Settings

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="smsgw.yaml",
    show_default=True,
    help="The node's configuration.",
)


def settings_of(config: Path) -> Settings:
    """Return the configuration. Raises Misused with every problem."""
    try:
        return load(config)
    except ConfigError as error:
        raise Misused(str(error), reason="CONFIG_INVALID") from error
