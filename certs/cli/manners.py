"""What the commands of `smsgw ca` have in common: options, argument types, output and exit codes.

Exit codes: 0 done, 1 refused or failed (the reason is printed), 2 wrong usage. With `--json` each command prints one
JSON object on standard output, also for an error: {"error": {"reason": ..., "message": ...}}.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

import click

from certs.ca.authority import Asked
from certs.ca.store import has_root_key
from certs.ca.wanted import parse_duration
from certs.errors import CertsError, ProfileRefused
from certs.spiffe_id import SpiffeId, TrustDomain
from visibility import json_log

_LOG = logging.getLogger(__name__)
_P = ParamSpec("_P")

DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
dir_option = click.option(
    "--dir", "directory", type=DIRECTORY, required=True, envvar="SMSGW_CA_DIR", help="The authority's directory."
)


def root_within(directory: Path) -> Path | None:
    """Return the authority's directory when its root's key is kept there, as it is for development."""
    return directory if has_root_key(directory) else None


def now() -> dt.datetime:
    """Return the time: the only place in the authority that reads the clock."""
    return dt.datetime.now(dt.UTC)


def text(moment: dt.datetime) -> str:
    """Return a moment as people and machines read it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def operator() -> Asked:
    """Return who runs the command, for the record."""
    return Asked(by=f"uid {os.getuid()}", attested="local")


def fail(refused: CertsError, *, as_json: bool) -> NoReturn:
    """Say why, and end with 1."""
    if as_json:
        click.echo(json.dumps({"error": {"reason": refused.reason.value, "message": str(refused)}}))
    else:
        complain(refused)
    sys.exit(1)


def complain(refused: CertsError) -> None:
    """Say why on standard error, and go on; as a record where the process writes its log as JSON."""
    if json_log.writing():
        _LOG.error("refused", extra={"reason": refused.reason.value, "why": str(refused)})
        return
    click.echo(f"smsgw ca: {refused} [{refused.reason.value}]", err=True)


def warn(said: str) -> None:
    """Tell people something on standard error; as a record where the process writes its log as JSON."""
    if json_log.writing():
        _LOG.warning("notice", extra={"text": said})
    else:
        click.echo(f"smsgw ca: {said}", err=True)


def reporting(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn a refusal into a message and exit code 1."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except CertsError as refused:
            fail(refused, as_json=bool(kwargs.get("as_json")))

    return run


def tell(as_json: bool, said: str, **fields: object) -> None:
    """Print a line for people, or the fields for machines."""
    click.echo(json.dumps(fields) if as_json else said)


class DurationType(click.ParamType[int]):
    """A lifetime such as 30m; seconds."""

    name = "DURATION"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except ProfileRefused as refused:
            self.fail(str(refused), param, ctx)


class MomentType(click.ParamType[dt.datetime]):
    """A moment such as 2026-11-27T10:00:00Z; aware."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """Return the moment."""
        if isinstance(value, dt.datetime):
            return value
        try:
            found = dt.datetime.fromisoformat(str(value))
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            self.fail(f"{str(value)[:40]!a} is no moment: write it as 2026-11-27T10:00:00Z", param, ctx)
        return found


class SpiffeIdType(click.ParamType[SpiffeId]):
    """A SPIFFE ID, read strictly."""

    name = "SPIFFE_ID"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> SpiffeId:
        """Return the ID."""
        try:
            return value if isinstance(value, SpiffeId) else SpiffeId.parse(str(value))
        except CertsError as refused:
            self.fail(str(refused), param, ctx)


class TrustDomainType(click.ParamType[TrustDomain]):
    """A trust domain's name."""

    name = "DOMAIN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> TrustDomain:
        """Return the name."""
        try:
            return value if isinstance(value, TrustDomain) else TrustDomain(str(value))
        except CertsError as refused:
            self.fail(str(refused), param, ctx)
