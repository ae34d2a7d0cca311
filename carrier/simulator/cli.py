"""`smsgw simulator`: the simulated SMSC, and the benchmarks' sink, as a command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import click

from carrier.simulator.control import ControlServer, Handler, simulator_handler
from carrier.simulator.errors import ScriptError
from carrier.simulator.script import Script
from carrier.simulator.script_file import read_script
from carrier.simulator.scripts import shipped
from carrier.simulator.simulator import Simulator
from carrier.simulator.sink import Sink
from carrier.simulator.smsc import Event, Received

_File = click.Path(dir_okay=False, path_type=Path)


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """Read HOST:PORT; port 0 takes a free one."""
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise click.BadParameter(f"{value!a} is not HOST:PORT, such as 127.0.0.1:2775", ctx, param)
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    listen: tuple[str, int]
    control: tuple[str, int] | None
    cert: Path | None
    key: Path | None
    client_ca: Path | None
    tls_max: str | None
    plain: bool
    log: Path | None
    sink: bool
    sink_window: int
    sink_arrivals: Path | None
    sink_delay: float
    as_json: bool
    quiet: bool


class Served(Protocol):
    """What both kinds of simulator have."""

    @property
    def port(self) -> int:
        """The port it listens on."""

    async def start(self) -> None:
        """Listen."""

    async def stop(self) -> None:
        """Close everything."""

    def stats(self) -> Mapping[str, float]:
        """Return all counts."""


@click.command()
@click.option(
    "--listen",
    callback=_address,
    default="127.0.0.1:2775",
    show_default=True,
    metavar="HOST:PORT",
    help="Where; port 0: a free one.",
)
@click.option("--cert", type=_File, help="PEM certificate chain for TLS.")
@click.option("--key", type=_File, help="Its private key, PEM, unencrypted.")
@click.option("--client-ca", type=_File, help="Require client certificates of this CA (PEM).")
@click.option("--tls-max", type=click.Choice(["1.2", "1.3"]), help="Its latest TLS version: 1.2 plays an old carrier.")
@click.option("--plain", is_flag=True, help="No TLS: loopback only.")
@click.option("--script", "script_path", type=_File, help="What to play, YAML; without it everything is delivered.")
@click.option("--row", type=click.IntRange(1, 32), help="Play the shipped script of this row of docs/carriers.md.")
@click.option("--system-id", help="Take only this system_id; goes before the script's.")
@click.option("--password-file", type=_File, help="Take only the password in this file; goes before the script's.")
@click.option(
    "--log", type=_File, help="Append 'destination<TAB>id<TAB>part/total<TAB>text' for each accepted submit_sm."
)
@click.option(
    "--control", callback=_address, metavar="HOST:PORT", help="Counts and commands as JSON lines, on loopback."
)
@click.option("--sink", is_flag=True, help="The fast sink of the benchmarks instead: accepts all, no script.")
@click.option("--sink-window", type=click.IntRange(1, 100_000), default=1000, show_default=True,
              help="Unanswered receipts of the sink on a connection.")  # fmt: skip
@click.option("--sink-arrivals", type=_File,
              help="Append 'destination<TAB>monotonic nanoseconds' for each submit_sm of the sink.")  # fmt: skip
@click.option("--sink-delay", type=click.FloatRange(0, 60), default=0.0, metavar="SECONDS",
              help="The sink answers so much later.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of text.")
@click.option("--quiet", is_flag=True, help="Only the line that says it is ready.")
def simulator(
    script_path: Path | None,
    row: int | None,
    system_id: str | None,
    password_file: Path | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Play a carrier's SMSC: takes messages, answers, sends receipts, over TLS.

    It sends nothing anywhere but to those who bind to it. Without a script it takes any credentials and delivers every
    message at once. When it listens it prints one line with its port; it ends at SIGTERM or SIGINT with its counts on
    stderr.

    \b
    Examples:
      smsgw ca dev-carrier --out carrier/
      smsgw simulator --cert carrier/carrier.pem --key carrier/carrier.key
      smsgw simulator --plain --listen 127.0.0.1:0 --script bad-day.yaml --log arrived.tsv
      smsgw simulator --plain --row 7

    \b
    A script (all keys may be left out):
      system_id: smsgw
      password: secret
      message_ids: hex                  # uuid, hex, decimal
      responses: {delay_s: 0.05, none_every: 1000}
      receipts:
        delay_s: 0.5
        states: [DELIVRD, UNDELIV]      # in turn
        rules: [{destination_suffix: "00", state: EXPIRED, error: "027"}]
        form: both                      # both, text, tlv
        ids: decimal                    # same, hex, decimal
        before_response: false
        duplicates: 0
      errors:
        - {destination_prefix: "99", status: ESME_RINVDSTADR}
        - {every: 50, status: ESME_RSYSERR, times: 3}
      throttle: {rate_s: 100}
      disconnect_after: 5000
      inbound: [{at_s: 2, from: "+4915112345678", to: "12345", text: STOP}]

    \b
    The control port (--control 127.0.0.1:0) sends the counts at once, then answers commands:
      {"inbound": {"from": "+4915112345678", "to": "12345", "text": "hi"}}
      {"disconnect": true}
      {"stats": true}

    Scripts have many more keys, for what real carriers do: dialects of ids and receipts, odd answers, binds and windows
    that are capped, TLVs that are required or make no sense, handsets' messages in any encoding. Each is documented in
    carrier/simulator/script_flow.py and script_deliveries.py; carrier/simulator/scripts has one for each row of
    docs/carriers.md.
    """
    options = Options(as_json=as_json, **rest)
    try:
        if row is not None and script_path is not None:
            raise click.UsageError("--row plays a script of its own: leave out --row, or --script")
        script = _script(shipped()[row] if row is not None else script_path, system_id, password_file)
        if options.sink_arrivals and not options.sink:
            raise click.UsageError("--sink-arrivals is for --sink: leave it out, or add --sink")
        if options.sink and (script != Script() or options.log):
            raise click.UsageError("--sink plays no script and writes no log: leave out --sink or the others")
        context = _context(options)
        run = _run(options, script, context)
        problem = _with_uvloop(run) if options.sink else asyncio.run(run)
    except ScriptError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen or write: {error}") from error
    if problem:
        raise click.ClickException(problem)


def _with_uvloop(run: Any) -> str:
    import uvloop

    return str(uvloop.run(run) or "")


def _script(path: Path | None, system_id: str | None, password_file: Path | None) -> Script:
    script = read_script(path) if path else Script()
    if system_id is not None:
        script = replace(script, system_id=system_id)
    if password_file is not None:
        try:
            password = password_file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ScriptError(f"{password_file}: {error}; give --password-file a readable text file") from error
        script = replace(script, password=password)
    return script


def _context(options: Options) -> ssl.SSLContext | None:
    """Return the server's TLS context, None for plain. Raises UsageError or ScriptError saying what to do."""
    if options.plain:
        if options.cert or options.key or options.client_ca or options.tls_max:
            raise click.UsageError("--plain is without TLS: leave out --plain, or --cert, --key and the like")
        return None
    if not (options.cert and options.key):
        raise click.UsageError(
            "TLS needs --cert and --key; `smsgw ca dev-carrier --out DIR` makes a pair for tests. "
            "On loopback, --plain goes without."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.tls_max == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.cert, options.key, password=lambda: b"")
        if options.client_ca:
            context.load_verify_locations(options.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(str(path) for path in (options.cert, options.key, options.client_ca) if path)
        raise ScriptError(f"{names}: {error}; they must be a PEM chain, its unencrypted key, and PEM CAs") from error
    return context


async def _run(options: Options, script: Script, context: ssl.SSLContext | None) -> str:
    """Serve until a signal; returns what went wrong, or ""."""
    host, port = options.listen
    served: Served
    stopping = asyncio.Event()
    if options.sink:
        sink = Sink(
            context,
            host=host,
            port=port,
            plain=options.plain,
            window=options.sink_window,
            arrivals=options.sink_arrivals,
            delay_s=options.sink_delay,
        )
        served, handler = sink, _sink_handler(sink)
    else:
        smsc = Simulator(
            script,
            context,
            host=host,
            port=port,
            plain=options.plain,
            log_path=options.log,
            on_event=None if options.quiet else _teller(options.as_json),
            on_failure=stopping.set,
        )
        served, handler = smsc, simulator_handler(smsc)
    control = ControlServer(handler, host=options.control[0], port=options.control[1]) if options.control else None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await served.start()
        if control:
            await control.start()
        _say_ready(options, served.port, control)
        await stopping.wait()
    finally:
        if control:
            await control.stop()
        stats = json.dumps(served.stats()) if _started(served) else ""
        await served.stop()
    click.echo(stats, err=True)
    return served.failure if isinstance(served, Simulator) else ""


def _started(served: Served) -> bool:
    with contextlib.suppress(RuntimeError):
        return served.port > 0
    return False


def _say_ready(options: Options, port: int, control: ControlServer | None) -> None:
    kind = "sink" if options.sink else "simulator"
    host = options.listen[0]
    if options.as_json:
        ready: dict[str, object] = {
            "event": "ready",
            "kind": kind,
            "host": host,
            "port": port,
            "tls": not options.plain,
        }
        if control:
            ready["control_port"] = control.port
        click.echo(json.dumps(ready))
    else:
        where = f", control 127.0.0.1:{control.port}" if control else ""
        click.echo(f"{kind} ready on {host}:{port} ({'plain' if options.plain else 'TLS'}{where})")
    sys.stdout.flush()


def _sink_handler(sink: Sink) -> Handler:
    def handle(line: str) -> object:
        del line
        return sink.stats()

    return handle


def _teller(as_json: bool) -> Callable[[Event], None]:
    """Return what prints events."""

    def tell(event: Event) -> None:
        click.echo(json.dumps(_as_json(event), ensure_ascii=False) if as_json else _as_text(event))

    return tell


def _as_json(event: Event) -> dict[str, object]:
    if not isinstance(event, Received):
        return {"event": event.name, "detail": event.detail}
    found: dict[str, object] = {
        "event": "accepted", "message_id": event.message_id, "from": event.source, "to": event.destination,
        "part": event.part, "total": event.total, "text": event.text, "data_coding": event.submit.data_coding,
    }  # fmt: skip
    return found | ({"message": event.whole} if event.whole is not None else {})


def _as_text(event: Event) -> str:
    if not isinstance(event, Received):
        return f"{event.name.replace('_', ' ')}: {event.detail}"
    part = f" part {event.part} of {event.total}" if event.total > 1 else ""
    text = event.whole if event.whole is not None else "..."
    shown = "".join(char if char.isprintable() else " " for char in text)
    return f"{event.source} → {event.destination}{part}: {shown}"
