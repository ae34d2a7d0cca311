"""`smsgw serve`: runs a node until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import uvloop

from carrier.errors import CarrierError
from certs.errors import CertsError, NoIdentity
from gateway.cli import logs
from gateway.cli.inspection import before_start
from gateway.cli.manners import Failure, Misused, emit, json_option
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.errors import GatewayError, Unavailable
from gateway.heap import settle_heap
from gateway.node import Node
from gateway.redaction import redact
from gateway.revocation.errors import DenyListError
from visibility import core_log

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_EXPECTED = (GatewayError, CertsError, CarrierError, DenyListError, OSError, ValueError)


@click.command(short_help="Run a node.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="smsgw.yaml",
    show_default=True,
    help="The node's configuration.",
)
@json_option
def serve(config: Path, as_json: bool) -> None:
    """Run a node until SIGTERM or SIGINT. It prints one line when it is ready; its log goes to standard error.

    The first signal drains: no new calls, running ones and unanswered PDUs are finished, within api.drain_timeout. A
    second one ends the process at once; nothing that was acknowledged is lost either way. SIGHUP reloads the
    configuration, as `smsgw reload` does.

    \b
    Examples:
      smsgw serve
      smsgw serve --config /etc/smsgw/smsgw.yaml --json
    """
    _harden()
    settings = _load(config)
    logs.set_up(settings.log)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, as_json))
    except Exception as error:  # the top of the process
        causes = tuple(_causes(error))
        if not all(isinstance(cause, _EXPECTED) for cause in causes):
            log.exception("node_failed")
        text = "; ".join(dict.fromkeys(_said(cause) for cause in causes))
        misused = all(isinstance(cause, CertsError | ValueError) for cause in causes)
        kind = Misused if misused and not any(isinstance(cause, NoIdentity) for cause in causes) else Failure
        raise kind(f"the node ended: {text}", reason="NODE_ENDED") from error


async def _run(settings: Settings, as_json: bool) -> None:
    """Start the node, say so, and stop it at the first signal; after that, a signal has its usual effect."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def first_signal(number: signal.Signals) -> None:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        log.info("stopping", extra={"signal": number.name})
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, first_signal, number)
    node = Node(settings, core_log=core_log.present())
    try:
        if await _started(node, stop):
            settle_heap()
            with _reloading(node, loop):
                _tell_ready(settings, node, as_json)
                await node.run_until(stop)
    finally:
        await node.stop()


async def _started(node: Node, stop: asyncio.Event) -> bool:
    """Start the node; False when it is told to stop before it is ready. Raises what made it fail."""
    starting, stopped = asyncio.create_task(node.start()), asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():
        await node.stop()
        with contextlib.suppress(Unavailable):  # it says that it was not ready, and it was not to be
            await starting
        return False
    await starting
    return True


@contextlib.contextmanager
def _reloading(node: Node, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let SIGHUP reload the configuration, one at a time; what becomes of it is logged."""
    under_way: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            changes = await node.reload()
        except GatewayError as error:
            log.error("configuration_not_reloaded", extra={"why": str(error)})
        else:
            log.info("reloaded_by_signal", extra={"changes": changes})

    def hang_up() -> None:
        if not under_way:
            task = loop.create_task(reload())
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the node is going down: there is nothing to reload


def _tell_ready(settings: Settings, node: Node, as_json: bool) -> None:
    name, carriers = settings.node.name, len(settings.carriers)
    if as_json:
        addresses = {"api": node.api_address, "admin": node.admin_address}
        emit({"event": "ready", "node": name, **addresses, "carriers": carriers, "pid": os.getpid()})
    else:
        admin = f", admin {node.admin_address}" if node.admin_address else ""
        click.echo(f"smsgw {name} ready: api {node.api_address or 'none'}{admin}, carriers {carriers}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what is in a group of exceptions, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error


def _said(cause: BaseException) -> str:
    if not isinstance(cause, _EXPECTED):
        return f"{type(cause).__name__}, see the log"
    return redact(str(cause)) if isinstance(cause, ValueError) else str(cause)  # any library raises ValueErrors


def _harden() -> None:
    """No core dumps, which would hold keys and texts; no file that others can read."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)


def _load(config: Path) -> Settings:
    """Return the settings, when all that they name can be used. Raises Misused with every problem."""
    try:
        settings = load(config)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    problems = [finding for finding in before_start(settings, dt.datetime.now(dt.UTC)) if not finding.ok]
    if problems:
        text = "\n".join(f"{problem.subject}: {problem.problem}\n  → {problem.advice}" for problem in problems)
        raise Misused(f"{text}\n`smsgw check --config {config}` shows all of it", reason="BAD_CONFIGURATION")
    return settings
