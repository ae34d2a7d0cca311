"""The first messages of `smsgw dev`: sent through the API with the stubs, and followed to their receipts."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence

from rich.console import Group
from rich.live import Live

from gateway.cli.following import following
from gateway.cli.manners import console, emit
from gateway.cli.render import as_json as to_json
from gateway.cli.render import event_line
from gateway.cli.timeline import Timeline
from gateway.client import CALL_TIMEOUT_S, CallFailed, connect, explained
from gateway.config.client_file import ClientSettings
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api

LONG_TEXT = (
    "This text of 400 characters is longer than one SMS. The gateway cuts it into parts that a handset joins again, "
    "sends each as a submit_sm of its own, and waits for the receipt of every one of them: the message is delivered "
    "when all of its parts are. A handset shows a long text only when it has the whole of it, so the first part that "
    "fails decides. "
).ljust(397, ".") + "End"

MESSAGES = (
    ("GSM-7", pb.CATEGORY_OTP, "+4915112345678", "Your code is 4711. It is valid for five minutes."),
    ("Hindi", pb.CATEGORY_TRANSACTIONAL, "+919812345678", "नमस्ते! आपका ऑर्डर भेज दिया गया है।"),
    ("emoji", pb.CATEGORY_TRANSACTIONAL, "+447400123456", "Your parcel is at the door 📦🎉"),
    ("400 characters", pb.CATEGORY_PROMOTIONAL, "+33612345678", LONG_TEXT),
)


def _outbound(category: pb.Category.ValueType, recipient: str, text: str) -> pb.OutboundMessage:
    return pb.OutboundMessage(
        recipient=recipient, sender="smsgw", category=category, content=pb.Content(text=text), labels={"made-by": "dev"}
    )


async def send_and_follow(settings: ClientSettings, *, as_json: bool, deadline_s: float) -> list[Timeline]:
    """Send the messages, show their timelines, and return them as they stand when all are final or time is up.

    Raises CallFailed or IdentityUnusable when the node refuses or is lost for good.
    """
    async with following(settings, lambda _failed, _wait_s: None) as follower:
        timelines = [await _send(settings, *message) for message in MESSAGES]
        by_id = {timeline.accepted.message_id: timeline for timeline in timelines}
        with _shown(timelines, as_json) as show:

            def take(event: pb.Event) -> None:
                by_id[event.state_change.message_id].add(event)
                show(event)

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline_s):
                    await follower.until_final(by_id.keys(), take)
            await _carrier_ids(settings, timelines)
    return timelines


async def _send(settings: ClientSettings, label: str, category: pb.Category.ValueType, to: str, text: str) -> Timeline:
    request = api.SendMessageRequest(message=_outbound(category, to, text))
    # What the tracing of a caller would send: the ids of its own span.
    trace_id, span_id = (
        secrets.token_hex(16),
        secrets.token_hex(8),
    )
    metadata = (("traceparent", f"00-{trace_id}-{span_id}-01"),)
    async with connect(settings) as stub:
        with explained(settings):
            response = await stub.SendMessage(request, timeout=CALL_TIMEOUT_S, metadata=metadata)
    return Timeline(label, response.accepted, trace_id=trace_id)


async def _carrier_ids(settings: ClientSettings, timelines: Sequence[Timeline]) -> None:
    """Add the ids that the carrier gave; a node that is gone leaves them out."""
    with contextlib.suppress(CallFailed):
        async with connect(settings) as stub:
            with explained(settings):
                for timeline in timelines:
                    request = api.GetMessageRequest(message_id=timeline.accepted.message_id)
                    response = await stub.GetMessage(request, timeout=CALL_TIMEOUT_S)
                    timeline.carrier_ids = tuple(response.message.carrier_message_ids)


@contextlib.contextmanager
def _shown(timelines: Sequence[Timeline], as_json: bool) -> Iterator[Callable[[pb.Event], None]]:
    """Give a function that shows each event: in place on a terminal, as lines elsewhere, as JSON when asked."""
    out = console()
    if as_json:
        yield lambda event: emit({"event": "state", **to_json(event)})
    elif out.is_terminal:
        with Live(console=console(wrap=True), refresh_per_second=10) as live:
            yield lambda _event: live.update(_group(timelines))
            live.update(_group(timelines), refresh=True)
    else:
        yield lambda event: out.print(event_line(event))
        out.print(_group(timelines))


def _group(timelines: Sequence[Timeline]) -> Group:
    return Group(*(line for timeline in timelines for line in timeline.lines()))
