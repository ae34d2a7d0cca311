"""A node that is alone keeps nothing in memory for carriers that are all away, and sends first what ends first."""

from __future__ import annotations

from pathlib import Path

import pytest

from carrier.contract import LinkState, Submission
from gateway.errors import Unavailable
from gateway.pipeline import handing
from gateway.pipeline.outcomes import Attempt
from gateway.states import Category
from gateway.store.nodes import Released
from smsgw.v1 import message_pb2
from tests.gateway.pipeline.rig import CALLER, SECOND, Rig, running

TRANSACTIONAL = Category.TRANSACTIONAL


async def send(rig: Rig, *validities_s: int) -> list[bytes]:
    """Accept messages that are valid for so long, with one commit each."""
    ids: list[bytes] = []
    for validity_s in validities_s:
        message = message_pb2.OutboundMessage(
            recipient="+4915112345678",
            sender="ACME",
            category=message_pb2.CATEGORY_TRANSACTIONAL,
            content=message_pb2.Content(text="hello"),
        )
        message.validity.FromSeconds(validity_s)
        (accepted,) = await rig.intake.accept(CALLER, [rig.validator.draft(message, rig.now, "message")])
        ids.append(accepted.id)
    return ids


async def in_queues(rig: Rig) -> tuple[int, int]:
    """Return how many messages wait in the store, and how many are claimed."""
    counts = await rig.store.counts()
    return counts.get("queue.WAITING_TRANSACTIONAL", 0), counts.get("queue.CLAIMED", 0)


def ids_of(held: list[Submission]) -> list[bytes]:
    """Return which messages a link holds."""
    return [each.key.message.id for each in held if isinstance(each.key, Attempt)]


async def forsaken(rig: Rig) -> None:
    """Let more time pass than a node keeps messages in memory for no carrier."""
    lane = rig.pipeline.lanes[TRANSACTIONAL]
    rig.link.state = LinkState.BACKOFF
    await rig.until(lambda: rig.pipeline.handing._away_since > 0)
    rig.now += 6 * SECOND
    await rig.until(lambda: lane.size == 0 and not rig.pipeline.handing._returning)


async def test_what_ends_first_goes_first(tmp_path: Path) -> None:
    """After some seconds without a carrier all is in the store, also what comes then; nothing is claimed until the
    carrier is back, and then it goes in the order of its end."""
    async with running(tmp_path, window=50) as rig:
        rig.link.state = LinkState.BACKOFF
        slow, quick = await send(rig, 9000, 900)
        assert rig.pipeline.lanes.sizes()["TRANSACTIONAL"] == 2
        await forsaken(rig)
        slower, quicker = await send(rig, 9900, 600)
        await rig.pipeline._look()
        assert await in_queues(rig) == (4, 0)
        rig.link.come_back()
        await rig.until(lambda: len(rig.link.held) == 4)
        assert ids_of(rig.link.held) == [quicker, quick, slow, slower]


async def test_a_carrier_that_is_soon_back(tmp_path: Path) -> None:
    """What came in the seconds before it is back goes from memory at once."""
    async with running(tmp_path, window=50) as rig:
        rig.link.state = LinkState.BACKOFF
        sent = await send(rig, 9000, 900)
        await rig.until(lambda: rig.pipeline.handing._away_since > 0)
        rig.now += 4 * SECOND
        rig.link.come_back()
        await rig.until(lambda: len(rig.link.held) == 2)
        assert ids_of(rig.link.held) == sent
        await rig.until(lambda: rig.pipeline.handing._away_since == 0)


async def test_it_goes_in_pieces_and_again_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction takes so many rows at most; what the store refuses for a moment is given back after that."""
    monkeypatch.setattr(handing, "_BATCH", 10)
    async with running(tmp_path, window=50) as rig:
        sizes: list[int] = []
        release = rig.store.release

        async def counted(batch: list[Released]) -> int:
            sizes.append(len(batch))
            if len(sizes) == 2:
                raise Unavailable("not now")
            return await release(batch)

        monkeypatch.setattr(rig.store, "release", counted)
        rig.link.state = LinkState.BACKOFF
        await rig.send(25, TRANSACTIONAL)
        await forsaken(rig)
        assert (max(sizes), sum(sizes)) == (10, 35)  # ten of them twice
        assert await in_queues(rig) == (25, 0)
        rig.link.come_back()
        await rig.until(lambda: len(rig.link.held) == 25)
