"""`smsgw ca`: the certificate authority on the command line.

Exit codes: 0 done, 1 refused or failed (the reason is printed), 2 wrong usage. With `--json` each command prints one
JSON object on standard output, also for an error: {"error": {"reason": ..., "message": ...}}.
"""

from __future__ import annotations

import datetime as dt
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

import click

from certs.bundle import TrustBundles
from certs.ca.authority import Authority, renew_intermediate
from certs.ca.dev_carrier import write_dev_carrier
from certs.ca.keeper import Round, keep_fresh
from certs.ca.profile import LeafRequest
from certs.ca.wanted import WantedSvid, out_paths, parse_duration, read_wanted
from certs.errors import AuthorityError, CertsError, ProfileRefused
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid, write_file
from certs.tls import check_own_svid

_P = ParamSpec("_P")
_ENDING_SOON = dt.timedelta(days=30)

_Directory = click.Path(file_okay=False, path_type=Path)
_File = click.Path(dir_okay=False, path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
_dir_option = click.option(
    "--dir", "directory", type=_Directory, required=True, envvar="SMSGW_CA_DIR", help="The authority's directory."
)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _text(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _fail(refused: CertsError, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"error": {"reason": refused.reason.value, "message": str(refused)}}))
    else:
        click.echo(f"smsgw ca: {refused} [{refused.reason.value}]", err=True)
    sys.exit(1)


def _reporting(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn a refusal into a message and exit code 1."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except CertsError as refused:
            _fail(refused, as_json=bool(kwargs.get("as_json")))

    return run


def _tell(as_json: bool, text: str, **fields: object) -> None:
    click.echo(json.dumps(fields) if as_json else text)


class _TtlType(click.ParamType[int]):
    """A lifetime such as 30m; seconds."""

    name = "DURATION"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except ProfileRefused as refused:
            self.fail(str(refused), param, ctx)


class _SpiffeIdType(click.ParamType[SpiffeId]):
    """A SPIFFE ID, read strictly."""

    name = "SPIFFE_ID"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> SpiffeId:
        try:
            return value if isinstance(value, SpiffeId) else SpiffeId.parse(str(value))
        except CertsError as refused:
            self.fail(str(refused), param, ctx)


class _TrustDomainType(click.ParamType[TrustDomain]):
    """A trust domain's name."""

    name = "DOMAIN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> TrustDomain:
        try:
            return value if isinstance(value, TrustDomain) else TrustDomain(str(value))
        except CertsError as refused:
            self.fail(str(refused), param, ctx)


@click.group()
def ca() -> None:
    """Run the certificate authority: identities (X.509-SVIDs) for gateway and callers.

    \b
    A first authority, an identity for a service, and the bundle that peers trust:
      smsgw ca init   --dir ca --trust-domain example.org
      smsgw ca issue  --dir ca --spiffe-id spiffe://example.org/billing --out tls/billing
      smsgw ca bundle --dir ca --out tls/bundle.pem

    Certificates live for an hour by default. `smsgw ca serve` renews them at half their life.
    """


@ca.command()
@_dir_option
@click.option("--trust-domain", type=_TrustDomainType(), required=True, help="Such as example.org; lower case.")
@click.option("--root-dir", type=_Directory, help="Keep the root's key here, such as on a stick; --dir when left out.")
@click.option("--development", is_flag=True, help="Mark the root: nodes accept it with environment: development only.")
@_json_option
@_reporting
def init(directory: Path, trust_domain: TrustDomain, root_dir: Path | None, development: bool, as_json: bool) -> None:
    """Make a new authority: a root of ten years, and an intermediate of one year that issues.

    The root's key is needed again for `smsgw ca renew` only: keep it off this machine with --root-dir.

    \b
    Example:
      smsgw ca init --dir ca --trust-domain example.org --root-dir /media/stick/root
    """
    root_directory = root_dir or directory
    authority = Authority.create(directory, trust_domain, root_directory, _now(), development=development)
    ends = _text(authority.intermediate.not_valid_after_utc)
    _tell(
        as_json,
        f"authority of {trust_domain} made in {directory}; root key in {root_directory}; intermediate until {ends}",
        trust_domain=trust_domain.name,
        dir=str(directory),
        root_dir=str(root_directory),
        intermediate_expires_at=ends,
    )


@ca.command()
@_dir_option
@click.option("--root-dir", type=_Directory, help="Where the root's key is; --dir when left out.")
@_json_option
@_reporting
def renew(directory: Path, root_dir: Path | None, as_json: bool) -> None:
    """Give the authority a new intermediate, once a year, with the root's key.

    SVIDs of the old intermediate stay valid until they end, and the bundle stays as it is. A running
    `smsgw ca serve` takes the new intermediate up by itself.

    \b
    Example:
      smsgw ca renew --dir ca --root-dir /media/stick/root
    """
    authority = renew_intermediate(directory, root_dir or directory, _now())
    ends = _text(authority.intermediate.not_valid_after_utc)
    _tell(as_json, f"new intermediate until {ends}", dir=str(directory), intermediate_expires_at=ends)


@ca.command()
@_dir_option
@click.option("--spiffe-id", type=_SpiffeIdType(), required=True, help="spiffe://DOMAIN/PATH.")
@click.option("--dns", help="For servers: the host name that clients expect.")
@click.option("--ttl", type=_TtlType(), default="1h", show_default=True, help="5m to 24h.")
@click.option("--out", type=_File, required=True, help="DIR/NAME: writes NAME.pem and NAME.key (mode 0600).")
@_json_option
@_reporting
def issue(directory: Path, spiffe_id: SpiffeId, dns: str | None, ttl: int, out: Path, as_json: bool) -> None:
    """Issue one SVID with a new key: NAME.pem (the certificate and its intermediate) and NAME.key.

    \b
    Examples:
      smsgw ca issue --dir ca --spiffe-id spiffe://example.org/billing --out tls/billing
      smsgw ca issue --dir ca --spiffe-id spiffe://example.org/gateway --dns gateway.example.org --out tls/gateway
    """
    authority, now = Authority.open(directory), _now()
    request = LeafRequest(spiffe_id=spiffe_id, dns_names=() if dns is None else (dns,), ttl_s=ttl)
    svid = authority.issue(request, now)
    check_own_svid(svid, TrustBundles([authority.bundle]), now)
    cert_path, key_path = out_paths(out)
    svid.write(cert_path, key_path)
    _tell(
        as_json,
        f"{spiffe_id} until {_text(svid.expires_at)}: {cert_path}, {key_path}",
        **_described(svid, cert_path, key_path),
    )


def _described(svid: X509Svid, cert_path: Path, key_path: Path) -> dict[str, object]:
    return {
        "spiffe_id": str(svid.spiffe_id),
        "serial": svid.serial,
        "authority_key_id": svid.authority_key_id,
        "expires_at": _text(svid.expires_at),
        "cert": str(cert_path),
        "key": str(key_path),
    }


@ca.command()
@_dir_option
@click.option(
    "--format", "kind", type=click.Choice(["pem", "spiffe"]), default="pem", show_default=True, help="spiffe: JWK Set."
)
@click.option("--out", type=_File, help="Write to this file instead of standard output.")
@_json_option
@_reporting
def bundle(directory: Path, kind: str, out: Path | None, as_json: bool) -> None:
    """Print the trust domain's bundle: what peers need to verify its SVIDs. It holds no secret.

    \b
    Examples:
      smsgw ca bundle --dir ca --out bundle.pem
      smsgw ca bundle --dir ca --format spiffe
    """
    found = Authority.open(directory).bundle
    content = found.to_pem() if kind == "pem" else found.to_jwks() + b"\n"
    if out is not None:
        write_file(out, content, mode=0o644)
        text = f"bundle of {found.trust_domain} written to {out}"
        _tell(as_json, text, trust_domain=found.trust_domain.name, path=str(out))
    else:
        _tell(as_json, content.decode().rstrip("\n"), trust_domain=found.trust_domain.name, bundle=content.decode())


@ca.command("dev-carrier")
@click.option("--out", "directory", type=_Directory, required=True, help="The directory for the three files.")
@click.option("--dns", multiple=True, default=("localhost",), show_default=True, help="The simulator's host name.")
@click.option("--ip", multiple=True, default=("127.0.0.1",), show_default=True, help="Its address.")
@_json_option
@_reporting
def dev_carrier(directory: Path, dns: Sequence[str], ip: Sequence[str], as_json: bool) -> None:
    """FOR THE SIMULATOR ONLY: make a throw-away TLS certificate for a simulated carrier.

    NEVER USE IT FOR ANYTHING REAL. It belongs to an authority of its own, outside every trust domain, whose key is
    forgotten at once. Writes carrier-ca.pem (for the gateway), carrier.pem and carrier.key (for `smsgw simulator`).

    \b
    Example:
      smsgw ca dev-carrier --out .smsgw/carrier
    """
    made = write_dev_carrier(directory, dns, _now(), ip)
    _tell(
        as_json,
        f"FOR THE SIMULATOR ONLY: {made.cert_path}, {made.key_path}; trust {made.ca_path}; "
        f"until {_text(made.expires_at)}",
        ca=str(made.ca_path),
        cert=str(made.cert_path),
        key=str(made.key_path),
        expires_at=_text(made.expires_at),
    )


@ca.command()
@_dir_option
@click.option("--svids", "list_path", type=_File, required=True, help="A YAML list of the SVIDs to keep fresh.")
@_json_option
@_reporting
def serve(directory: Path, list_path: Path, as_json: bool) -> None:
    """Keep the SVIDs of a list fresh on disk, until SIGTERM.

    Missing ones are issued at once, all are renewed at half their life. Certificate and key change in one step: the
    two names are symbolic links into a directory that is exchanged as a whole. Prints one line when all are there.

    \b
    The list:
      - spiffe_id: spiffe://example.org/gateway
        dns: gateway.example.org     # servers only
        ttl: 1h                      # 5m to 24h
        out: tls/gateway             # tls/gateway.pem and tls/gateway.key, beside this file
      - spiffe_id: spiffe://example.org/billing
        out: tls/billing

    \b
    Example:
      smsgw ca serve --dir ca --svids svids.yaml
    """
    authority = Authority.open(directory)
    wanted = read_wanted(list_path, authority.trust_domain)
    with _until_told() as stop:
        first = keep_fresh(authority, wanted, _now())
        _report(first, as_json=as_json)
        if first.failed:
            raise AuthorityError(
                f"{len(first.failed)} of {len(wanted)} SVIDs could not be issued: see above",
                reason=first.failed[0].error.reason,
            )
        _ready(authority, wanted, as_json=as_json)
        _keep(directory, authority, wanted, stop, first.next_at, as_json=as_json)


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set, and put their handlers back afterwards."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in before:
            signal.signal(number, lambda *_: stop.set())
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep(
    directory: Path,
    authority: Authority,
    wanted: Sequence[WantedSvid],
    stop: threading.Event,
    next_at: dt.datetime,
    *,
    as_json: bool,
) -> None:
    """Go round until `stop`; the authority is opened anew each time, so that a renewed intermediate is taken up."""
    while not stop.wait(max(0.0, min(30.0, (next_at - _now()).total_seconds()))):
        try:
            authority = Authority.open(directory)
        except CertsError as refused:  # keep the one in memory: it still issues
            click.echo(f"smsgw ca: {refused} [{refused.reason.value}]", err=True)
        done = keep_fresh(authority, wanted, _now())
        _report(done, as_json=as_json)
        if done.renewed:
            _warn_of_the_end(authority)
        next_at = done.next_at


def _ready(authority: Authority, wanted: Sequence[WantedSvid], *, as_json: bool) -> None:
    _warn_of_the_end(authority)
    _tell(
        as_json,
        f"smsgw ca: ready, {len(wanted)} SVIDs of {authority.trust_domain} are fresh",
        event="ready",
        trust_domain=authority.trust_domain.name,
        svids=len(wanted),
        intermediate_expires_at=_text(authority.intermediate.not_valid_after_utc),
    )


def _warn_of_the_end(authority: Authority) -> None:
    ends = authority.intermediate.not_valid_after_utc
    if ends - _now() < _ENDING_SOON:
        click.echo(f"smsgw ca: the intermediate ends at {_text(ends)}: run `smsgw ca renew`", err=True)


def _report(done: Round, *, as_json: bool) -> None:
    for renewed in done.renewed:
        fields = _described(renewed.svid, renewed.wanted.cert_path, renewed.wanted.key_path)
        text = f"issued {renewed.svid.spiffe_id} until {_text(renewed.svid.expires_at)} ({renewed.why})"
        _tell(as_json, text, event="issued", why=renewed.why, **fields)
    for failed in done.failed:
        spiffe_id = failed.wanted.request.spiffe_id
        click.echo(f"smsgw ca: {spiffe_id}: {failed.error} [{failed.error.reason.value}]", err=True)
