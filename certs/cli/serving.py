"""`smsgw ca serve`: keeps SVIDs on disk fresh, serves nodes, and lets the standby take over in time."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

import click

from certs.bundle import TrustBundles
from certs.ca.authority import Authority
from certs.ca.desk import Desk
from certs.ca.keeper import Round, keep_fresh
from certs.ca.profile import LeafRequest
from certs.ca.registration import RegistrationFile
from certs.ca.schedule import Schedule
from certs.ca.wanted import WantedSvid, read_wanted
from certs.cli.crl_publishing import Crls, crl_options, publishing
from certs.cli.issuing import described
from certs.cli.manners import FILE, complain, dir_option, json_option, now, reporting, tell, text, warn
from certs.cli.network import Network, network_options
from certs.cli.publishing import publishing_options
from certs.cli.rotating import Rotating, schedule_options
from certs.cli.watching import Teller, metrics_options, watching
from certs.errors import AuthorityError, CertsError
from certs.federation.endpoint import Profile
from certs.service.federating import FOLDER, Federating
from certs.service.metrics_page import Metrics
from certs.service.publishing import BundleEndpoints, Publication
from certs.service.server import PATH, CertificateServer
from certs.spiffe_id import SpiffeId

_LOOK_S = 1.0  # how often a change of the authorities, such as a taint, is looked for


@click.command()
@dir_option
@click.option("--svids", "list_path", type=FILE, help="A YAML list of the SVIDs to keep fresh in files.")
@network_options
@publishing_options
@crl_options
@schedule_options
@metrics_options
@json_option
@reporting
def serve(
    directory: Path,
    list_path: Path | None,
    *,
    network: Network | None,
    publication: Publication | None,
    crls: Crls | None,
    schedule: Schedule,
    metrics: Metrics | None,
    as_json: bool,
) -> None:
    """Keep SVIDs fresh until SIGTERM: those of a list, in files, and those of registered nodes, over the network.

    Missing ones are issued at once, all are renewed at half their life, and as soon as another intermediate issues.
    Certificate and key change in one step: the two names are symbolic links into a directory that is exchanged as a
    whole. Prints one line when all are there. The standby takes over by itself --rotate-before the active intermediate
    ends, and it is told when none is prepared. With the root's key at hand (--root-dir, --root-token) the next one is
    signed by itself. Nodes are served with --entries; see `smsgw ca entries` and `smsgw ca token`. The file is read
    again when it changes; while it cannot be used, the one before it counts. Other trust domains federate with this one
    by the bundle endpoints: see docs/federation.md. Its log goes to standard error, one JSON object a line with --json;
    its metrics and alerts are at --metrics-listen: see docs/ca.md.

    \b
    The list:
      - spiffe_id: spiffe://example.org/gateway
        dns: gateway.example.org     # servers only
        ttl: 1h                      # 5m to 24h
        out: tls/gateway             # tls/gateway.pem and tls/gateway.key, beside this file
      - spiffe_id: spiffe://example.org/billing
        out: tls/billing

    \b
    Examples:
      smsgw ca serve --dir ca --svids svids.yaml
      smsgw ca serve --dir ca --entries entries.yaml --listen 10.0.0.5:8600 --join-listen 10.0.0.5:8601
      smsgw ca serve --dir ca --entries entries.yaml --crl-dir /var/lib/crl --crl-listen 10.0.0.5:8602
      smsgw ca serve --dir ca --bundle-listen 0.0.0.0:443 --bundle-cert web.pem --bundle-key web.key
      smsgw ca serve --dir ca --bundle-spiffe-listen 0.0.0.0:8443
    """
    if list_path is None and network is None and publication is None and crls is None:
        raise click.UsageError(
            "nothing to serve: give --svids, --entries, --crl-dir, --bundle-listen or --bundle-spiffe-listen"
        )
    with watching(directory, metrics, as_json=as_json) as teller:
        _serve(directory, list_path, network, publication, crls, schedule, teller, as_json=as_json)


def _serve(
    directory: Path,
    list_path: Path | None,
    network: Network | None,
    publication: Publication | None,
    crls: Crls | None,
    schedule: Schedule,
    teller: Teller,
    *,
    as_json: bool,
) -> None:
    """Do the first round, say that all is ready, and go on until told to stop. Raises CertsError before that."""
    with (
        closing(Authority.open(directory)) as authority,
        _until_told() as stop,
        _serving(directory, network) as nodes,
        _publishing(directory, publication) as endpoints,
        publishing(authority, crls, as_json=as_json) as lists,
    ):
        rotating = Rotating(authority, schedule, as_json=as_json)
        rotating.refresh()
        wanted = () if list_path is None else read_wanted(list_path, authority.trust_domain)
        first = keep_fresh(authority, wanted, now())
        _report(first, as_json=as_json)
        if first.failed:
            raise AuthorityError(
                f"{len(first.failed)} of {len(wanted)} SVIDs could not be issued: see above",
                reason=first.failed[0].error.reason,
            )
        ports = None if nodes is None or network is None else nodes.server.start(network.listen, network.join)
        bundle_ports = (None, None) if endpoints is None else endpoints.start()
        teller.start()
        _ready(authority, wanted, ports, bundle_ports, lists.port, teller.port, as_json=as_json)
        services: dict[str, _Refreshing | None] = {"nodes": nodes, "bundle": endpoints, "lists": lists}
        _keep(authority, wanted, stop, first.next_at, services, rotating, teller, as_json=as_json)


@contextmanager
def _serving(directory: Path, network: Network | None) -> Iterator[_Nodes | None]:
    """Give a server that is not started yet, with an authority of its own: its calls run on other threads."""
    if network is None:
        yield None
        return
    with closing(Authority.open(directory)) as authority:
        trust_domain = authority.trust_domain
        registration = RegistrationFile(network.entries, trust_domain)
        name = network.name or f"ca.{trust_domain.name}"
        request = LeafRequest(spiffe_id=SpiffeId(trust_domain, PATH), dns_names=(name,))
        own = TrustBundles([authority.bundle])
        with Federating(registration, directory / FOLDER, now, others=own.get) as federating:
            federating.refresh()
            desk = Desk(authority, registration, network.admins, federating.bundle_of)
            with CertificateServer(desk, request, now, network.rates) as server:
                yield _Nodes(server, desk, own, federating)


class _Nodes:
    """What serves nodes, and what it is told of other trust domains; `own` is what their endpoints may prove."""

    def __init__(self, server: CertificateServer, desk: Desk, own: TrustBundles, federating: Federating) -> None:
        self.server, self._desk, self._own, self._federating = server, desk, own, federating

    def refresh(self) -> None:
        """Take up what changed, and tell of it. Raises CertsError; serving goes on."""
        try:
            self.server.refresh()
        finally:
            if self._own.all() != (bundle := self._desk.bundle,):
                self._own.replace([bundle])
            self._federating.refresh()

    def tell(self, teller: Teller) -> None:
        """Tell how it stands: of the registration, and of other trust domains. Raises AuthorityError."""
        teller.registration(self.server.registration_refused)
        events = list(self._federating.events())
        teller.federation(self._federating.standings(), events)
        for event in events:
            self._desk.note_federation(event, now())


@contextmanager
def _publishing(directory: Path, publication: Publication | None) -> Iterator[BundleEndpoints | None]:
    """Give endpoints that are not started yet, with an authority of their own."""
    if publication is None:
        yield None
        return
    with closing(Authority.open(directory)) as authority, BundleEndpoints(authority, publication, now) as endpoints:
        yield endpoints


class _Refreshing(Protocol):
    """What looks at its files and authorities when it is told to."""

    def refresh(self) -> object:
        """Take up what changed. Raises CertsError; what was there before goes on."""


class _Told:
    """That it is told to stop, by signals. No threading.Event: a handler that interrupts the thread that waits for one
    can wait for its lock for ever; SimpleQueue.put is safe there."""

    def __init__(self) -> None:
        self._signals: SimpleQueue[int] = SimpleQueue()

    def tell(self, number: int, frame: object) -> None:
        """Handle a signal."""
        del frame
        self._signals.put(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait up to so long; say whether it was told."""
        try:
            self._signals.get(timeout=timeout_s)
        except Empty:
            return False
        return True


@contextmanager
def _until_told() -> Iterator[_Told]:
    """Give what SIGTERM and SIGINT tell, and put their handlers back afterwards."""
    stop = _Told()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in before:
            signal.signal(number, stop.tell)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep(
    authority: Authority,
    wanted: Sequence[WantedSvid],
    stop: _Told,
    next_at: dt.datetime,
    services: Mapping[str, _Refreshing | None],
    rotating: Rotating,
    teller: Teller,
    *,
    as_json: bool,
) -> None:
    """Go round until `stop`: when an SVID is due, and when the authorities or the registration have changed."""
    while not stop.wait(max(0.0, min(_LOOK_S, (next_at - now()).total_seconds()))):
        changed = _changed(authority, rotating)
        for what, service in (*services.items(), ("metrics", teller)):
            _refresh(what, service, teller)
        if not changed and now() < next_at:
            continue
        done = keep_fresh(authority, wanted, now())
        _report(done, as_json=as_json)
        teller.round(done)
        next_at = done.next_at


def _changed(authority: Authority, rotating: Rotating) -> bool:
    """Take up what other processes did, and do what is due; says whether there was something."""
    try:
        changed = authority.refresh()
    except CertsError as refused:  # keep what is in memory: it still issues
        complain(refused)
        return False
    return rotating.refresh() or changed


def _refresh(what: str, service: _Refreshing | None, teller: Teller) -> None:
    """Let a service take up what changed; what it cannot use is told, and it goes on with what it has."""
    if service is None:
        return
    try:
        service.refresh()
    except CertsError as refused:
        if isinstance(service, _Nodes) and service.server.registration_refused:
            complain(refused)  # once for each change of the file; the alert lasts for as long as it cannot be used
        else:
            teller.service(what, refused)
    if isinstance(service, _Nodes):
        _tell(service, teller)
    elif isinstance(service, BundleEndpoints):
        teller.bundle_requests(service.requests)


def _tell(nodes: _Nodes, teller: Teller) -> None:
    try:
        nodes.tell(teller)
    except CertsError as refused:
        teller.service("record", refused)


def _ready(
    authority: Authority,
    wanted: Sequence[WantedSvid],
    ports: tuple[int, int] | None,
    bundle_ports: tuple[int | None, int | None],
    crl_port: int | None,
    metrics_port: int | None,
    *,
    as_json: bool,
) -> None:
    network = "" if ports is None else f"; nodes call port {ports[0]} and join at port {ports[1]}"
    for profile, port in zip(Profile, bundle_ports, strict=True):
        network += "" if port is None else f"; the bundle is at port {port} by {profile}"
    network += "" if crl_port is None else f"; revocation lists at port {crl_port}"
    network += "" if metrics_port is None else f"; metrics at port {metrics_port}"
    tell(
        as_json,
        f"smsgw ca: ready, {len(wanted)} SVIDs of {authority.trust_domain} are fresh{network}",
        event="ready",
        trust_domain=authority.trust_domain.name,
        svids=len(wanted),
        port=None if ports is None else ports[0],
        join_port=None if ports is None else ports[1],
        bundle_port=bundle_ports[0],
        bundle_spiffe_port=bundle_ports[1],
        crl_port=crl_port,
        metrics_port=metrics_port,
        intermediate_expires_at=text(authority.intermediate.not_valid_after_utc),
    )


def _report(done: Round, *, as_json: bool) -> None:
    for renewed in done.renewed:
        fields = described(renewed.svid, renewed.wanted.cert_path, renewed.wanted.key_path)
        said = f"issued {renewed.svid.spiffe_id} until {text(renewed.svid.expires_at)} ({renewed.why})"
        tell(as_json, said, event="issued", why=renewed.why, **fields)
    for failed in done.failed:
        spiffe_id = failed.wanted.request.spiffe_id
        warn(f"{spiffe_id}: {failed.error} [{failed.error.reason.value}]")
