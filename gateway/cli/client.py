"""The commands that call a node over its API: send, get, cancel, watch; and status, which asks the node beside it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Any, BinaryIO

import click

from gateway.cli.connection import client_settings, connection_options, run
from gateway.cli.following import following
from gateway.cli.manners import Exit, Failure, Misused, console, emit, json_option, shown
from gateway.cli.render import as_json as to_json
from gateway.cli.render import event_line, is_final, message_lines, segments_text, state_text
from gateway.cli.status import status
from gateway.client import CALL_TIMEOUT_S, CallFailed, connect, explained
from gateway.client import watch as watch_events
from gateway.config.client_file import ClientSettings
from gateway.config.kinds import Duration
from gateway.states import Category, State
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api

__all__ = ["cancel", "get", "send", "status", "watch"]

_MAX_TEXT_BYTES = 65_536


class _DurationType(click.ParamType[float]):
    """A duration such as 30s; seconds."""

    name = "DURATION"

    def __init__(self, low: str, high: str) -> None:
        self._kind = Duration(low=low, high=high)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        try:
            return self._kind.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(short_help="Send one message, and follow it to its receipt.")
@click.option("--to", "recipient", required=True, help="The recipient in E.164: +4915112345678.")
@click.option("--from", "sender", required=True, help="Alphanumeric (at most 11), a short code, or a number.")
@click.option(
    "--category",
    required=True,
    type=click.Choice([category.name.lower() for category in Category], case_sensitive=False),
    help="OTP goes before transactional before promotional.",
)
@click.option("--text", help="The text.")
@click.option("--file", "file", type=click.File("rb"), help="A UTF-8 file with the text, - for standard input; one "
              "line end at its end is left out.")  # fmt: skip
@click.option("--validity", type=_DurationType("5s", "7d"), help="5s to 7d; left out: the category's default.")
@click.option(
    "--not-before", type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]), help="Not before this local time."
)
@click.option("--key", help="An idempotency key: the same key and content again is the same message.")
@click.option("--ref", help="Your own id for the message, returned with it.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be given up to 16 times.")
@click.option("--sealed", is_flag=True, help="Encrypt the text: only the node's carrier link opens it.")
@click.option("--follow", is_flag=True, help="Show each state until the final one; exit 0 only when it is delivered.")
@click.option(
    "--timeout", "timeout_s", type=_DurationType("1s", "8d"), default="10m", show_default=True, help="For --follow."
)
@connection_options
@json_option
def send(as_json: bool, follow: bool, sealed: bool, timeout_s: float, **options: Any) -> None:
    """Send one message. The node answers when the message is on its disk.

    With --follow the exit code tells how it went: 0 delivered, 1 not (or not in time).

    \b
    Examples:
      smsgw send --to +4915112345678 --from ACME --category otp --text 'Your code is 4711' --follow
      echo 'नमस्ते' | smsgw send --to +919812345678 --from 80800 --category transactional --file -
      smsgw send --to +4915112345678 --from ACME --category promotional --text Hello \\
          --validity 2h --key newsletter-17/4711 --label campaign=spring --json
    """
    settings = client_settings(options)
    message = _outbound(**options)
    if follow:
        run(_send_and_follow(settings, message, timeout_s, as_json, sealed=sealed))
    else:
        run(_send(settings, message, as_json, sealed=sealed))


def _outbound(
    *,
    recipient: str,
    sender: str,
    category: str,
    text: str | None,
    file: BinaryIO | None,
    validity: float | None,
    not_before: dt.datetime | None,
    key: str | None,
    ref: str | None,
    labels: Sequence[str],
) -> pb.OutboundMessage:
    message = pb.OutboundMessage(
        recipient=recipient,
        sender=sender,
        category=pb.Category.Value(f"CATEGORY_{category.upper()}"),
        content=pb.Content(text=_text(text, file)),
        idempotency_key=key or "",
        client_reference=ref or "",
        labels=dict(_label(label) for label in labels),
    )
    if validity is not None:
        message.validity.FromTimedelta(dt.timedelta(seconds=validity))
    if not_before is not None:
        message.not_before.FromDatetime(not_before.astimezone(dt.UTC))
    return message


def _text(text: str | None, file: BinaryIO | None) -> str:
    if (text is None) == (file is None):
        raise click.UsageError("Give the text by --text or by --file, one of them.")
    if file is None:
        return text or ""
    octets = file.read(_MAX_TEXT_BYTES + 1)
    if len(octets) > _MAX_TEXT_BYTES:
        raise Misused(f"--file: longer than {_MAX_TEXT_BYTES} bytes", reason="TEXT_TOO_LONG")
    try:
        return octets.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Misused(f"--file: not UTF-8 at byte {error.start}", reason="TEXT_NOT_UTF8") from error


def _label(label: str) -> tuple[str, str]:
    key, equals, value = label.partition("=")
    if not equals or not key:
        raise click.UsageError(f"--label wants KEY=VALUE; {label!a} is not")
    return key, value


async def _accept(settings: ClientSettings, message: pb.OutboundMessage, *, sealed: bool) -> pb.AcceptedMessage:
    async with connect(settings) as stub:
        with explained(settings):
            if sealed:
                from gateway.cli.sealing import seal_text

                await seal_text(stub, message)
            response = await stub.SendMessage(api.SendMessageRequest(message=message), timeout=CALL_TIMEOUT_S)
    return response.accepted


async def _send(settings: ClientSettings, message: pb.OutboundMessage, as_json: bool, *, sealed: bool) -> None:
    accepted = await _accept(settings, message, sealed=sealed)
    _show_accepted(accepted, as_json)


def _show_accepted(accepted: pb.AcceptedMessage, as_json: bool) -> None:
    if as_json:
        emit(to_json(accepted))
        return
    words = [accepted.message_id, accepted.masked_recipient]
    if accepted.HasField("segments"):
        words.append(segments_text(accepted.segments))
    if accepted.replayed:
        words.append("sent earlier with this key")
    line = state_text(accepted.state).append("  " + "  ".join(shown(word) for word in words), style="none")
    console().print(line)


async def _send_and_follow(
    settings: ClientSettings, message: pb.OutboundMessage, timeout_s: float, as_json: bool, *, sealed: bool
) -> None:
    """Attach to the events first, so that none of the message's is missed."""
    try:
        async with following(settings, _tell_lost) as follower:
            accepted = await _accept(settings, message, sealed=sealed)
            _show_accepted(accepted, as_json)
            if is_final(accepted.state):  # sent earlier with the same key
                state: int = accepted.state
            else:
                async with asyncio.timeout(timeout_s):
                    last = await follower.until_final(
                        {accepted.message_id}, lambda event: _show_event(event, as_json, skip_accepted=True)
                    )
                state = last[accepted.message_id].state
    except TimeoutError:
        raise Failure(
            "there was no final state in time; ask again with `smsgw get`, or go on with `smsgw watch`",
            reason="NOT_IN_TIME",
        ) from None
    if state != State.DELIVERED:
        raise Failure(f"the message was not delivered: {State(state).name}", reason=f"MESSAGE_{State(state).name}")


def _show_event(event: pb.Event, as_json: bool, *, skip_accepted: bool = False) -> None:
    if (
        skip_accepted
        and event.state_change.state == pb.MESSAGE_STATE_ACCEPTED
        and not event.state_change.HasField("reason")
    ):
        return  # said already
    if as_json:
        emit(to_json(event))
    else:
        console().print(event_line(event))


def _tell_lost(failed: CallFailed, wait_s: float) -> None:
    console(stderr=True).print(f"smsgw: {shown(failed.text)}; trying again in {wait_s:g} s")


def _show(message: pb.Message, as_json: bool) -> None:
    if as_json:
        emit(to_json(message))
        return
    for line in message_lines(message):
        console().print(line)


@click.command(short_help="Show one message as it stands.")
@click.argument("message_id")
@connection_options
@json_option
def get(message_id: str, as_json: bool, **options: Any) -> None:
    """Show one message as it stands: state, times, carrier, the carrier's ids, and why.

    \b
    Example:
      smsgw get 01932c07-7d4c-7a51-8000-2d1f3c5b7a90
    """
    settings = client_settings(options)

    async def work() -> pb.Message:
        async with connect(settings) as stub:
            with explained(settings):
                response = await stub.GetMessage(api.GetMessageRequest(message_id=message_id), timeout=CALL_TIMEOUT_S)
        return response.message

    _show(run(work()), as_json)


@click.command(short_help="Withdraw a message, at its carrier when it has left.")
@click.argument("message_id")
@connection_options
@json_option
def cancel(message_id: str, as_json: bool, **options: Any) -> None:
    """Withdraw a message; one that has left is withdrawn at its carrier. Exits 1 when it is too late, or the carrier
    does not do that.

    \b
    Example:
      smsgw cancel 01932c07-7d4c-7a51-8000-2d1f3c5b7a90
    """
    settings = client_settings(options)

    async def work() -> pb.Message:
        async with connect(settings) as stub:
            with explained(settings):
                response = await stub.CancelMessage(
                    api.CancelMessageRequest(message_id=message_id), timeout=CALL_TIMEOUT_S
                )
        return response.message

    _show(run(work()), as_json)


@click.command(short_help="Follow the tenant's events: state changes and inbound messages.")
@click.option("--cursor", default="", help="Go on after this event.")
@click.option("--from-start", is_flag=True, help="Begin with the oldest event kept, instead of the next one.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many events.")
@connection_options
@json_option
def watch(cursor: str, from_start: bool, limit: int | None, as_json: bool, **options: Any) -> None:
    """Follow the tenant's events, one a line, until interrupted. A lost connection is taken up again without a gap.

    The cursor of the last event is printed at the end (with --json it is in each): with it, the next watch goes on
    exactly there.

    \b
    Examples:
      smsgw watch
      smsgw watch --from-start --limit 100 --json
      smsgw watch --cursor "$LAST"
    """
    if cursor and from_start:
        raise click.UsageError("Give --cursor or --from-start, not both.")
    settings = client_settings(options)
    start = api.WATCH_START_OLDEST if from_start else api.WATCH_START_NOW
    last = [cursor]
    try:
        run(_watch(settings, api.WatchEventsRequest(cursor=cursor, start=start), limit, as_json, last))
    except KeyboardInterrupt:
        _tell_cursor(last[0], as_json)
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None
    _tell_cursor(last[0], as_json)


async def _watch(
    settings: ClientSettings, request: api.WatchEventsRequest, limit: int | None, as_json: bool, last: list[str]
) -> None:
    seen = 0
    responses = watch_events(settings, request, on_lost=_tell_lost)
    try:
        async for response in responses:
            for event in response.events:
                _show_event(event, as_json)
                last[0] = event.cursor
                seen += 1
                if seen == limit:
                    return
            last[0] = response.cursor or last[0]
    finally:
        await responses.aclose()


def _tell_cursor(cursor: str, as_json: bool) -> None:
    if cursor and not as_json:
        click.echo(f"smsgw: go on with: smsgw watch --cursor {shown(cursor)}", err=True)
