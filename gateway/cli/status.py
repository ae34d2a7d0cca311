"""`smsgw status`: how the node on this machine is, from its local socket."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import yaml
from rich.table import Table

from gateway.cli.connection import directory_option
from gateway.cli.manners import Misused, Unreachable, console, emit, json_option, shown
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.status_socket import StatusUnreachable, read_status

SOCKET_NAME = "status.sock"


@click.command(short_help="Show how the node on this machine is: links, queues, counters.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The node's smsgw.yaml; left out: DIR/smsgw.yaml."
)
@directory_option
@json_option
def status(config: Path | None, directory: Path, as_json: bool) -> None:
    """Show how the node on this machine is: its links to the carriers, its queues, what it has counted.

    It asks the running node over a local socket that only the node's own user may use.

    \b
    Examples:
      smsgw status --dir .smsgw
      smsgw status --config /etc/smsgw/smsgw.yaml --json
    """
    try:
        found = read_status(_data_dir(config or directory / "smsgw.yaml") / SOCKET_NAME)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    except StatusUnreachable as error:
        raise Unreachable(str(error), reason="NODE_UNREACHABLE") from error
    if as_json:
        emit(found)
    else:
        _show(found)


def _data_dir(file: Path) -> Path:
    """Return the data directory that a configuration names. Raises ConfigError.

    A configuration with a fault, which the running node has refused, is no reason not to say how it is: only the one
    setting is read then.
    """
    try:
        return load(file).node.data_dir
    except ConfigError:
        document = yaml.safe_load(file.read_bytes()) if file.is_file() else None
        node = document.get("node") if isinstance(document, dict) else None
        name = node.get("data_dir") if isinstance(node, dict) else None
        if not isinstance(name, str):
            raise
        return file.parent / name


def _show(found: Mapping[str, object]) -> None:
    """Print what is wrong, then single values, then each list or mapping as a table of its own."""
    out = console()
    for alert in _mappings(found.get("alerts")):
        for line in _alert_lines(alert):
            out.print(line)
    single = {key: value for key, value in found.items() if not isinstance(value, Mapping | list)}
    width = max((len(_words(key)) for key in single), default=0)
    for key, value in single.items():
        out.print(f"{_words(key):<{width}}  {_cell(value, key)}")
    for key, value in found.items():
        if key == "alerts":
            continue
        if isinstance(value, Mapping) and value:
            out.print(_pairs(key, value))
        elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            out.print(_rows(key, value))


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _alert_lines(alert: Mapping[str, object]) -> list[str]:
    """Return what somebody wants to know of an alert, each on a line of its own: it is not cut into columns."""
    cells = {key: _cell(value, key) for key, value in alert.items()}
    name = " ".join(filter(None, (cells.get("alert"), cells.get("labels"))))
    lines = [
        f"{cells.get('severity', '').upper()}  {name}  since {cells.get('raised_at')}, met {cells.get('times')} times",
        *(f"    {cells[key]}" for key in ("summary", "why", "runbook") if cells.get(key)),
    ]
    return [*lines, ""]


def _pairs(title: str, pairs: Mapping[str, object]) -> Table:
    table = Table("", "", title=_words(title), title_justify="left", show_header=False, box=None, pad_edge=False)
    for key, value in pairs.items():
        table.add_row(shown(str(key)), _cell(value, str(key)))
    return table


def _rows(title: str, rows: Sequence[Mapping[str, object]]) -> Table:
    columns = list(dict.fromkeys(str(key) for row in rows for key in row))
    table = Table(*map(_words, columns), title=_words(title), title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row.get(column, ""), column) for column in columns))
    return table


def _words(key: str) -> str:
    return shown(key.replace("_", " "))


def _cell(value: object, key: str) -> str:
    """Return a value as text; a time (microseconds since the Unix epoch, `..._at`) as local time."""
    if isinstance(value, Mapping):
        return shown(" ".join(f"{name}={item}" for name, item in value.items()))
    if isinstance(value, int) and "_at" in key and value:
        return f"{dt.datetime.fromtimestamp(value / 1e6, dt.UTC).astimezone():%Y-%m-%d %H:%M:%S}"
    return shown(f"{value:g}" if isinstance(value, float) else str(value))
