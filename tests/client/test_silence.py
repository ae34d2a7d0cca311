"""A node that takes frames and does not answer: the stream is opened anew, and every message is there once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smsgw.client import Sent
from tests.client.callers import Workload, otps
from tests.gateway.api.rig import Rig


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_stream_without_answers(
    rig: Rig, workload: Workload, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first frame is never served; after its patience the client opens another stream, and is answered there."""
    for module in ("aio_stream", "sync_stream"):
        monkeypatch.setattr(f"smsgw.client.{module}.ANSWER_S", 0.3)
    monkeypatch.setattr("smsgw.client.sync_stream._LOOK_S", 0.05)
    accept, calls = rig.intake.accept, 0

    async def first_hangs(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return await accept(*arguments)

    monkeypatch.setattr(rig.intake, "accept", first_hangs)
    async with asyncio.timeout(30), workload.async_client(rig.port) as sms:
        if blocking:
            with workload.client(rig.port) as other:
                results = await asyncio.to_thread(lambda: list(other.stream(otps(5))))
        else:
            results = [result async for result in sms.stream(otps(5))]
        assert [isinstance(outcome, Sent) for _, outcome in results] == [True] * 5
        assert len([message async for message in sms.list()]) == 5
    assert calls > 1
