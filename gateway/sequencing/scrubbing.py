"""Goes through the whole log while the node runs, round and round: what a start has no time for.

A step takes a bundle of 256 commits: each against its entry and its leaf, and each full tile that ends there against
its hash in the tile above. A pass begins anywhere, so that nodes which are started again and again look everywhere, and
ends when it is round: with the roots of all checkpoints that are known. So every commit is held against what was
signed.

It is slow on purpose: a pass takes as long as is configured, or longer where so much cannot be read at the rate that it
may. What is found is named, and an alert until a whole pass has found nothing; the log goes on. Only the node that
appends does this.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from gateway.errors import GatewayError
from gateway.sequencing.comparing import compare, leaves_of, stored, torn, wrong_roots
from gateway.sequencing.consistency import MOST, CheckedStore
from gateway.sequencing.errors import LogBroken
from gateway.sequencing.growth import HINTS, StoredCommit
from gateway.sequencing.notary import Notary
from gateway.sequencing.tiles import fetch
from gateway.tlog.errors import TlogError
from gateway.tlog.merkle import leaf_hash
from gateway.tlog.tiles import ENTRIES, HEIGHT, MAX_LEVEL, WIDTH, Tile, width_at
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import AUDIT_ALTERED

log = logging.getLogger(__name__)

IDLE_S = 2.0  # while another node appends, nothing is signed yet, or the database does not answer
_LEAST_S = 0.05  # between two steps
_TOLD = 300  # characters of an alert
_CHANGED = "entry {} of the log was changed: its hash is not the one in the tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubPace:
    """How long a pass takes, in seconds, and how many octets of records are read in a second at most."""

    pass_s: float
    bytes_per_s: float


@dataclass(slots=True)
class ScrubProgress:
    """How far it is. `done_at`: when a whole pass ended last, microseconds since the Unix epoch; 0: not since the start
    of the node. `findings`: of this pass, or of the last whole one where that had more."""

    walked: int = 0  # commits of this pass
    size: int = 0  # that it goes through
    done_at: int = 0
    findings: int = 0


@dataclass(slots=True, kw_only=True)
class _Pass:
    """One way round. `at`: the bundle that is next; `left`: how many are to come."""

    goal: int
    at: int = 0
    left: int = 0
    findings: int = 0
    found: list[str] = field(default_factory=list)  # the first of them
    differing: dict[int, bytes] = field(default_factory=dict)  # entries of commits that were changed, by seq

    @property
    def bundles(self) -> int:
        """How many there are."""
        return -(-self.goal // WIDTH)


def anywhere(bundles: int) -> int:
    """Return which of so many bundles a pass begins with."""
    return random.randrange(bundles)  # noqa: S311 - no secret


class Scrub:
    """Of one node. `run` is its task."""

    def __init__(
        self,
        store: CheckedStore,
        notary: Notary,
        *,
        pace: ScrubPace,
        progress: ScrubProgress,
        signed: Callable[[], int],
        now: Callable[[], int],
        alerts: AlertSink = NOBODY,
        begin: Callable[[int], int] = anywhere,
    ) -> None:
        """`signed`: how many commits are under the newest signature; 0 when this node does not append. `now`:
        microseconds since the Unix epoch."""
        self._store, self._notary, self._pace, self._signed = store, notary, pace, signed
        self._now, self._alerts, self._begin = now, alerts, begin
        self._pass: _Pass | None = None
        self.progress = progress

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            pause_s = await self.step()
            await asyncio.sleep(pause_s)

    async def step(self) -> float:
        """Look at the next bundle; return how many seconds to wait after it."""
        signed = self._signed()
        if not signed:
            return IDLE_S
        turn = self._pass = self._pass or self._new(signed)
        first = turn.at * WIDTH
        last = min(first + WIDTH, turn.goal)
        try:
            found, octets = await self._look(turn, first, last)
            if turn.left == 1:
                found += await _named(wrong_roots(self._store, signed, self._notary.seen), "the edge of the log")
        except GatewayError as error:
            log.warning("audit_scrub_waits", extra={"why": str(error)})
            return IDLE_S
        self._tell(turn, found)
        self.progress.walked += last - first
        turn.at, turn.left = (turn.at + 1) % turn.bundles, turn.left - 1
        if not turn.left:
            self._end(turn)
        return max(_LEAST_S, self._pace.pass_s / turn.bundles, octets / self._pace.bytes_per_s)

    def _new(self, goal: int) -> _Pass:
        self.progress.walked, self.progress.size = 0, goal
        turn = _Pass(goal=goal)
        turn.at, turn.left = self._begin(turn.bundles), turn.bundles
        return turn

    async def _look(self, turn: _Pass, first: int, last: int) -> tuple[list[str], int]:
        """Return what is wrong with commits behind `first`, up to `last`, and how many octets of records they have."""
        place = f"commits {first + 1} to {last}"
        commits = await self._read(first, last)
        found = await _named(self._compared(turn, commits, first, last), place)
        found += await _named(self._torn(turn.goal, last), place)
        return found, sum(len(commit.records) for commit in commits)

    async def _read(self, first: int, last: int) -> Sequence[StoredCommit]:
        found: list[StoredCommit] = []
        after = first
        while after < last and (page := await self._store.audit_read(after, last - after)):
            found += [commit for commit in page if commit.seq <= last]
            after = page[-1].seq
        return found

    async def _compared(self, turn: _Pass, commits: Sequence[StoredCommit], first: int, last: int) -> list[str]:
        """Hold commits, entries and leaves against each other."""
        entries = await stored(self._store, ENTRIES, first, last)
        hints = await stored(self._store, HINTS, first, last)
        leaves = await leaves_of(self._store, first, last)
        pruned = min(last, (await self._store.log_head()).pruned)  # as it is afterwards: what is older may be gone
        after = max(first, pruned)

        def hold() -> list[str]:
            found = [
                _CHANGED.format(seq) for seq in range(first + 1, after + 1) if leaf_hash(entries[seq]) != leaves[seq]
            ]
            before = after
            for commit in commits:
                if commit.seq <= pruned:
                    continue
                wrong = compare([commit], before, entries | turn.differing, hints, leaves)
                if wrong and len(turn.differing) < MOST:
                    turn.differing[commit.seq] = entries[commit.seq]
                found += wrong
                before = commit.seq
            if before < last:
                found.append(f"commits {before + 1} to {last} are gone from the audit")
            return found

        return await asyncio.to_thread(hold)

    async def _torn(self, goal: int, last: int) -> list[str]:
        """Hold the full tiles that end with commit `last` against those above them."""
        found: list[str] = []
        for level in range(MAX_LEVEL):
            number, rest = divmod(last, 1 << (HEIGHT * (level + 1)))
            if rest:
                break
            tile, at = Tile(level, number - 1, WIDTH), (number - 1) // WIDTH
            above = Tile(level + 1, at, width_at(level + 1, at, goal))
            found += torn(await fetch(self._store, [tile]), await fetch(self._store, [above]))
        return found

    def _tell(self, turn: _Pass, found: Sequence[str]) -> None:
        if not found:
            return
        for what in found[:MOST]:
            log.critical("audit_altered", extra={"what": what})
        turn.findings += len(found)
        turn.found += found[: max(0, MOST - len(turn.found))]
        self.progress.findings = max(self.progress.findings, turn.findings)
        self._alerts.raise_alert(AUDIT_ALTERED, why="; ".join(turn.found)[:_TOLD])

    def _end(self, turn: _Pass) -> None:
        self._pass = None
        self.progress.findings, self.progress.done_at = turn.findings, self._now()
        if not turn.findings:
            self._alerts.resolve(AUDIT_ALTERED)
        log.info("audit_scrubbed", extra={"commits": turn.goal, "findings": turn.findings})


async def _named(looking: Awaitable[list[str]], place: str) -> list[str]:
    """Return what is found; what cannot even be read is a finding too. Raises Unavailable."""
    try:
        return await looking
    except (LogBroken, TlogError) as error:
        return [f"{place}: {error}"]
