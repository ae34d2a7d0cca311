"""`smsgw dev`: the whole appliance on one machine, with a CA and a simulated carrier of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.cli.children import Child, ChildFailed, smsgw_command
from gateway.cli.collector import DevCollector
from gateway.cli.connection import DEFAULT_DIR, failures
from gateway.cli.dev_site import (
    CARRIER,
    DevFailed,
    DevSite,
    collector_address,
    renew_carrier,
    require_free,
    simulated,
)
from gateway.cli.first_messages import send_and_follow
from gateway.cli.manners import Exit, Failure, Misused, console, emit, json_option, shown
from gateway.cli.timeline import Timeline
from gateway.cli.trace_tree import as_json, trace_lines
from gateway.config.client_file import ClientSettings
from gateway.config.errors import ConfigError
from gateway.config.schema import Settings

_READY_S = 30.0
_RECEIPTS_S = 60.0
_TRACE_S = 15.0
_LAST_SPAN = "receipt "


@click.command(short_help="Run the whole appliance here, with a simulated carrier.")
@click.option("--once", is_flag=True, help="End after the first messages: 0 when each has its receipt, else 1.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="SMSGW_DIR",
    default=DEFAULT_DIR,
    show_default=True,
    help="Where everything is kept; SMSGW_DIR says the same.",
)
@json_option
def dev(once: bool, folder: Path, as_json: bool) -> None:
    """Run the whole appliance on this machine: certificate authority, gateway, and a simulated carrier over TLS.

    The first run makes all it needs in the folder: keys, certificates, configuration. Then it sends a GSM-7 message, a
    Hindi one, an emoji one and one of 400 characters through the API, shows each on its way to its receipt, and stays
    up until interrupted. smsgw.yaml and simulator.yaml in the folder may be edited, and `smsgw dev` run again; to begin
    anew, delete the folder.

    \b
    Examples:
      smsgw dev
      smsgw dev --once
      smsgw dev --dir /tmp/try
    """
    os.umask(0o077)
    site, tell = DevSite(folder), _Teller(as_json)
    try:
        if site.ensure():
            tell.step("made", f"made {folder}: a development CA, keys and configuration", dir=str(folder))
        with site.held(), failures():
            asyncio.run(_Appliance(site, tell, once).run())
    except (DevFailed, ConfigError) as error:
        raise Misused(str(error), reason="CANNOT_START") from error
    except ChildFailed as error:
        raise Failure(str(error), reason="PROCESS_ENDED") from error


class _Teller:
    """Says what happens, as text or as JSON."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def step(self, event: str, text: str, **fields: object) -> None:
        if self.as_json:
            emit({"event": event, **fields})
        else:
            click.echo("\n".join(shown(line) for line in text.splitlines()))


class _Appliance:
    """One run of `smsgw dev`."""

    def __init__(self, site: DevSite, tell: _Teller, once: bool) -> None:
        self._site = site
        self._tell = tell
        self._once = once
        self._stop = asyncio.Event()
        self._collector: DevCollector | None = None

    async def run(self) -> None:
        """Start everything, send the first messages, stay, and stop everything in the opposite order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        settings = self._site.settings()
        self._require_ports(settings)
        if self._once and not _only_simulated(settings):
            raise DevFailed(self._foreign())
        async with self._children(self._plan(settings), settings) as (children, ready):
            client = self._site.client(ready["api"], ready["admin"])
            work = asyncio.create_task(self._demonstrate(settings, client))
            stopping = asyncio.create_task(self._stop.wait())
            ends = [asyncio.create_task(_watch_end(child)) for child in children]
            try:
                await _first_of(work, stopping, *ends)
                if not self._once:
                    await _first_of(stopping, *ends)
                elif not work.done():
                    raise click.exceptions.Exit(Exit.INTERRUPTED)
            finally:
                await _cancelled(work, stopping, *ends)
        self._tell.step("stopped", "stopped")

    def _require_ports(self, settings: Settings) -> None:
        config = self._site.config
        if settings.api.listen.port:
            require_free(settings.api.listen.host, settings.api.listen.port, "api.listen", config)
        admin = settings.admin.listen
        if admin is not None and admin.port:
            require_free(admin.host, admin.port, "admin.listen", config)
        collector, metrics = collector_address(settings), settings.telemetry.metrics.listen
        if collector is not None:
            require_free(collector.host, collector.port, "telemetry.otlp.endpoint", config)
        if metrics is not None and metrics.port:
            require_free(metrics.host, metrics.port, "telemetry.metrics.listen", config)
        carrier = simulated(settings)
        if carrier is not None:
            require_free(carrier.host, carrier.port, f"the port of the carrier {CARRIER}", config)

    def _plan(self, settings: Settings) -> list[Child]:
        """Return the processes in the order of their start; the node, which needs the others, is the last."""
        folder, logs = self._site.folder, self._site.logs
        authority = ("--dir", str(folder / "ca"), "--svids", str(folder / "svids.yaml"))
        plan = [Child("the CA", smsgw_command("ca", "serve", "--json", *authority), logs / "ca.log")]
        carrier = simulated(settings)
        if carrier is not None:
            renew_carrier(folder)
            options = ["--listen", f"{carrier.host}:{carrier.port}", "--script", str(folder / "simulator.yaml")]
            options += ["--system-id", carrier.system_id]
            options += ["--password-file", str(folder / "keys" / f"{CARRIER}.password")]
            if carrier.tls is None:
                options += ["--plain"]
            else:
                options += ["--cert", str(folder / "carrier/carrier.pem"), "--key", str(folder / "carrier/carrier.key")]
            command = smsgw_command("simulator", "--json", "--quiet", *options)
            plan.append(Child("the simulated carrier", command, logs / "simulator.log"))
        serve = smsgw_command("serve", "--json", "--config", str(self._site.config))
        return [*plan, Child("the gateway", serve, logs / "gateway.log")]

    @contextlib.asynccontextmanager
    async def _children(
        self, plan: Sequence[Child], settings: Settings
    ) -> AsyncIterator[tuple[list[Child], dict[str, str]]]:
        """Start the processes, each when the one before is ready; stop them in the opposite order, come what may. The
        addresses are those of the gateway: api and admin."""
        running: list[Child] = []
        addresses = {"api": "", "admin": ""}
        try:
            for child in plan:
                if self._stop.is_set():
                    break
                ready = await child.start(_READY_S)
                running.append(child)
                if self._collector is None:  # behind the CA, which makes its certificate, and before the gateway
                    await self._collect(settings)
                addresses = {name: str(ready.get(name, known)) for name, known in addresses.items()}
                self._tell.step("started", f"{child.name} is ready", process=child.name)
            yield running, addresses
        finally:
            for child in reversed(running):
                await child.stop()
            if self._collector is not None:
                await self._collector.stop()

    async def _collect(self, settings: Settings) -> None:
        """Start the collector, unless the configuration names another one or none."""
        address = collector_address(settings)
        if address is not None:
            self._collector = self._site.collector()
            await self._collector.start(address)

    async def _demonstrate(self, settings: Settings, client: ClientSettings) -> None:
        """Send the first messages and say how to send more. Raises Failure when one has no receipt and that was all."""
        if not _only_simulated(settings):
            self._tell.step("no_messages", self._foreign())
        else:
            timelines = await send_and_follow(client, as_json=self._tell.as_json, deadline_s=_RECEIPTS_S)
            self._conclude(timelines)
            await self._show_trace(timelines[0])
        self._advise(client)

    async def _show_trace(self, timeline: Timeline) -> None:
        """Draw the way of one message, from the spans that the node has exported."""
        if self._collector is None:
            return
        spans = await self._collector.traces.when(timeline.trace_id, _told_to_the_end, _TRACE_S)
        if not spans:
            text = f"no trace came from the node within {_TRACE_S:g} s; its log is in {self._site.logs}"
            self._tell.step("trace_missing", text)
        elif self._tell.as_json:
            self._tell.step("trace", "", trace_id=timeline.trace_id, spans=as_json(spans))
        else:
            click.echo("")
            for line in trace_lines(spans, f"{timeline.label}: trace {timeline.trace_id}, from this caller's span"):
                console().print(line)

    def _foreign(self) -> str:
        return f"{self._site.config} has other carriers than {CARRIER}: no test messages are sent to them"

    def _conclude(self, timelines: Sequence[Timeline]) -> None:
        delivered = sum(timeline.delivered for timeline in timelines)
        text = f"{delivered} of {len(timelines)} messages delivered, each with its receipt"
        self._tell.step("messages", text, delivered=delivered, sent=len(timelines))
        if delivered < len(timelines):
            missing = ", ".join(timeline.label for timeline in timelines if not timeline.delivered)
            what = f"no delivery receipt for: {missing}; the logs are in {self._site.logs}"
            if self._once:
                raise Failure(what, reason="RECEIPT_MISSING")
            self._tell.step("missing", what)

    def _advise(self, client: ClientSettings) -> None:
        example = self._site.example(client)
        if self._once:
            return
        folder = shlex.quote(str(self._site.folder))
        text = f"""
Send one yourself, in another terminal:
  smsgw send --dir {folder} --to +4915112345678 --from ACME --category OTP --text 'Your code is 4711' --follow
  smsgw watch --dir {folder} --from-start
  smsgw status --dir {folder}
  smsgw carrier status --dir {folder}

Or in Python ({folder}/example.py; docs/client.md goes on from there):
"""
        code = "\n".join(f"  {line}" for line in example.splitlines()[1:])
        self._tell.step(
            "ready",
            f"{text}\n{code}\n\nThe gateway is at {client.target}, all logs in {self._site.logs}. Ctrl-C ends it all.",
            api=str(client.target),
            example=str(self._site.folder / "example.py"),
        )


def _told_to_the_end(spans: Sequence[Span]) -> bool:
    """Say whether call and receipt have come; what lies between has been sent before the receipt."""
    return any(span.name.startswith(_LAST_SPAN) for span in spans) and any(
        span.kind == Span.SPAN_KIND_SERVER for span in spans
    )


def _only_simulated(settings: Settings) -> bool:
    return [carrier.name for carrier in settings.carriers] == [CARRIER]


async def _watch_end(child: Child) -> None:
    """Raise ChildFailed when a process ends that should stay."""
    code = await child.wait()
    raise ChildFailed(f"{child.name} ended with exit code {code}; the end of its log:\n{child.tail()}")


async def _first_of(*tasks: asyncio.Task[object] | asyncio.Task[None] | asyncio.Task[bool]) -> None:
    """Return when one of the tasks is done. Raises what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancelled(*tasks: asyncio.Task[object] | asyncio.Task[None] | asyncio.Task[bool]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
