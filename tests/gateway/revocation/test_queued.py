"""What a node does once for each new entry: records, holds, withdrawals, and all of it again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.audit.records import OperatorActed, Record, RevocationChanged
from gateway.errors import StoreUnavailable
from gateway.revocation import queued
from gateway.revocation.entries import DenyList, Queued
from gateway.revocation.files import ListFiles
from gateway.revocation.queued import QueuedMessages, Site
from gateway.store.operating import MessageHold, Purged, Selection
from tests.gateway.revocation.samples import NOW, ROBBED, SECOND, certificate, deny_list, identity

REACH = 60 * SECOND
OPERATOR = "spiffe://example.org/admin/ann"


class Messages:
    """Queues of which so many messages wait."""

    def __init__(self, waiting: int = 3, doubtful: int = 0) -> None:
        self.waiting, self.doubtful = waiting, doubtful
        self.holds: list[MessageHold] = []
        self.failures = 0

    async def pause(self, hold: MessageHold, audit: Sequence[Record]) -> None:
        """Hold, with a record."""
        assert len(audit) == 1
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")
        self.holds = [*(other for other in self.holds if other.selection.name != hold.selection.name), hold]

    async def resume(self, selection: Selection, audit: Sequence[Record]) -> None:
        """Let go."""
        assert len(audit) == 1
        self.holds = [hold for hold in self.holds if hold.selection.name != selection.name]

    async def purge(
        self, selection: Selection, record: OperatorActed, audit: Sequence[Record], *, dry_run: bool
    ) -> Purged:
        """Cancel, or count."""
        assert selection.owner == ROBBED
        found = self.waiting
        if not dry_run:
            assert self.holds, "nothing may leave meanwhile"
            self.waiting = 0
        return Purged(found, self.doubtful, None)


class Node:
    """A node with a clock."""

    def __init__(self, folder: Path, messages: Messages, *, publisher: bool = False) -> None:
        self.now = NOW + SECOND
        self.records: list[Record] = []
        self.files = ListFiles(folder)
        site = Site(node="node-1", now=lambda: self.now, reach=REACH, record=self.records.append, publisher=publisher)
        self.queued = QueuedMessages(messages, self.files, site)

    async def take(self, deny: DenyList) -> None:
        """Take a list up."""
        self.queued.look(deny)
        await self.queued.prepare()


async def test_a_hold_reaches_to_now_and_is_made_once(tmp_path: Path) -> None:
    """Not again with the next list, nor after a restart: an operator may have let it go meanwhile."""
    messages = Messages()
    first = Node(tmp_path, messages)
    deny = deny_list(identity(queued=Queued.HOLD, by=OPERATOR))
    await first.take(deny)
    (hold,) = messages.holds
    assert hold.selection == Selection(owner=ROBBED, accepted_until=NOW + SECOND)
    assert (hold.by, "stolen" in hold.reason) == (OPERATOR, True)
    messages.holds = []
    await first.take(deny.changed([certificate()], (), NOW + 2 * SECOND))
    await Node(tmp_path, messages).take(deny)
    assert messages.holds == []


async def test_a_node_that_learns_late_holds_no_further_than_others(tmp_path: Path) -> None:
    """By then every node has known or refused: what was accepted later is of an identity that was let back in."""
    node = Node(tmp_path, messages := Messages())
    node.now = NOW + 10 * REACH
    await node.take(deny_list(identity(queued=Queued.HOLD)))
    assert messages.holds[0].selection.accepted_until == NOW + REACH
    other = Node(tmp_path / "other", nothing := Messages(waiting=0))
    (tmp_path / "other").mkdir()
    other.now = node.now
    await other.take(deny_list(identity(queued=Queued.HOLD)))
    assert nothing.holds == []  # of which nothing waits: no hold is left behind


async def test_an_operators_hold_is_not_narrowed(tmp_path: Path) -> None:
    """One without a moment stays as it is, also when what waits is withdrawn."""
    messages = Messages()
    hold = MessageHold(Selection(owner=ROBBED), "", NOW, OPERATOR, "quiet")
    messages.holds = [hold]
    await Node(tmp_path, messages).take(deny_list(identity(queued=Queued.CANCEL)))
    assert messages.holds == [hold]
    assert messages.waiting == 0


@pytest.mark.parametrize(("doubtful", "held"), [(0, 0), (2, 1)])
async def test_what_may_have_left_stays_held(tmp_path: Path, doubtful: int, held: int) -> None:
    """Withdrawn is what has not left; the rest is not sent a second time, and the hold goes when there is no rest."""
    messages = Messages(doubtful=doubtful)
    await Node(tmp_path, messages).take(deny_list(identity(queued=Queued.CANCEL)))
    assert (messages.waiting, len(messages.holds)) == (0, held)


async def test_what_fails_is_done_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, and is settled only when it is done."""
    monkeypatch.setattr(queued, "_RETRY_S", 0.05)
    messages = Messages()
    messages.failures = 2
    node = Node(tmp_path, messages)
    deny = deny_list(identity(queued=Queued.HOLD))
    node.queued.look(deny)
    task = asyncio.create_task(node.queued.run())
    async with asyncio.timeout(20):
        while not messages.holds:
            assert node.files.memory().settled == 0
            await asyncio.sleep(0.01)
        while node.files.memory().settled != deny.version:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [record.message for record in caplog.records].count("queued_messages_not_settled") == 1


async def test_what_is_recorded_where(tmp_path: Path) -> None:
    """The publisher has its operators' acts on record already; what was done at the files, and whatever a follower
    takes up, is recorded here."""
    deny = deny_list(identity(by=OPERATOR), certificate(by=""))
    for name, publisher, wanted in (("first", True, [""]), ("second", False, [OPERATOR, ""])):
        (tmp_path / name).mkdir()
        node = Node(tmp_path / name, Messages(), publisher=publisher)
        await node.take(deny)
        assert [record.by for record in node.records if isinstance(record, RevocationChanged)] == wanted
