"""`smsgw ca revoke`: an authority, or certificates that it issued, out of use for good."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.ledger import AuthorityRecord
from certs.ca.revocations import Code, Order, Revocation, revoke_identity, revoke_serial
from certs.ca.states import Kind
from certs.ca.token_keys import Token
from certs.cli.authorities import tell_change
from certs.cli.manners import (
    SpiffeIdType,
    dir_option,
    json_option,
    now,
    operator,
    reporting,
    root_within,
    tell,
)
from certs.cli.places import root_options
from certs.cli.records import describe_revoked, revoked_line
from certs.errors import ProfileRefused, Reason
from certs.spiffe_id import SpiffeId

_CODES = {code.name.lower().replace("_", "-"): code for code in Code}


@click.command()
@dir_option
@click.argument("key_id", metavar="[KEY_ID]", required=False)
@click.option("--spiffe-id", type=SpiffeIdType(), help="Revoke every certificate of this identity that has not ended.")
@click.option("--serial", help="Revoke the certificate with this serial number, in hexadecimal.")
@click.option("--reason", help="Why, for people: 1 to 500 characters. Needed for certificates.")
@click.option("--code", type=click.Choice(list(_CODES)), default="unspecified", show_default=True,
              help="Why, for the revocation list (RFC 5280, section 5.3.1).")  # fmt: skip
@root_options
@json_option
@reporting
def revoke(
    directory: Path,
    key_id: str | None,
    spiffe_id: SpiffeId | None,
    serial: str | None,
    *,
    reason: str | None,
    code: str,
    root_place: Path | Token | None,
    as_json: bool,
) -> None:
    """Take an authority (KEY_ID), or certificates (--spiffe-id, --serial), out of use for good.

    An authority must not issue any more: activate another one, or taint it first. Its key here is destroyed, and a root
    leaves the bundle with all below it. With the key of its root at hand (--root-dir, --root-token), an intermediate is
    on the root's revocation list at once; else run `smsgw ca crl --root-dir` later. For a root's own key, destroy its
    --root-dir.

    With a certificate go all others for its key, and everything that was issued on its word: its renewals, and what a
    node asked for with it. None is renewed, and its key is never certified again; a running `smsgw ca serve` takes it
    up at once. An identity that is still registered can be issued anew: take it out of the entries first if it is to
    stay out. Peers learn of it by the revocation list, and gateways by `smsgw revoke`.

    \b
    Examples:
      smsgw ca revoke --dir ca 3b1f09d2c4 --root-dir /media/stick/root
      smsgw ca revoke --dir ca --serial 5f0c2d9a77 --code key-compromise --reason 'laptop stolen'
      smsgw ca revoke --dir ca --spiffe-id spiffe://example.org/node/web1 --reason 'host taken over'
    """
    if sum(given is not None for given in (key_id, spiffe_id, serial)) != 1:
        raise click.UsageError("say what to revoke: one of KEY_ID, --spiffe-id and --serial")
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        if key_id is not None:
            _revoke_authority(authority, authority.find(key_id), root_place or root_within(directory), as_json=as_json)
            return
        if not reason:
            raise click.UsageError("say why, with --reason")
        if root_place is not None:
            raise click.UsageError("certificates are on their intermediate's list: the root's key is for KEY_ID")
        order = Order(code=_CODES[code], reason=reason, asked_by=operator().by)
        _tell(_revoked(authority, spiffe_id, serial or "", order), as_json=as_json)


def _revoke_authority(
    authority: Authority, record: AuthorityRecord, root_place: Path | Token | None, *, as_json: bool
) -> None:
    place = root_place if record.kind is Kind.INTERMEDIATE else None
    revoked = rotation.revoke(authority, record, now(), place)
    tell_change(as_json, "revoked", revoked, authority.issuing)
    if record.kind is Kind.INTERMEDIATE and place is None:
        click.echo("smsgw ca: its root's revocation list does not say so: run `smsgw ca crl --root-dir DIR`", err=True)


def _revoked(authority: Authority, spiffe_id: SpiffeId | None, serial: str, order: Order) -> tuple[Revocation, ...]:
    if spiffe_id is None:
        return revoke_serial(authority.ledger, serial, order, now())
    if spiffe_id.trust_domain != authority.trust_domain:
        raise ProfileRefused(
            f"{spiffe_id} is not in {authority.trust_domain}: nothing was issued to it here",
            reason=Reason.WRONG_TRUST_DOMAIN,
        )
    return revoke_identity(authority.ledger, spiffe_id, order, now())


def _tell(found: tuple[Revocation, ...], *, as_json: bool) -> None:
    lines = [f"revoked: {revoked_line(one)}" for one in found]
    tell(
        as_json,
        "\n".join(lines) or "nothing that has not ended: none is revoked",
        certificates=[describe_revoked(one) for one in found],
    )
