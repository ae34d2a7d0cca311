"""`smsgw ca serve`: keeps SVIDs on disk fresh, and the authority's standby ready to take over."""

from __future__ import annotations

import datetime as dt
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import click

from certs.ca.authority import Authority
from certs.ca.keeper import Round, keep_fresh
from certs.ca.rotation import rotate_if_due
from certs.ca.wanted import WantedSvid, read_wanted
from certs.cli.issuing import described
from certs.cli.manners import FILE, complain, dir_option, json_option, now, reporting, tell, text
from certs.errors import AuthorityError, CertsError

_ENDING_SOON = dt.timedelta(days=30)
_LOOK_S = 1.0  # how often a change of the authorities, such as a taint, is looked for


@click.command()
@dir_option
@click.option("--svids", "list_path", type=FILE, required=True, help="A YAML list of the SVIDs to keep fresh.")
@json_option
@reporting
def serve(directory: Path, list_path: Path, as_json: bool) -> None:
    """Keep the SVIDs of a list fresh on disk, until SIGTERM.

    Missing ones are issued at once, all are renewed at half their life, and as soon as another intermediate issues.
    Certificate and key change in one step: the two names are symbolic links into a directory that is exchanged as a
    whole. Prints one line when all are there. The standby takes over by itself 90 days before the active intermediate
    ends.

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
    with closing(Authority.open(directory)) as authority, _until_told() as stop:
        wanted = read_wanted(list_path, authority.trust_domain)
        first = keep_fresh(authority, wanted, now())
        _report(first, as_json=as_json)
        if first.failed:
            raise AuthorityError(
                f"{len(first.failed)} of {len(wanted)} SVIDs could not be issued: see above",
                reason=first.failed[0].error.reason,
            )
        _ready(authority, wanted, as_json=as_json)
        _keep(authority, wanted, stop, first.next_at, as_json=as_json)


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
    authority: Authority, wanted: Sequence[WantedSvid], stop: threading.Event, next_at: dt.datetime, *, as_json: bool
) -> None:
    """Go round until `stop`: when an SVID is due, and when the authorities have changed."""
    while not stop.wait(max(0.0, min(_LOOK_S, (next_at - now()).total_seconds()))):
        if not _changed(authority, as_json=as_json) and now() < next_at:
            continue
        done = keep_fresh(authority, wanted, now())
        _report(done, as_json=as_json)
        if done.renewed:
            _warn_of_the_end(authority)
        next_at = done.next_at


def _changed(authority: Authority, *, as_json: bool) -> bool:
    """Rotate if that is due, and take up what other processes did; says whether there was something."""
    try:
        changed = authority.refresh()
        rotated = rotate_if_due(authority, now()) if authority.issuing else None
    except CertsError as refused:  # keep what is in memory: it still issues
        complain(refused)
        return False
    if rotated is not None:
        tell(as_json, f"the standby {rotated.key_id} issues now", event="rotated", key_id=rotated.key_id)
    return changed or rotated is not None


def _ready(authority: Authority, wanted: Sequence[WantedSvid], *, as_json: bool) -> None:
    _warn_of_the_end(authority)
    tell(
        as_json,
        f"smsgw ca: ready, {len(wanted)} SVIDs of {authority.trust_domain} are fresh",
        event="ready",
        trust_domain=authority.trust_domain.name,
        svids=len(wanted),
        intermediate_expires_at=text(authority.intermediate.not_valid_after_utc),
    )


def _warn_of_the_end(authority: Authority) -> None:
    ends = authority.intermediate.not_valid_after_utc
    if ends - now() < _ENDING_SOON:
        click.echo(f"smsgw ca: the intermediate ends at {text(ends)}: run `smsgw ca rotate prepare`", err=True)
    elif authority.standby is None:
        click.echo("smsgw ca: no standby is prepared: run `smsgw ca rotate prepare`", err=True)


def _report(done: Round, *, as_json: bool) -> None:
    for renewed in done.renewed:
        fields = described(renewed.svid, renewed.wanted.cert_path, renewed.wanted.key_path)
        said = f"issued {renewed.svid.spiffe_id} until {text(renewed.svid.expires_at)} ({renewed.why})"
        tell(as_json, said, event="issued", why=renewed.why, **fields)
    for failed in done.failed:
        spiffe_id = failed.wanted.request.spiffe_id
        click.echo(f"smsgw ca: {spiffe_id}: {failed.error} [{failed.error.reason.value}]", err=True)
