"""`smsgw agent`: the SPIFFE Workload API on a workload's host."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from certs.agent.keeper import Files, Keeper, Round
from certs.agent.link import Authorities
from certs.agent.server import Agent
from certs.agent.watching import AgentWatch
from certs.cli.manners import DIRECTORY, FILE, TrustDomainType, json_option, now, reporting, tell, text
from certs.cli.watching import loopback_of
from certs.errors import AuthorityError, SvidFileError
from certs.spiffe_id import TrustDomain
from visibility import json_log
from visibility.alerts import Alerts
from visibility.catalogue import AGENT
from visibility.metrics_server import MetricsServer


@click.command()
@click.option("--trust-domain", type=TrustDomainType(), required=True, help="Such as example.org.")
@click.option("--ca", "address", required=True, help="Where the authority serves nodes: HOST:PORT.")
@click.option(
    "--ca-join", "join_address", help="Where it lets nodes join: HOST:PORT; not needed after the first start."
)
@click.option("--ca-name", help="The host name in its certificate; ca.TRUST_DOMAIN when left out.")
@click.option("--bundle", type=FILE, required=True, help="The trust domain's bundle, PEM, to know the authority by.")
@click.option(
    "--join-token-file", "token", type=FILE, help="What `smsgw ca token` printed; mode 0600, deleted once used."
)
@click.option("--state", type=DIRECTORY, required=True, help="Keeps the node's SVID across restarts; mode 0700.")
@click.option("--socket", "socket_path", type=FILE, required=True, help="The Workload API's socket.")
@click.option(
    "--metrics-listen", help="Serve metrics (Prometheus) here in plain text, at /metrics: HOST:PORT of loopback."
)
@json_option
@reporting
def agent(
    trust_domain: TrustDomain,
    address: str,
    join_address: str | None,
    ca_name: str | None,
    *,
    bundle: Path,
    token: Path | None,
    state: Path,
    socket_path: Path,
    metrics_listen: str | None,
    as_json: bool,
) -> None:
    """Serve the SPIFFE Workload API on this host, until SIGTERM, with SVIDs that it gets from `smsgw ca serve`.

    Who connects is told by the kernel: user, group and executable of the process; what it gets, by the registration at
    the authority (`smsgw ca entries`). Keys are made here and never leave this host. While the authority is away, what
    is valid is served on, and it is told how long that lasts. Its log goes to standard error, one JSON object a line
    with --json. It sees executables of other users as root, or with
    CAP_SYS_PTRACE.

    \b
    Example:
      smsgw agent --trust-domain example.org --ca 10.0.0.5:8600 --ca-join 10.0.0.5:8601 --bundle bundle.pem \\
        --join-token-file join.token --state /var/lib/smsgw-agent --socket /run/smsgw-agent/api.sock
      SPIFFE_ENDPOINT_SOCKET=unix:///run/smsgw-agent/api.sock my-service
    """
    listen = None if metrics_listen is None else loopback_of(metrics_listen)
    where = Authorities(
        trust_domain=trust_domain,
        address=address,
        join_address=join_address or address,
        server_name=ca_name or f"ca.{trust_domain.name}",
    )
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
    except OSError as refused:
        raise SvidFileError(f"{state}: cannot be made: {refused.strerror}") from refused
    keeper = Keeper(where, Files(state=state, bundle=bundle, token=token), now)
    with json_log.logged(as_json=as_json):
        asyncio.run(_run(keeper, socket_path, listen, as_json=as_json))


async def _run(keeper: Keeper, socket_path: Path, listen: tuple[str, int] | None, *, as_json: bool) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = Agent(keeper, socket_path, now)
    watch = AgentWatch(
        keeper.holder, running.tally, Alerts(AGENT), now, lambda: None if keeper.link is None else keeper.link.svid
    )
    page = None if listen is None else MetricsServer(listen, watch.render, None)
    teller = _Teller(keeper, socket_path, as_json=as_json)

    def told(done: Round) -> None:
        watch.told(done)
        teller.told(done)

    try:
        teller.metrics_port = None if page is None else await _started(page)
        await running.run(stop, told)
    finally:
        if page is not None:
            await page.stop()


async def _started(page: MetricsServer) -> int:
    """Begin to serve the page; returns its port. Raises AuthorityError."""
    try:
        return await page.start()
    except OSError as refused:
        raise AuthorityError(refused.strerror or str(refused)) from refused


class _Teller:
    """Says what changes between rounds: ready, the authority away, the authority back."""

    def __init__(self, keeper: Keeper, socket_path: Path, *, as_json: bool) -> None:
        self._keeper, self._socket_path, self._as_json = keeper, socket_path, as_json
        self._ready = False
        self.metrics_port: int | None = None
        self._away = ""

    def told(self, done: Round) -> None:
        """Hear of a round."""
        if done.error and done.error != self._away:
            lasts = (
                "nothing is held" if done.lasts_until is None else f"what is held lasts until {text(done.lasts_until)}"
            )
            tell(
                self._as_json,
                f"smsgw agent: {done.error}; {lasts}",
                event="away",
                error=done.error,
                lasts_until=None if done.lasts_until is None else text(done.lasts_until),
            )
        elif not done.error and (self._away or not self._ready):
            held = len(self._keeper.holder.now.svids)
            event = "back" if self._ready else "ready"
            self._ready = True
            tell(
                self._as_json,
                f"smsgw agent: {event}, {held} identities at {self._socket_path}",
                event=event,
                identities=held,
                socket=str(self._socket_path),
                metrics_port=self.metrics_port,
            )
        self._away = done.error
