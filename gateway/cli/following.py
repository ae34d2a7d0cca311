"""Following messages to their ends through WatchEvents: for `send --follow` and for the first messages of `dev`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection

from gateway.cli.render import is_final
from gateway.client import CallFailed, watch
from gateway.config.client_file import ClientSettings
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api

_ATTACH_S = 15.0


class Follower:
    """The tenant's events from the moment it was attached on."""

    def __init__(self, responses: AsyncIterator[api.WatchEventsResponse]) -> None:
        self._responses = responses

    async def until_final(
        self, message_ids: Collection[str], on_event: Callable[[pb.Event], None]
    ) -> dict[str, pb.StateChange]:
        """Give each event of these messages to `on_event`; return their last state changes when all are final."""
        last: dict[str, pb.StateChange] = {}
        waiting = set(message_ids)
        while waiting:
            response = await anext(self._responses)
            for event in response.events:
                change = event.state_change
                if event.WhichOneof("kind") == "state_change" and change.message_id in message_ids:
                    on_event(event)
                    last[change.message_id] = change
                    if is_final(change.state):
                        waiting.discard(change.message_id)
        return last


@contextlib.asynccontextmanager
async def following(settings: ClientSettings, on_lost: Callable[[CallFailed, float], None]) -> AsyncIterator[Follower]:
    """Attach to the tenant's events: what happens from now on is seen, also across lost connections.

    Raises CallFailed or IdentityUnusable when the node cannot be reached or refuses; TimeoutError when it is silent.
    """
    request = api.WatchEventsRequest(start=api.WATCH_START_NOW)
    responses = watch(settings, request, on_lost=on_lost)
    try:
        async with asyncio.timeout(_ATTACH_S):
            await anext(responses)  # comes at once, and says where the watch stands
        yield Follower(responses)
    finally:
        await responses.aclose()
