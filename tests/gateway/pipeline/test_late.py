"""Answers that come after their submissions were in doubt."""

from __future__ import annotations

from pathlib import Path

import pytest

from carrier.contract import Outcome
from gateway.states import Category, State
from tests.gateway.pipeline.rig import receipt, running


async def test_a_late_answer_ends_the_doubt(tmp_path: Path) -> None:
    """UNKNOWN becomes SUBMITTED, with the carrier's id, and the receipt finds it."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(category=Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 1)
        (submission,) = rig.link.held
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        await rig.reach(accepted.id, State.UNKNOWN)
        rig.link.answer_late(submission, "late-1")
        await rig.reach(accepted.id, State.SUBMITTED)
        rig.link.deliver(receipt("late-1"))
        await rig.reach(accepted.id, State.DELIVERED)


async def test_a_late_answer_of_one_part(tmp_path: Path) -> None:
    """Of a long message each late answer gives its id; the message is SUBMITTED when none is missing."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(text="long " * 60, category=Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 2)
        first, second = rig.link.held
        rig.link.finish(2, outcome=Outcome.IN_DOUBT)
        await rig.reach(accepted.id, State.UNKNOWN)
        rig.link.answer_late(first, "late-1")
        await rig.pipeline._settler.drained()
        assert await rig.state(accepted.id) is State.UNKNOWN
        rig.link.answer_late(second, "late-2")
        await rig.reach(accepted.id, State.SUBMITTED)
        rig.link.deliver(receipt("late-1"), receipt("late-2"))
        await rig.reach(accepted.id, State.DELIVERED)


async def test_a_late_answer_before_the_other_parts(tmp_path: Path) -> None:
    """A late answer that comes while other parts are awaited takes the doubt away before it is told."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(text="long " * 60, category=Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 2)
        first = rig.link.held[0]
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        rig.link.answer_late(first, "late-1")
        rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)
        row = await rig.store.get_message("demo", accepted.id)
        assert row is not None
        assert row.carrier_ids.startswith("late-1\n")


@pytest.mark.parametrize("status", [0, 0x0B])
async def test_a_late_answer_while_it_is_sent_again(tmp_path: Path, status: int) -> None:
    """Once the message is on its way again the new attempt decides; a late refusal changes nothing at all."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(category=Category.OTP)
        await rig.until(lambda: len(rig.link.held) == 1)
        (submission,) = rig.link.held
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.answer_late(submission, "late-1" if not status else "", status)
        await rig.pipeline._settler.drained()
        assert await rig.state(accepted.id) is State.SENDING
        rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)


async def test_nothing_is_left_to_send_again(tmp_path: Path) -> None:
    """Of a long message that is to be sent again each part turns out to have arrived: it is not sent, and not lost."""
    async with running(tmp_path) as rig:
        (accepted,) = await rig.send(text="long " * 60, category=Category.OTP)
        await rig.until(lambda: len(rig.link.held) == 2)
        first = rig.link.held[0]
        rig.link.held.reverse()
        (second_id,) = rig.link.finish(1)
        rig.link.deliver(receipt("late-1"))  # before its response, which is late
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.answer_late(first, "late-1")  # while its copy is on its way, so that the copy's outcome decides
        await rig.pipeline._settler.drained()
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        await rig.reach(accepted.id, State.SUBMITTED)
        assert rig.link.held == []
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0)
        rig.link.deliver(receipt(second_id))
        await rig.reach(accepted.id, State.DELIVERED)
