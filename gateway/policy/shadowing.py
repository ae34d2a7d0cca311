"""Keeps the shadow beside the policies in force, and asks it when there is time: at most a few per cent of the loop's.

One task of the node. A candidate that cannot be used is told and left out; what fails while it is asked is counted and
logged, and ends nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Protocol

from gateway.policy.judge import Judge
from gateway.policy.shadow import Shadow

log = logging.getLogger(__name__)

LOOK_S = 0.05
_SLICE = 200  # questions that were asked before, without giving way to others: about half a millisecond
_SLICES = 10  # of one look: 40,000 questions a second
_EVALUATIONS = 2  # without giving way to others: each takes 0.1 ms or more
_EVALUATED = 5  # slices of those in one look: 200 evaluations a second, which are 2 to 6 % of a core


class Watched(Protocol):
    """What is needed of `gateway.policy.authorizer.Authorizer`."""

    def watch(self, shadow: Shadow | None) -> None:
        """Tell this shadow of every decision from now on; None: nobody."""


class Shadowing:
    """The shadow of one node, if it has one. Belongs to one event loop."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._ended: Counter[tuple[str, str, str]] = Counter()  # of shadows that are gone
        self._ended_without = 0
        self.shadow: Shadow | None = None
        self.problem = ""  # why the set that is configured is not used
        self.failures = 0  # of the comparison itself
        self._there = asyncio.Event()  # whether there is a shadow

    @property
    def epoch(self) -> str:
        """The digest of the candidate, "" for none."""
        return self.shadow.epoch if self.shadow is not None else ""

    def use(self, judge: Judge | None, now: int, problem: str = "") -> None:
        """Compare with another candidate from now on, with an empty table; None: with none. `problem` is why one that
        is configured cannot be used."""
        if self.shadow is not None:
            self._ended.update(self.shadow.counts)
            self._ended_without += self.shadow.not_compared
        self.problem = problem
        self.shadow = None if judge is None else Shadow(judge, now)
        self._watched.watch(self.shadow)
        (self._there.clear if self.shadow is None else self._there.set)()
        if problem:
            log.error("policy_shadow_refused", extra={"why": problem})
        elif judge is not None:
            log.info("policy_shadow_loaded", extra={"policies": judge.policies, "digest": judge.epoch})

    @property
    def counts(self) -> Counter[tuple[str, str, str]]:
        """How often each outcome has met each, by action, live and shadow, since the node began."""
        shadow, total = self.shadow, Counter(self._ended)
        for key, count in list(shadow.counts.items()) if shadow is not None else ():  # read by other threads too
            total[key] += count
        return total

    @property
    def not_compared(self) -> int:
        """How often nothing was compared for want of room, since the node began."""
        return self._ended_without + (0 if self.shadow is None else self.shadow.not_compared)

    async def run(self) -> None:
        """Ask the candidate what is asked of the policies in force, until cancelled."""
        while True:
            await self._there.wait()
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except Exception:  # the top of this task: a candidate must not end a node
                self.failures += 1
                log.exception("policy_shadow_failed")

    async def _look(self) -> None:
        for _ in range(_SLICES):
            if self.shadow is None or not self.shadow.waiting:
                break
            self.shadow.look(_SLICE)
            await asyncio.sleep(0)
        for _ in range(_EVALUATED):
            if self.shadow is None or not self.shadow.unknown:
                return
            self.shadow.evaluate(_EVALUATIONS)
            await asyncio.sleep(0)
