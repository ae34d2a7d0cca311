"""`smsgw ca init|issue|renew|bundle|dev-carrier`: authorities, SVIDs and the bundle, in files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from certs.bundle import TrustBundles
from certs.ca.authority import Authority, new_key
from certs.ca.dev_carrier import write_dev_carrier
from certs.ca.keys import Place, Places
from certs.ca.profile import LeafRequest
from certs.ca.renewal import renew as renewed_chain
from certs.ca.token_keys import Token
from certs.ca.wanted import out_paths
from certs.cli.manners import (
    DIRECTORY,
    FILE,
    DurationType,
    SpiffeIdType,
    TrustDomainType,
    dir_option,
    json_option,
    now,
    operator,
    reporting,
    tell,
    text,
)
from certs.cli.places import keys_options, root_options, standby_options
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid, write_file
from certs.tls import check_own_svid


@click.command()
@dir_option
@click.option("--trust-domain", type=TrustDomainType(), required=True, help="Such as example.org; lower case.")
@root_options
@keys_options
@standby_options
@click.option("--development", is_flag=True, help="Mark the root: nodes accept it with environment: development only.")
@json_option
@reporting
def init(
    directory: Path,
    trust_domain: TrustDomain,
    root_place: Path | Token | None,
    keys_token: Token | None,
    standby_place: Place,
    *,
    development: bool,
    as_json: bool,
) -> None:
    """Make a new authority: a root of ten years, an intermediate of one year that issues, and a standby.

    The root's key is needed again for `smsgw ca rotate prepare` only: keep it off this machine with --root-dir, or make
    it in an HSM with --root-token. The standby's key is for the day on which the active one is stolen: keep it out of
    this directory with --standby-dir, on another disk or under another account, from where it moves here when it takes
    over, or in a token of its own. With --keys-token the keys that issue are made in a token, and those for JWT-SVIDs.

    \b
    Examples:
      smsgw ca init --dir ca --trust-domain example.org --root-dir /media/stick/root --standby-dir /media/safe/standby
      smsgw ca init --dir ca --trust-domain example.org --root-dir /media/stick/root \\
        --keys-token ca1 --keys-pin-file ca1.pin --standby-token ca2 --standby-pin-file ca2.pin \\
        --pkcs11-module /usr/lib/softhsm/libsofthsm2.so
    """
    root_place = root_place or directory
    places = Places(keys=keys_token, standby=standby_place)
    authority = Authority.create(directory, trust_domain, root_place, now(), development=development, places=places)
    authority.close()
    ends = text(authority.intermediate.not_valid_after_utc)
    tell(
        as_json,
        f"authority of {trust_domain} made in {directory}; root key in {root_place}; standby's key in "
        f"{standby_place or keys_token or directory}; intermediate until {ends}",
        trust_domain=trust_domain.name,
        dir=str(directory),
        root_dir=str(root_place),
        keys=str(keys_token or directory),
        standby=str(standby_place or keys_token or directory),
        intermediate_expires_at=ends,
    )


@click.command()
@dir_option
@click.option("--spiffe-id", type=SpiffeIdType(), required=True, help="spiffe://DOMAIN/PATH.")
@click.option("--dns", help="For servers: the host name that clients expect.")
@click.option("--ttl", type=DurationType(), default="1h", show_default=True, help="5m to 24h.")
@click.option("--out", type=FILE, required=True, help="DIR/NAME: writes NAME.pem and NAME.key (mode 0600).")
@json_option
@reporting
def issue(directory: Path, spiffe_id: SpiffeId, dns: str | None, ttl: int, out: Path, as_json: bool) -> None:
    """Issue one SVID with a new key: NAME.pem (the certificate and its intermediate) and NAME.key.

    \b
    Examples:
      smsgw ca issue --dir ca --spiffe-id spiffe://example.org/billing --out tls/billing
      smsgw ca issue --dir ca --spiffe-id spiffe://example.org/gateway --dns gateway.example.org --out tls/gateway
    """
    request = LeafRequest(spiffe_id=spiffe_id, dns_names=() if dns is None else (dns,), ttl_s=ttl)
    with contextlib.closing(Authority.open(directory)) as authority:
        svid = authority.issue(request, now(), operator())
        _hand_out(authority, svid, out, as_json=as_json)


def _hand_out(authority: Authority, svid: X509Svid, out: Path, *, as_json: bool) -> None:
    """Write an SVID once it verifies as a peer would verify it, and say so."""
    check_own_svid(svid, TrustBundles([authority.bundle]), now())
    cert_path, key_path = out_paths(out)
    svid.write(cert_path, key_path)
    tell(
        as_json,
        f"{svid.spiffe_id} until {text(svid.expires_at)}: {cert_path}, {key_path}",
        **described(svid, cert_path, key_path),
    )


@click.command()
@dir_option
@click.option("--svid", "name", type=FILE, required=True, help="DIR/NAME: the SVID in NAME.pem and NAME.key.")
@click.option("--ttl", type=DurationType(), help="5m to 24h; as long as the one before when left out.")
@click.option("--out", type=FILE, help="Write the next one here instead of in its place.")
@json_option
@reporting
def renew(directory: Path, name: Path, ttl: int | None, out: Path | None, as_json: bool) -> None:
    """Renew an SVID by itself: the same identity and names, a new key. It must be valid, and on record here.

    One below a tainted authority renews as well, if it is on record from before its key was suspect.

    \b
    Example:
      smsgw ca renew --dir ca --svid tls/billing
    """
    current = X509Svid.load(*out_paths(name))
    with contextlib.closing(Authority.open(directory)) as authority:
        key = new_key()
        chain = renewed_chain(authority, current.chain[0], key.public_key(), now(), ttl_s=ttl)
        _hand_out(authority, X509Svid(chain=chain, key=key), out or name, as_json=as_json)


def described(svid: X509Svid, cert_path: Path, key_path: Path) -> dict[str, object]:
    """Return an SVID's fields for machines."""
    return {
        "spiffe_id": str(svid.spiffe_id),
        "serial": svid.serial,
        "authority_key_id": svid.authority_key_id,
        "expires_at": text(svid.expires_at),
        "cert": str(cert_path),
        "key": str(key_path),
    }


@click.command()
@dir_option
@click.option(
    "--format", "kind", type=click.Choice(["pem", "spiffe"]), default="pem", show_default=True, help="spiffe: JWK Set."
)
@click.option("--out", type=FILE, help="Write to this file instead of standard output.")
@json_option
@reporting
def bundle(directory: Path, kind: str, out: Path | None, as_json: bool) -> None:
    """Print the trust domain's bundle: what peers need to verify its SVIDs. It holds no secret.

    \b
    Examples:
      smsgw ca bundle --dir ca --out bundle.pem
      smsgw ca bundle --dir ca --format spiffe
    """
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        found = authority.bundle
    content = found.to_pem() if kind == "pem" else found.to_jwks() + b"\n"
    if out is not None:
        write_file(out, content, mode=0o644)
        text = f"bundle of {found.trust_domain} written to {out}"
        tell(as_json, text, trust_domain=found.trust_domain.name, path=str(out))
    else:
        tell(as_json, content.decode().rstrip("\n"), trust_domain=found.trust_domain.name, bundle=content.decode())


@click.command("dev-carrier")
@click.option("--out", "directory", type=DIRECTORY, required=True, help="The directory for the three files.")
@click.option("--dns", multiple=True, default=("localhost",), show_default=True, help="The simulator's host name.")
@click.option("--ip", multiple=True, default=("127.0.0.1",), show_default=True, help="Its address.")
@json_option
@reporting
def dev_carrier(directory: Path, dns: Sequence[str], ip: Sequence[str], as_json: bool) -> None:
    """FOR THE SIMULATOR ONLY: make a throw-away TLS certificate for a simulated carrier.

    NEVER USE IT FOR ANYTHING REAL. It belongs to an authority of its own, outside every trust domain, whose key is
    forgotten at once. Writes carrier-ca.pem (for the gateway), carrier.pem and carrier.key (for `smsgw simulator`).

    \b
    Example:
      smsgw ca dev-carrier --out .smsgw/carrier
    """
    made = write_dev_carrier(directory, dns, now(), ip)
    tell(
        as_json,
        f"FOR THE SIMULATOR ONLY: {made.cert_path}, {made.key_path}; trust {made.ca_path}; "
        f"until {text(made.expires_at)}",
        ca=str(made.ca_path),
        cert=str(made.cert_path),
        key=str(made.key_path),
        expires_at=text(made.expires_at),
    )
