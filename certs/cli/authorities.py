"""`smsgw ca show|rotate|taint`: the authorities themselves, and how they change."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

import click

from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.jwt_keys import JwtKey
from certs.ca.keys import Place, Places
from certs.ca.ledger import AuthorityRecord
from certs.ca.states import Kind, State
from certs.ca.token_keys import Token
from certs.cli.manners import MomentType, dir_option, json_option, now, reporting, tell, text
from certs.cli.places import root_options, standby_dir_option, standby_options
from certs.cli.records import describe_issued, show_issued


def describe(record: AuthorityRecord) -> dict[str, object]:
    """Return an authority's fields for machines."""
    return {
        "key_id": record.key_id,
        "kind": record.kind.value,
        "state": record.state.value,
        "changed_at": text(record.changed_at),
        "suspect_from": None if record.suspect_from is None else text(record.suspect_from),
        "expires_at": text(record.certificate.not_valid_after_utc),
    }


def _described(authority: Authority, record: AuthorityRecord) -> dict[str, object]:
    """Return an authority's fields, with where its key is; of a root that is not on record."""
    if record.kind is Kind.ROOT or record.state is State.REVOKED:
        return describe(record)
    held = authority.keys.holds(record.key_id)
    return {**describe(record), "key_in": authority.keys.where(record.key_id), "key_at_hand": held}


def _shown(authority: Authority, record: AuthorityRecord) -> str:
    fields = _described(authority, record)
    if "key_in" not in fields:
        return _line(record)
    return f"{_line(record)}, key in {fields['key_in']}" + ("" if fields["key_at_hand"] else " (not at hand)")


def _line(record: AuthorityRecord) -> str:
    suspect = "" if record.suspect_from is None else f", suspect from {text(record.suspect_from)}"
    ends = text(record.certificate.not_valid_after_utc)
    return f"{record.kind:<12}  {record.state:<8}  {record.key_id}  until {ends}{suspect}"


@click.command()
@dir_option
@click.argument("serial", required=False)
@json_option
@reporting
def show(directory: Path, serial: str | None, as_json: bool) -> None:
    """Show what is on record of one certificate; without SERIAL, the authorities and their states.

    Roots are in the bundle until they are revoked. One intermediate is active; the standby takes over when it is
    activated, or when the active one is tainted.

    \b
    Examples:
      smsgw ca show --dir ca
      smsgw ca show --dir ca 5f0c2d9a77
    """
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        if serial is not None:
            fields = describe_issued(show_issued(authority, serial), authority)
            tell(as_json, "\n".join(f"{name:<18}{value}" for name, value in fields.items()), **fields)
            return
        records = authority.records
        tell(
            as_json,
            "\n".join(
                [*(_shown(authority, record) for record in records), *(_jwt_line(key) for key in authority.jwt_keys)]
            ),
            trust_domain=authority.trust_domain.name,
            bundle_sequence=authority.ledger.bundle_sequence,
            authorities=[_described(authority, record) for record in records],
            jwt_keys=[{"key_id": key.key_id, "signs_from": text(key.active_at)} for key in authority.jwt_keys],
        )


def _jwt_line(key: JwtKey) -> str:
    return f"jwt key                 {key.key_id}  signs from {text(key.active_at)}"


@click.group()
def rotate() -> None:
    """Change the authority that issues, with overlap: prepare the next one, then activate it.

    \b
    Every year (`smsgw ca serve` activates by itself, 90 days before the active intermediate ends):
      smsgw ca rotate prepare  --dir ca --root-dir /media/stick/root
      smsgw ca rotate activate --dir ca
    Another root, published in the bundle before it is used:
      smsgw ca rotate root     --dir ca --root-dir /media/stick2/root
      smsgw ca rotate prepare  --dir ca --root-dir /media/stick2/root
      smsgw ca rotate activate --dir ca          # once every reader has the new bundle
      smsgw ca revoke          --dir ca OLD_ROOT # once its last SVID has ended
    """


@rotate.command()
@dir_option
@root_options
@standby_options
@json_option
@reporting
def prepare(directory: Path, root_place: Path | Token | None, standby_place: Place, as_json: bool) -> None:
    """Sign a standby with the root's key, in advance: it issues nothing until it is activated.

    Its own key goes where the one before it was kept; to another place with --standby-dir or --standby-token, from now
    on. Of two tokens, it goes into the one in which the active key is not.

    \b
    Examples:
      smsgw ca rotate prepare --dir ca --root-dir /media/stick/root
      smsgw ca rotate prepare --dir ca --root-dir /media/stick/root --standby-dir /media/safe/standby
    """
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        places = None
        if standby_place is not None:
            places = Places(keys=authority.keys.default_place(), standby=standby_place)
        made = rotation.prepare(authority, root_place or directory, now(), places)
        tell(as_json, f"prepared: {_line(made)}", authority=describe(made))


@rotate.command()
@dir_option
@standby_dir_option
@json_option
@reporting
def activate(directory: Path, standby_dir: Path | None, as_json: bool) -> None:
    """Make the standby issue, at once. SVIDs of the one before it stay valid until they end.

    Its key moves into the authority's directory from its own, which is to be there: attach it, or name where it is.
    A running `smsgw ca serve` takes it up within a second or two. Prepare the next standby afterwards.

    \b
    Example:
      smsgw ca rotate activate --dir ca
    """
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        made = rotation.activate(authority, now(), standby_dir)
        tell(as_json, f"activated: {_line(made)}", authority=describe(made))


@rotate.command()
@dir_option
@root_options
@click.option("--development", is_flag=True, help="Mark the root: nodes accept it with environment: development only.")
@json_option
@reporting
def root(directory: Path, root_place: Path | Token | None, development: bool, as_json: bool) -> None:
    """Make another root and publish it in the bundle, where readers find it before anything is signed below it.

    \b
    Example:
      smsgw ca rotate root --dir ca --root-dir /media/stick2/root
    """
    if root_place is None:
        raise click.UsageError("name where the new key goes: --root-dir or --root-token")
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        made = rotation.add_root(authority, root_place, now(), development=development)
        tell(as_json, f"published: {_line(made)}", authority=describe(made))


@click.command()
@dir_option
@click.argument("key_id", metavar="KEY_ID")
@click.option(
    "--suspect-from", type=MomentType(), help="From when on its key may have been in other hands; now when left out."
)
@standby_dir_option
@json_option
@reporting
def taint(
    directory: Path, key_id: str, suspect_from: dt.datetime | None, standby_dir: Path | None, as_json: bool
) -> None:
    """Mark an authority whose key may be in other hands. It signs no more, and the standby issues from this moment on.

    Everything it signed is to be replaced now: `smsgw ca serve` does that by itself. An SVID renews if it is on record
    from before --suspect-from; others are issued anew. A tainted root taints what it signed. Peers still accept the old
    SVIDs until they end, or until the root is revoked. A JWT key leaves the bundle at once. Where the standby's key has
    a directory of its own that is not attached, nothing issues until `smsgw ca rotate activate` finds it.

    \b
    Example:
      smsgw ca taint --dir ca 3b1f09d2c4 --suspect-from 2026-11-27T06:00:00Z
    """
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        moment = now()
        if any(key.key_id == key_id for key in authority.jwt_keys):
            authority.taint_jwt_key(key_id, moment)
            tell(as_json, f"the JWT key {key_id} is out of the bundle; another one signs", jwt_key=key_id)
            return
        tainted = rotation.taint(authority, authority.find(key_id), moment, suspect_from or moment, standby_dir)
        left = authority.ledger.valid_at(moment, authority_key_id=authority.find(key_id).key_id)
        issues = authority.issuing
        tell_change(as_json, "tainted", tainted, issues)
        if not as_json:
            click.echo(f"{len(left)} valid SVIDs of it are on record: `smsgw ca list --authority {key_id}`")


def tell_change(as_json: bool, what: str, changed: tuple[AuthorityRecord, ...], issues: AuthorityRecord | None) -> None:
    """Say what became of authorities, and which one issues now."""
    lines = [f"{what}: {_line(record)}" for record in changed]
    lines.append("nothing issues now: run `smsgw ca rotate prepare` and `activate`" if issues is None else
                 f"issues:  {_line(issues)}")  # fmt: skip
    tell(
        as_json,
        "\n".join(lines),
        authorities=[describe(record) for record in changed],
        active=None if issues is None else issues.key_id,
    )
