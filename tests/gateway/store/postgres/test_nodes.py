"""Several nodes on one database: leases, fencing, and what becomes of a node's messages when it is gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from gateway.errors import StoreUnavailable
from gateway.states import Category, State
from gateway.store.engine.binds import share_of
from gateway.store.nodes import News, Released, Slots
from gateway.store.postgres import PostgresStore, Target
from gateway.store.postgres.leases import Terms
from gateway.store.postgres.transaction import PostgresTransaction
from gateway.store.receipts import ReceiptVerdict
from tests.gateway.store.samples import (
    NOW,
    TENANT,
    all_events,
    inbound_part,
    message,
    receipt,
    sending,
    state_of,
    submitted,
)

WAIT_S = 30.0
QUICK = Terms(lease_s=2.0, margin_s=0.5, renew_s=0.2, takeover_s=0.5)
SILENT = Terms(lease_s=0.6, margin_s=0.2, renew_s=3600.0, takeover_s=0.5)  # renews only when it is woken
TRANSACTIONAL = Category.TRANSACTIONAL
Opener = Callable[..., "asyncio.Future[PostgresStore]"]


class Nodes:
    """Stores on one database, closed in the end."""

    def __init__(self, target: Target, stack: AsyncExitStack) -> None:
        self._target = target
        self._stack = stack

    async def open(self, name: str, terms: Terms = QUICK) -> PostgresStore:
        """Open a node's store."""
        store = PostgresStore(self._target, node=name, terms=terms)
        await store.open()
        self._stack.push_async_callback(store.close)
        return store


@pytest.fixture
async def nodes(target: Target) -> AsyncIterator[Nodes]:
    """Give what opens stores."""
    async with AsyncExitStack() as stack:
        yield Nodes(target, stack)


def heard(store: PostgresStore, wanted: News) -> asyncio.Event:
    """Return what is set when a store hears this."""
    event = asyncio.Event()
    store.membership.listen(lambda news, _: event.set() if news is wanted else None)
    return event


async def until(event: asyncio.Event) -> None:
    """Wait for news."""
    async with asyncio.timeout(WAIT_S):
        await event.wait()


async def test_nodes_share_the_queues(nodes: Nodes) -> None:
    """Two nodes claim different messages, and each knows the other's names of tenants and carriers."""
    a, b = await nodes.open("a"), await nodes.open("b")
    await a.accept([message(claimed=False, tenant="of-a") for _ in range(6)])
    first = await a.claim(TRANSACTIONAL, 3, NOW)
    rest = await b.claim(TRANSACTIONAL, 10, NOW)
    assert len(first) == len(rest) == 3
    assert {waiting.tenant for waiting in rest} == {"of-a"}
    assert not {waiting.id for waiting in first} & {waiting.id for waiting in rest}
    await a.sending([sending(message()._replace(tenant="of-a", id=first[0].id))])
    assert (await b.cancel("of-a", first[0].id, NOW))[0] is False
    assert (await b.cancel("of-a", first[1].id, NOW))[0] is True
    names = [peer.name for peer in b.membership.peers]
    assert names == ["a", "b"]


async def test_what_another_node_has_is_not_sent(nodes: Nodes) -> None:
    """Neither SENDING nor an outcome nor putting away works on what another node has claimed."""
    a, b = await nodes.open("a"), await nodes.open("b")
    new = message()
    await a.accept([new])
    assert await b.sending([sending(new)]) == [False]
    assert await b.park([(new.tenant, new.id)]) == 0
    assert await a.sending([sending(new)]) == [True]
    assert await b.settle([submitted(new, "x")]) == [State.SENDING]
    assert await a.settle([submitted(new, "y")]) == [State.SUBMITTED]


async def test_a_node_that_is_gone(nodes: Nodes) -> None:
    """One that renews no lease is fenced: what it had waits again, or is in doubt, counted by its cause; it can write
    nothing of that any more."""
    a, b = await nodes.open("a", SILENT), await nodes.open("b")
    orphans = heard(b, News.ORPHANS)
    kept, sent, promo = message(), message(), message(category=Category.PROMOTIONAL)
    await a.accept([kept, sent, promo])
    await a.sending([sending(sent), sending(promo)])
    await until(orphans)
    assert not a.membership.may_write()
    assert b.membership.may_write()
    found = await b.take_over(NOW + 1, frozenset({TRANSACTIONAL}))
    assert (found.reclaimed, found.in_doubt) == (1, 2)
    with pytest.raises(StoreUnavailable) as refused:
        await a.settle([submitted(sent, "late")])
    assert refused.value.reason == "NODE_FENCED"
    taken = {waiting.id: waiting for waiting in await b.claim(TRANSACTIONAL, 10, NOW + 1)}
    assert taken.keys() == {kept.id, sent.id}
    assert taken[sent.id].reason == "NODE_LOST"
    counts = await b.counts()
    assert (counts["resend.node_lost"], counts["doubt.node_lost"], counts["queue.AWAITING"]) == (1, 1, 1)
    assert (await b.take_over(NOW + 2, frozenset())).in_doubt == 0


async def test_a_node_that_comes_back(nodes: Nodes) -> None:
    """It registers anew. What it learned meanwhile settles what nobody has sent again, and nothing else."""
    a, b = await nodes.open("a", SILENT), await nodes.open("b")
    orphans, lost, back = heard(b, News.ORPHANS), heard(a, News.LOST), heard(a, News.BACK)
    news = [message(), message(), message()]
    await a.accept(news)
    await a.sending([sending(new) for new in news])
    await until(orphans)
    await b.take_over(NOW + 1, frozenset({TRANSACTIONAL}))
    before = a.membership.number
    a.membership.register_again()  # wakes it
    await until(lost)
    a.membership.register_again()
    await until(back)
    assert a.membership.number > before
    again = await b.claim(TRANSACTIONAL, 2, NOW + 1)
    await b.sending([sending(news[0])._replace(id=again[0].id)])
    settled = await a.settle([submitted(new, new.id.hex()) for new in news])
    states = dict(zip([new.id for new in news], settled, strict=True))
    assert states.pop(again[0].id) == State.SENDING  # b sends it
    assert set(states.values()) == {State.SUBMITTED}
    assert await b.sending([sending(news[0])._replace(id=again[1].id)]) == [False]
    assert (await b.counts())["duplicate.taken_over"] == 1
    assert await b.settle([submitted(news[0], "second")._replace(id=again[0].id)]) == [State.SUBMITTED]


async def test_a_stopped_node_does_not_stall_the_others(nodes: Nodes) -> None:
    """One that stopped with the sequencer's row in its hands loses its session with its lease, and the others go on."""
    a, b = await nodes.open("a", SILENT), await nodes.open("b")
    tx = a._writer._tx
    assert tx is not None
    tx.db.begin()
    tx.db.fetch("UPDATE sequencer SET event_seq = event_seq + 1 RETURNING event_seq")
    async with asyncio.timeout(WAIT_S):
        await b.accept([message()])
    assert [event.seq for event in await all_events(b)] == [1]
    tx.db.close()


async def test_a_node_whose_event_loop_stands_still(nodes: Nodes, target: Target) -> None:
    """It renews its lease no more, though its threads go on: what it had is another's. When the loop turns again, the
    node learns that, and registers anew."""
    b = await nodes.open("b")
    orphans, stuck, turned = heard(b, News.ORPHANS), threading.Event(), threading.Event()
    before: list[int] = []

    async def stand_still() -> None:
        a = PostgresStore(target, node="a", terms=replace(QUICK, lease_s=1.0, stall_s=0.5))
        await a.open()
        try:
            lost, back = heard(a, News.LOST), heard(a, News.BACK)
            await a.accept([message()])
            before.append(a.membership.number)
            stuck.set()
            turned.wait(WAIT_S)  # in the event loop
            assert not a.membership.may_write()
            await until(lost)
            a.membership.register_again()
            await until(back)
            async with asyncio.timeout(WAIT_S):
                while not a.membership.may_write():
                    await asyncio.sleep(0.01)
            before.append(a.membership.number)
        finally:
            await a.close()

    loop = asyncio.get_running_loop()
    thread = loop.run_in_executor(None, lambda: asyncio.run(stand_still()))
    await loop.run_in_executor(None, stuck.wait, WAIT_S)
    await until(orphans)
    assert (await b.take_over(NOW, frozenset())).reclaimed == 1
    turned.set()
    await thread
    assert before[1] > before[0]


async def test_a_busy_event_loop_is_none_that_stands_still(nodes: Nodes) -> None:
    """One that is held up for less than that keeps its lease, and is asked again and again."""
    a = await nodes.open("a", replace(QUICK, lease_s=1.0, stall_s=1.5))
    lost = heard(a, News.LOST)
    number = a.membership.number
    for _ in range(3):
        await asyncio.to_thread(time.sleep, 0.3)
        time.sleep(0.7)  # noqa: ASYNC251 - holds up the event loop
    assert (a.membership.number, lost.is_set()) == (number, False)


async def test_a_clean_end(nodes: Nodes, target: Target) -> None:
    """Who signs off leaves at once what it had, and its name."""
    b = await nodes.open("b")
    a = PostgresStore(target, node="a", terms=QUICK)
    await a.open()
    new = message()
    await a.accept([new])
    orphans = heard(b, News.ORPHANS)
    await a.close()
    await until(orphans)
    assert (await b.take_over(NOW, frozenset())).reclaimed == 1
    await nodes.open("a")


async def test_one_name_is_one_node(nodes: Nodes) -> None:
    """A second node of a name that is in use does not start, and says so."""
    await nodes.open("a")
    with pytest.raises(StoreUnavailable, match="of the name a") as refused:
        await nodes.open("a")
    assert refused.value.reason == "NODE_NAME_TAKEN"


async def test_news_of_others(nodes: Nodes) -> None:
    """What one tells the others hear, with the tenants that it names; none hears itself."""
    a, b = await nodes.open("a"), await nodes.open("b")
    there = heard(a, News.PEERS)
    if len(a.membership.peers) < 2:
        await until(there)
    told: dict[str, set[str]] = {"a": set(), "b": set()}
    a.membership.listen(lambda news, names: told["a"].update(names) if news is News.EVENTS else None)
    b.membership.listen(lambda news, names: told["b"].update(names) if news is News.EVENTS else None)
    async with asyncio.timeout(WAIT_S):
        while told["b"] != {"x", "y"}:  # it may not have begun to listen
            a.membership.tell(News.EVENTS, frozenset({"x"}))
            a.membership.tell(News.EVENTS, frozenset({"y"}))
            await asyncio.sleep(0.02)
    assert not told["a"]


async def test_parts_of_one_message_at_two_nodes(nodes: Nodes) -> None:
    """Parts that come to two nodes at once make one message: neither transaction misses the other's part."""
    a, b = await nodes.open("a"), await nodes.open("b")
    await a.inbound([inbound_part("long", 1, 2)])
    for number in range(5):
        await asyncio.gather(
            a.inbound([inbound_part(f"group {number}", 1, 2)]), b.inbound([inbound_part(f"group {number}", 2, 2)])
        )
    assert [event.state for event in await all_events(a)] == [0] * 5


async def test_receipts_kept_by_another_node(nodes: Nodes) -> None:
    """A receipt that overtook its response, and came to another node, is found by the response."""
    a, b = await nodes.open("a"), await nodes.open("b")
    there = heard(a, News.PEERS)
    if len(a.membership.peers) < 2:
        await until(there)
    new = message()
    await a.accept([new])
    await a.sending([sending(new)])
    await b.receipts([receipt("early")])
    assert await a.settle([submitted(new, "early")]) == [State.DELIVERED]
    assert await state_of(b, new) is State.DELIVERED


async def test_binds_are_shared(nodes: Nodes, target: Target) -> None:
    """A carrier's binds are each one node's: evenly, and those of a node that goes are taken by the others."""
    a = await nodes.open("a")
    assert (await a.claim_slots("acme", 3)).held == (0, 1, 2)
    b = PostgresStore(target, node="b", terms=QUICK)
    await b.open()
    assert await b.claim_slots("acme", 3) == Slots((), (), short=True)
    first = await a.claim_slots("acme", 3)
    assert len(first.held) + len(first.surplus) == 3
    assert first.surplus
    await a.free_slots("acme", first.surplus)
    second = await b.claim_slots("acme", 3)
    assert sorted(first.held + second.held) == [0, 1, 2]
    assert not second.surplus
    assert not second.short
    assert (await a.claim_slots("acme", 3)).surplus == ()
    await b.close()
    assert (await a.claim_slots("acme", 3)).held == (0, 1, 2)
    assert (await a.claim_slots("acme", 2)).surplus == (2,)


async def test_what_carriers_a_node_has(nodes: Nodes) -> None:
    """A node claims what one of its carriers can send, and what nobody knows of; what it gives back others claim."""
    a, b = await nodes.open("a"), await nodes.open("b")
    both, mine, unknown = (message(claimed=False, ways=ways) for ways in ("x\ny", "x", ""))
    await a.accept([both, mine, unknown])
    assert await b.claim(TRANSACTIONAL, 10, NOW, frozenset()) == []
    assert await b.next_due(TRANSACTIONAL, frozenset({"z"})) == unknown.due_at
    found = {waiting.id for waiting in await b.claim(TRANSACTIONAL, 10, NOW, frozenset({"y"}))}
    assert found == {both.id, unknown.id}
    assert await b.next_due(TRANSACTIONAL, frozenset({"y"})) is None
    assert await a.release([Released(TENANT, unknown.id, "x")]) == 0  # it is not this node's to give
    assert await b.release([Released(TENANT, unknown.id, "x")]) == 1
    assert await b.claim(TRANSACTIONAL, 10, NOW, frozenset({"y"})) == []
    found = {waiting.id for waiting in await a.claim(TRANSACTIONAL, 10, NOW, frozenset({"x"}))}
    assert found == {mine.id, unknown.id}


async def test_a_receipt_and_its_response_in_one_moment(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two transactions, each of which looks before the other has committed, miss each other: the sweep joins them."""
    a, b = await nodes.open("a"), await nodes.open("b")
    new = message()
    await a.accept([new])
    await a.sending([sending(new)])
    both = threading.Barrier(2)
    original = PostgresTransaction.flush

    def meet(tx: PostgresTransaction) -> None:
        if threading.current_thread().name == "store-writer":
            both.wait(WAIT_S)  # each has looked, and neither has committed
        original(tx)

    monkeypatch.setattr(PostgresTransaction, "flush", meet)
    states, verdicts = await asyncio.gather(a.settle([submitted(new, "id")]), b.receipts([receipt("id")]))
    monkeypatch.setattr(PostgresTransaction, "flush", original)
    assert (states, verdicts) == ([State.SUBMITTED], [ReceiptVerdict.KEPT])
    assert await b.rejoin(NOW - 1, 10) == 1
    assert await state_of(a, new) is State.DELIVERED
    assert await b.rejoin(NOW - 1, 10) == 0
    assert (await b.counts())["receipt.rejoined"] == 1


@pytest.mark.parametrize("total", range(1, 8))
def test_shares(total: int) -> None:
    """The shares of all nodes are all binds, and differ by one at most."""
    for count in range(1, 6):
        shares = [share_of("acme", total, list(range(count)), me) for me in range(count)]
        assert sum(shares) == total
        assert max(shares) - min(shares) <= 1
