"""The part of `smsgw ca serve` that tells of itself: its options for metrics, its alerts, its log."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import wraps
from pathlib import Path

import click

from certs.ca.authority import Authority
from certs.ca.keeper import Round
from certs.cli.manners import SpiffeIdType, complain, now
from certs.errors import CertsError
from certs.federation import alerting
from certs.federation.federation import Event, Standing
from certs.service.metrics_page import Metrics, MetricsPage, PageIdentity
from certs.service.watching import Watching
from certs.spiffe_id import SpiffeId
from visibility import core_log, json_log
from visibility.alerts import Alerts
from visibility.catalogue import AUTHORITY, AUTHORITY_SERVICE_FAILING, ENTRIES_REFUSED, SVIDS_NOT_ISSUED

_LOG = logging.getLogger(__name__)


def metrics_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `metrics`: where the page is, None for nowhere."""

    @click.option("--metrics-listen", help="Serve metrics (Prometheus) here, at /metrics: HOST:PORT.")
    @click.option(
        "--metrics-reader", "readers", type=SpiffeIdType(), multiple=True,
        help="Who may read them, over mutual TLS: this SPIFFE ID and those below it; may be repeated.",
    )  # fmt: skip
    @click.option("--metrics-insecure", "insecure", is_flag=True, help="Serve them in plain text; on loopback only.")
    @wraps(command)
    def run(*, metrics_listen: str | None, readers: tuple[SpiffeId, ...], insecure: bool, **others: object) -> None:
        command(metrics=None if metrics_listen is None else _metrics(metrics_listen, readers, insecure), **others)

    return run


def _metrics(listen: str, readers: tuple[SpiffeId, ...], insecure: bool) -> Metrics:
    host, port = _address(listen)
    if insecure is bool(readers):
        raise click.UsageError("--metrics-listen needs --metrics-reader, or --metrics-insecure on loopback; not both")
    if insecure and not _is_loopback(host):
        raise click.UsageError(f"--metrics-insecure is for loopback: {host} is another address; give --metrics-reader")
    return Metrics(host=host, port=port, readers=tuple(map(str, readers)))


def loopback_of(listen: str) -> tuple[str, int]:
    """Return host and port to serve in plain text. Raises UsageError for another address than one of loopback."""
    host, port = _address(listen)
    if not _is_loopback(host):
        raise click.UsageError(f"metrics are served in plain text, on loopback only: {host} is another address")
    return host, port


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise click.BadParameter(f"{listen!a} is no address: write HOST:PORT", param_hint="--metrics-listen")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Teller:
    """The process's own part: what `smsgw ca serve` tells it, and what it looks at each time."""

    def __init__(
        self, watching: Watching, alerts: Alerts, page: MetricsPage | None, identity: PageIdentity | None
    ) -> None:
        self._watching, self._alerts, self._page, self._identity = watching, alerts, page, identity
        self.port: int | None = None

    def start(self) -> None:
        """Serve the page, if that is wanted. Raises AuthorityError."""
        self.refresh()
        if self._page is not None:
            self.port = self._page.start()

    def refresh(self) -> None:
        """Look at everything. Raises CertsError."""
        self._watching.refresh()
        if self._page is not None and self._identity is not None and self._identity.refresh():
            self._page.reload()

    def round(self, done: Round) -> None:
        """Hear of a round of SVIDs in files."""
        if done.failed:
            first = done.failed[0]
            why = f"{len(done.failed)} of them; {first.wanted.request.spiffe_id}: {first.error}"
            self._alerts.raise_alert(SVIDS_NOT_ISSUED, why=why)
        else:
            self._alerts.resolve(SVIDS_NOT_ISSUED)

    def service(self, what: str, refused: CertsError) -> None:
        """Hear that a service could not take up what changed."""
        complain(refused)
        self._alerts.raise_alert(AUTHORITY_SERVICE_FAILING, what, why=str(refused))

    def federation(self, standings: Sequence[Standing], events: Iterable[Event]) -> None:
        """Hear how it stands with other trust domains, and what has happened; the log has it from the record."""
        for event in events:
            alerting.tell(event, self._alerts)
        alerting.observe(standings, self._alerts)
        self._watching.page.standings = standings

    def bundle_requests(self, requests: Mapping[tuple[str, str], int]) -> None:
        """Hear how often the bundle endpoints were called."""
        self._watching.page.bundle_requests = requests

    def registration(self, refused: str) -> None:
        """Hear why the registration's file cannot be used, "" while it can."""
        self._alerts.observe(ENTRIES_REFUSED, {(): refused} if refused else {})


@contextmanager
def watching(directory: Path, metrics: Metrics | None, *, as_json: bool) -> Iterator[Teller]:
    """Tell of the authority until the end of the block, in the log and on a page. Raises CertsError."""
    with ExitStack() as stack:
        stack.enter_context(json_log.logged(as_json=as_json))
        authority = stack.enter_context(closing(Authority.open(directory, damaged=True)))
        core = core_log.present()
        if core is not None:
            _keep(core, directory)
            stack.callback(core.end)
        alerts = Alerts(AUTHORITY)
        looking = Watching(authority, alerts, now, core)
        secure = metrics is not None and bool(metrics.readers)
        identity = PageIdentity(authority, metrics.readers, now) if secure and metrics is not None else None
        security = None if identity is None else identity.security()
        page = None if metrics is None else MetricsPage(metrics, looking.page.render, security)
        if page is not None:
            stack.callback(page.stop)
        yield Teller(looking, alerts, page, identity)


def _keep(core: core_log.CoreLog, directory: Path) -> None:
    """Have gRPC's core write into the authority's directory."""
    try:
        left = core.keep_in(directory)
    except OSError as refused:
        _LOG.warning("core_log_not_kept", extra={"why": refused.strerror})
        return
    if left:
        _LOG.error("core_log_left_over", extra={"end": left.decode(errors="replace").splitlines()[-20:]})
