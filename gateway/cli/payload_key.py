"""`smsgw payload-key`: the keys that callers seal content to. docs/sealed-content.md describes their life."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway import assembly
from gateway.cli.manners import Failure, Misused, emit, json_option, shown
from gateway.cli.site import write_private
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.secret_files import SecretFileRefused
from gateway.sealed.errors import PayloadKeyRefused

if TYPE_CHECKING:
    from gateway.sealed.keys import PayloadKey

_KINDS = ("p256", "x25519", "rsa2048", "rsa3072", "rsa4096")
_OPENS_FOR_DAYS = 14  # a message may wait for 7 days, and then be valid for 7


@click.group("payload-key", short_help="Make and list the keys that callers seal content to.")
def payload_key() -> None:
    """Make and list the keys that callers seal content to. Their public halves are published to callers, by nodes that
    only accept too (payload-key public)."""


@payload_key.command(short_help="Make a payload key.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write: a private JWK. Nothing is overwritten.",
)
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    default="p256",
    show_default=True,
    help="P-256 and X25519 for ECDH-ES, or RSA-OAEP-256, whose opening costs 3 to 20 times as much.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=180,
    show_default=True,
    help="For how long callers seal to it. Make the next one well before that.",
)
@json_option
def create(out: Path, kind: str, days: int, as_json: bool) -> None:
    """Make a payload key in a file that only its owner can use, and print what comes next.

    \b
    Examples:
      smsgw payload-key create --out keys/payload-2027a.jwk
      smsgw payload-key create --out keys/payload-rsa.jwk --kind rsa3072 --days 90
    """
    from gateway.sealed.key_files import new_key_file

    os.umask(0o077)
    not_after = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=days)
    kid, octets = new_key_file(kind, not_after)
    try:
        write_private(out, octets)
    except FileExistsError as error:
        raise Misused(f"{out} exists; it is not overwritten", reason="IN_THE_WAY") from error
    except OSError as error:
        raise Failure(f"{out}: {error.strerror}", reason="CANNOT_WRITE") from error
    if as_json:
        emit({"file": str(out), "kid": kid, "kind": kind, "not_after": not_after.isoformat()})
        return
    click.echo(f"wrote {out}: {kind}, kid {kid}, for sealing until {not_after:%Y-%m-%d %H:%M} UTC")
    click.echo("Next, add it to payload.key_files in smsgw.yaml (the first one is preferred), and: smsgw reload")


@payload_key.command(short_help="Write the public half of a payload key, for nodes that only accept.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write: a public JWK. Nothing is overwritten.",
)
@json_option
def public(file: Path, out: Path, as_json: bool) -> None:
    """Write the public half of the payload key in FILE, for payload.public_key_files of nodes that only accept.

    It may be read by anybody. Bring it there by a way on which nobody can exchange it: who could would read what
    callers seal.

    \b
    Example:
      smsgw payload-key public keys/payload-2027a.jwk --out payload-2027a.pub.jwk
    """
    from gateway.sealed.key_files import public_file, read_keys

    try:
        (key,) = read_keys((file,))
        write_private(out, public_file(key))
    except (SecretFileRefused, PayloadKeyRefused) as error:
        raise Misused(str(error), reason="KEY_REFUSED") from error
    except FileExistsError as error:
        raise Misused(f"{out} exists; it is not overwritten", reason="IN_THE_WAY") from error
    except OSError as error:
        raise Failure(f"{out}: {error.strerror}", reason="CANNOT_WRITE") from error
    if as_json:
        emit({"file": str(out), "kid": key.kid, "alg": key.alg})
        return
    click.echo(f"wrote {out}: the public half of {key.kid}")
    click.echo("Next, on each accepting node, add it to payload.public_key_files, and: smsgw reload")


@payload_key.command("list", short_help="List the payload keys that a configuration names.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="smsgw.yaml",
    show_default=True,
    help="The node's configuration.",
)
@json_option
def list_keys(config: Path, as_json: bool) -> None:
    """List the payload keys that a configuration names, the preferred one first, without asking the node.

    \b
    Examples:
      smsgw payload-key list
      smsgw payload-key list --config /etc/smsgw/smsgw.yaml --json
    """
    try:
        settings = load(config)
        keys = assembly.payload_keys(settings)
    except (ConfigError, SecretFileRefused, PayloadKeyRefused) as error:
        raise Misused(str(error), reason="CONFIGURATION_REFUSED") from error
    now = dt.datetime.now(dt.UTC)
    files = settings.payload.key_files or settings.payload.public_key_files
    rows = [_row(key, str(file), now) for key, file in zip(keys, files, strict=True)]
    if as_json:
        for row in rows:
            emit(row)
        return
    _show(rows)


def _row(key: PayloadKey, file: str, now: dt.datetime) -> dict[str, str]:
    not_after = dt.datetime.fromtimestamp(key.not_after, dt.UTC)
    state = "published"
    if now >= not_after:
        last = not_after + dt.timedelta(days=_OPENS_FOR_DAYS)
        opens = "opens what waits" if key.half.is_private else "not published any more: take it out"
        state = opens if now < last else "of no more use: take it out"
    return {"kid": key.kid, "alg": key.alg, "not_after": not_after.isoformat(), "state": state, "file": file}


def _show(rows: list[dict[str, str]]) -> None:
    if not rows:
        click.echo("no payload key is configured: sealed content is refused")
        return
    for row in rows:
        until = row["not_after"][:16].replace("T", " ")
        click.echo(shown(f"{row['kid']}  {row['alg']:<12}  {row['state']}, sealed to until {until} UTC  {row['file']}"))
