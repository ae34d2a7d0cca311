"""`smsgw ca crl`: revocation lists, made and printed."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

import click

from certs.ca import crls, rotation
from certs.ca.authority import Authority
from certs.ca.crl_profile import MAX_LIFETIME, MIN_LIFETIME
from certs.ca.crl_publisher import kept, pem_of
from certs.ca.crls import Crl
from certs.ca.states import State
from certs.ca.token_keys import Token
from certs.cli.manners import (
    FILE,
    DurationType,
    complain,
    dir_option,
    json_option,
    now,
    reporting,
    root_within,
    tell,
    text,
)
from certs.cli.places import root_options
from certs.errors import AuthorityError, CertsError
from certs.svid import write_file


@click.command()
@dir_option
@click.option("--authority", "key_id", help="Only this authority's list: its key id, or how it begins.")
@click.option("--format", "kind", type=click.Choice(["pem", "der"]), default="pem", show_default=True,
              help="der needs --authority and --out.")  # fmt: skip
@click.option("--out", type=FILE, help="Write to this file instead of standard output.")
@click.option(
    "--lifetime", type=DurationType(), default="4h", show_default=True, help="Their next update, 10m to 168h."
)
@click.option("--place", help="From now on, certificates say that lists are below this URL, as http://HOST/PATH/; "
              "'' for not at all.")  # fmt: skip
@root_options
@json_option
@reporting
def crl(
    directory: Path,
    key_id: str | None,
    kind: str,
    out: Path | None,
    lifetime: int,
    *,
    place: str | None,
    root_place: Path | Token | None,
    as_json: bool,
) -> None:
    """Make the revocation lists (RFC 5280) of all intermediates anew, and print them with those of the roots.

    With the root's key at hand (--root-dir, --root-token) its list is made anew, too: it says which intermediates are
    revoked, and is good for thirteen months. `smsgw ca init`, `rotate prepare`, `rotate root` and `revoke` with the
    root's key make it as well. `smsgw ca serve --crl-dir` makes the intermediates' by itself. They hold no secret.

    \b
    Examples:
      smsgw ca crl --dir ca --out crls.pem
      smsgw ca crl --dir ca --root-dir /media/stick/root --out crls.pem
      smsgw ca crl --dir ca --authority 3b1f09d2c4 --format der --out 3b1f09d2c4.crl
      smsgw ca crl --dir ca --place http://crl.example.org/
    """
    if kind == "der" and (key_id is None or out is None):
        raise click.UsageError("--format der writes one list to one file: give --authority and --out")
    if not MIN_LIFETIME.total_seconds() <= lifetime <= MAX_LIFETIME.total_seconds():
        raise click.BadParameter("10m to 168h", param_hint="--lifetime")
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        if place is not None:
            authority.set_crl_place(place)
        found = _made(authority, root_place or root_within(directory), dt.timedelta(seconds=lifetime))
        if key_id is not None:
            wanted = authority.find(key_id).key_id
            found = {name: one for name, one in found.items() if name == wanted}
        if not found:
            raise AuthorityError("there is no revocation list of this authority: is it revoked, or its key elsewhere?")
    _give(found, kind, out, as_json=as_json)


def _made(authority: Authority, root_place: Path | Token | None, lifetime: dt.timedelta) -> dict[str, Crl]:
    """Make what can be made now; returns the last list of every authority. What cannot be made is told."""
    if root_place is not None:
        rotation.list_of_root(authority, root_place, now())
    for record in crls.listing(authority.records, now()):
        if record.state is State.STANDBY and not authority.keys.holds(record.key_id):
            continue  # its key is kept elsewhere until it takes over
        try:
            crls.make(authority.ledger, record, authority.key_of(record), now(), lifetime=lifetime)
        except CertsError as refused:
            complain(refused)
    return dict(kept(authority, now()))


def _give(found: dict[str, Crl], kind: str, out: Path | None, *, as_json: bool) -> None:
    content = pem_of(found) if kind == "pem" else next(iter(found.values())).der
    described = [
        {"key_id": one.key_id, "number": one.number, "revoked": len(one.serials), "next_update": text(one.next_update)}
        for one in found.values()
    ]
    if out is not None:
        write_file(out, content, mode=0o644)
        tell(as_json, f"{len(found)} revocation lists written to {out}", path=str(out), lists=described)
    else:
        tell(as_json, content.decode().rstrip("\n"), crls=content.decode(), lists=described)
