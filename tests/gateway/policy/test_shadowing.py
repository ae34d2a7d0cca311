"""The task that asks the candidate, and what happens when candidates change or fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.policy.authorizer import Authorizer
from gateway.policy.judge import Judge
from gateway.policy.shadow import Shadow
from gateway.policy.shadowing import Shadowing
from tests.gateway.callers import caller
from tests.gateway.policy.sets import policies

ALL = '@id("all") permit(principal, action, resource);\n'
NOTHING = '@id("no") forbid(principal, action, resource);\n'
GET = "MessageService.GetMessage"


@asynccontextmanager
async def running(asked: Authorizer) -> AsyncIterator[Shadowing]:
    """Run the task."""
    shadowing = Shadowing(asked)
    task = asyncio.create_task(shadowing.run())
    try:
        yield shadowing
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(done: Callable[[], bool]) -> None:
    """Wait until `done`."""
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)


async def test_it_is_asked_beside() -> None:
    """What is asked is compared a moment later, as long as there is a candidate; numbers outlive candidates."""
    asked = Authorizer(Judge(policies(ALL)))
    async with running(asked) as shadowing:
        assert asked.call(caller(), GET, "", 0).allowed
        assert (shadowing.counts, shadowing.epoch) == ({}, "")
        shadowing.use(Judge(policies(ALL + NOTHING)), 5)
        assert shadowing.epoch == policies(ALL + NOTHING).digest
        for _ in range(3):
            assert asked.call(caller(), GET, "", 0).allowed
        await until(lambda: shadowing.counts[GET, "allow", "deny"] == 3)
        shadowing.use(Judge(policies(ALL)), 6)
        assert shadowing.shadow is not None
        assert shadowing.shadow.differences == []
        assert asked.call(caller(), GET, "", 0).allowed
        await until(lambda: shadowing.counts[GET, "allow", "allow"] == 1)
        assert shadowing.counts[GET, "allow", "deny"] == 3
        shadowing.use(None, 7)
        assert asked.call(caller(), GET, "", 0).allowed
        assert (shadowing.epoch, sum(shadowing.counts.values())) == ("", 4)


async def test_more_than_one_look() -> None:
    """A burst is worked off in several looks; nothing of it is lost."""
    asked = Authorizer(Judge(policies(ALL)))
    async with running(asked) as shadowing:
        shadowing.use(Judge(policies(ALL)), 0)
        for number in range(3_000):
            rights = asked.sending(caller(spiffe_id=f"spiffe://example.org/demo/{number % 30}"), "", 0, 1)
            assert rights.decide(1 + number % 3, "A", "DE", 1).allowed
        await until(lambda: sum(shadowing.counts.values()) == 3_000)
        assert shadowing.not_compared == 0


async def test_what_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A defect of the comparison is logged and counted; calls do not notice, and the next look works."""
    asked = Authorizer(Judge(policies(ALL)))
    async with running(asked) as shadowing:
        shadowing.use(Judge(policies(ALL)), 0)

        def broken(*_: object) -> None:
            raise RuntimeError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr(Shadow, "look", broken)
            assert asked.call(caller(), GET, "", 0).allowed
            await until(lambda: shadowing.failures > 0)
        await until(lambda: shadowing.counts[GET, "allow", "allow"] == 1)
    assert "policy_shadow_failed" in [record.message for record in caplog.records]


async def test_a_candidate_with_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """It is told why, and nothing is compared."""
    asked = Authorizer(Judge(policies(ALL)))
    shadowing = Shadowing(asked)
    shadowing.use(None, 0, "a.cedar:3: unrecognized action")
    assert (shadowing.shadow, shadowing.problem) == (None, "a.cedar:3: unrecognized action")
    assert [record.message for record in caplog.records] == ["policy_shadow_refused"]
    assert asked.call(caller(), GET, "", 0).allowed
