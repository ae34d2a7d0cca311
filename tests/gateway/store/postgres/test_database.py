"""One writer at a time, lost sessions, commits in doubt, and a server that hangs or restarts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from gateway.errors import Overloaded, StoreUnavailable
from gateway.states import State
from gateway.store.contract import Verdict
from gateway.store.postgres import PostgresStore, Target
from gateway.store.postgres.leases import Terms
from gateway.store.postgres.session import Session
from gateway.store.postgres.target import Deadlines
from tests.gateway.store.samples import (
    TENANT,
    all_events,
    key,
    message,
    receipt,
    send,
    sending,
    state_of,
    submitted,
)
from tests.postgres.server import PostgresServer, shared

WAIT_S = 30.0


def _session(store: PostgresStore) -> Session:
    tx = store._writer._tx
    assert tx is not None
    session: Session = tx.db
    return session


async def test_the_next_node_waits_for_the_one_before(target: Target) -> None:
    """A node that starts while another ends gets the database when it is free."""
    first, second = PostgresStore(target), PostgresStore(target, terms=Terms(takeover_s=WAIT_S))
    await first.open()
    (new,) = await first.accept([message()])
    opening = asyncio.create_task(second.open())
    done, _ = await asyncio.wait([opening], timeout=0.3)
    assert not done
    await first.close()
    await opening
    assert (await second.get_message(TENANT, new.id)) is not None
    await second.close()


async def test_a_lost_session_is_replaced(store: PostgresStore, target: Target) -> None:
    """What comes after the server has ended our sessions is done on new ones; nobody notices."""
    new = message()
    await store.accept([new])
    for _ in range(3):
        with shared().connect("postgres") as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'smsgw %'")
        assert (await store.accept([message(idempotency=key("k"))]))[0].id
        assert await state_of(store, new) is State.ACCEPTED
    assert [event.seq for event in await all_events(store)] == [1, 2]


async def test_a_session_that_lingers_is_ended(target: Target) -> None:
    """The server does not know yet that our line is gone, and keeps the lock for it: it is told, and we go on."""
    store = PostgresStore(target)
    await store.open()
    await store.accept([message()])
    lingering = _session(store)
    store._writer._tx = None  # as when the line is lost, with the server's end still there
    async with asyncio.timeout(WAIT_S):
        await store.accept([message()])
    with pytest.raises(psycopg.OperationalError):
        lingering.fetch("SELECT 1")
    lingering.close()
    assert [event.seq for event in await all_events(store)] == [1, 2]
    await store.close()


def _once(monkeypatch: pytest.MonkeyPatch, commit: Callable[[Session], None]) -> None:
    """Have the next commit done by `commit`."""
    original = Session.commit

    def patched(self: Session) -> None:
        monkeypatch.setattr(Session, "commit", original)
        commit(self)

    monkeypatch.setattr(Session, "commit", patched)


async def test_a_commit_whose_answer_was_lost(
    store: PostgresStore, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was done: whoever waits hears so, and it is not done twice."""
    original = Session.commit

    def cut_after(session: Session) -> None:
        original(session)
        session.close()
        raise psycopg.OperationalError("the line was cut")

    heard: list[frozenset[str]] = []
    store.on_commit(heard.append)
    new = message(idempotency=key("k"))
    await store.accept([message()])
    _once(monkeypatch, cut_after)
    assert (await store.accept([new]))[0].verdict is Verdict.STORED
    assert heard == [frozenset({TENANT})] * 2
    assert [event.seq for event in await all_events(store)] == [1, 2]
    assert await store.audit_bounds() == (0, 2)
    assert (await store.accept([message(idempotency=key("k"))]))[0].verdict is Verdict.REPLAYED


async def test_a_commit_that_never_arrived(
    store: PostgresStore, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not done: the call fails, nothing of it is stored, and the next one goes on."""

    def cut_before(session: Session) -> None:
        session.close()
        raise psycopg.OperationalError("the line was cut")

    new, sent = message(idempotency=key("k")), message()
    await store.accept([sent])
    await send(store, [sent], ["a"])
    _once(monkeypatch, cut_before)
    with pytest.raises(StoreUnavailable, match="nothing of this stored"):
        await store.accept([new])
    assert await store.get_message(TENANT, new.id) is None
    _once(monkeypatch, cut_before)
    with pytest.raises(StoreUnavailable, match="nothing of this stored"):
        await store.receipts([receipt("a")])
    await store.receipts([receipt("a")])
    assert await state_of(store, sent) is State.DELIVERED
    assert (await store.accept([new]))[0].verdict is Verdict.STORED


async def test_a_server_that_hangs(target: Target) -> None:
    """While nobody can know what became of a commit its caller waits, others are refused; then it hears the truth."""
    store = PostgresStore(target, deadlines=Deadlines(connect_s=1.0, lock_s=0.2, transaction_s=0.5))
    await store.open()
    await store.accept([message()])
    process = _session(store).pid
    new = message()
    os.kill(process, signal.SIGSTOP)
    try:
        doubtful = asyncio.create_task(store.accept([new]))
        refused: Exception | None = None
        async with asyncio.timeout(WAIT_S):
            while refused is None:
                later = asyncio.create_task(store.accept([message()]))
                done, _ = await asyncio.wait([later, doubtful], timeout=5, return_when=asyncio.FIRST_COMPLETED)
                if later in done:
                    refused = later.exception()  # type: ignore[assignment]  # of the gateway's
                else:
                    later.cancel()
        assert isinstance(refused, StoreUnavailable | Overloaded)
    finally:
        os.kill(process, signal.SIGCONT)
    async with asyncio.timeout(WAIT_S):
        try:
            stored = bool(await doubtful)
        except StoreUnavailable:
            stored = False
        while True:
            try:
                await store.accept([message(tenant="after")])
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
    assert (await store.get_message(TENANT, new.id) is not None) == stored
    await store.close()


async def test_a_server_that_restarts(own_server: PostgresServer) -> None:
    """The server is killed while messages come: what was answered is there, and the store goes on by itself."""
    store = PostgresStore(own_server.target("postgres"))
    await store.open()
    answered: list[Any] = []
    stopping = asyncio.Event()

    async def load() -> None:
        while not stopping.is_set():
            new = message()
            try:
                await store.accept([new])
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                answered.append(new)

    tasks = [asyncio.create_task(load()) for _ in range(5)]
    for _ in range(2):
        before = len(answered)
        async with asyncio.timeout(WAIT_S):
            while len(answered) < before + 20:
                await asyncio.sleep(0.01)
        os.kill(_session(store).pid if store._writer._tx else own_server.pid, signal.SIGKILL)  # it ends all sessions
        await asyncio.sleep(0.05)
    before = len(answered)
    async with asyncio.timeout(WAIT_S):
        while len(answered) < before + 20:
            await asyncio.sleep(0.01)
    stopping.set()
    await asyncio.gather(*tasks)
    for new in answered:
        assert await store.get_message(TENANT, new.id) is not None
    events = await all_events(store)
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    await store.close()


async def test_a_standby_that_is_away(own_server: PostgresServer) -> None:
    """Where the server waits for a synchronous standby, nothing is answered before that has it: no deadline of ours
    makes it true."""
    deadlines = Deadlines(connect_s=1.0, statement_s=0.2, lock_s=0.2, transaction_s=0.5)
    store = PostgresStore(own_server.target("postgres"), deadlines=deadlines)
    await store.open()
    await store.accept([message()])
    new = message()
    try:
        with own_server.connect("postgres") as db:
            db.execute("ALTER SYSTEM SET synchronous_standby_names = 'away'")
            db.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(WAIT_S):
                while db.execute("SHOW synchronous_standby_names").fetchone() != ("away",):
                    await asyncio.sleep(0.01)
        while not (await asyncio.wait([call := asyncio.create_task(store.accept([message()]))], timeout=1.5))[1]:
            call.result()  # the writer's session has not read it yet
        call.cancel()
        waiting = asyncio.create_task(store.accept([new]))
        done, _ = await asyncio.wait([waiting], timeout=2.0)
        assert not done or isinstance(waiting.exception(), StoreUnavailable)
    finally:
        with own_server.connect("postgres") as db:
            db.execute("SET synchronous_commit = local")
            db.execute("ALTER SYSTEM RESET synchronous_standby_names")
            db.execute("SELECT pg_reload_conf()")
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await store.accept([message()])
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        stored = not isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], BaseException)
    assert (await store.get_message(TENANT, new.id) is not None) == stored
    await store.close()


async def test_closing_while_a_commit_is_in_doubt(own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is closed meanwhile tells its callers that nobody knows."""
    store = PostgresStore(own_server.target("postgres"), deadlines=Deadlines(connect_s=1.0))
    await store.open()

    def cut_for_good(session: Session) -> None:
        session.close()
        monkeypatch.setattr(store._writer._database, "connect", unreachable)
        raise psycopg.OperationalError("the line was cut")

    def unreachable() -> Session:
        raise psycopg.OperationalError("the server is away")

    _once(monkeypatch, cut_for_good)
    call = asyncio.create_task(store.accept([message()]))
    done, _ = await asyncio.wait([call], timeout=0.5)
    assert not done
    await store.close()
    with pytest.raises(StoreUnavailable) as caught:
        await call
    assert caught.value.reason == "STORE_IN_DOUBT"


async def test_events_are_numbered_in_the_order_of_commit(store: PostgresStore) -> None:
    """While another transaction with lower numbers is open, none with higher ones is committed: no reader skips it."""
    first, last = message(tenant="first"), message(tenant="last")
    await store.accept([first, last])
    with shared().connect("postgres") as other:
        other.execute("SET search_path = smsgw")
        with other.transaction():
            other.execute("UPDATE sequencer SET event_seq = event_seq + 1")
            other.execute(
                "INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no)"
                " SELECT t.no, s.event_seq, 1, %b, 6, 0 FROM sequencer AS s, tenant AS t WHERE t.name = 'first'",
                (first.id,),
            )
            call = asyncio.create_task(store.accept([message(tenant="last")]))
            done, _ = await asyncio.wait([call], timeout=0.3)
            assert not done
            assert [event.seq for event in await all_events(store, "last")] == [2]
    async with asyncio.timeout(WAIT_S):
        await call
    assert [event.seq for event in await all_events(store, "first")] == [1, 3]
    assert [event.seq for event in await all_events(store, "last")] == [2, 4]


async def test_a_row_that_another_session_holds(target: Target) -> None:
    """A lock that is not given up in time is an error, and the next write after it succeeds."""
    store = PostgresStore(target, deadlines=Deadlines(lock_s=0.2))
    await store.open()
    with shared().connect("postgres") as other, other.transaction():
        other.execute("SELECT 1 FROM smsgw.sequencer FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="another session holds it locked"):
            await store.accept([message()])
    await store.accept([message()])
    assert [event.seq for event in await all_events(store)] == [1]
    await store.close()


async def test_one_failed_operation_sinks_no_other(store: PostgresStore) -> None:
    """An operation at fault is refused alone; the others of its group are stored, without gaps in the events."""
    twice = message()
    await store.accept([twice])
    calls = [store.accept([message()]), store.accept([message(), twice]), store.accept([message()])]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert [event.seq for event in await all_events(store)] == [1, 2, 3]


async def test_an_error_says_nothing_of_values(store: PostgresStore) -> None:
    """The server's own texts name keys and values: what is raised has its code alone."""
    new = message(sender="SECRET")
    await store.accept([new])
    with pytest.raises(Exception, match="SQLSTATE 23505") as caught:
        await store.accept([new])
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.__context__}"
    assert "SECRET" not in shown
    assert new.id.hex() not in shown


async def test_callers_hear_of_no_address(target: Target) -> None:
    """What an error says while the node runs names neither host nor role."""
    store = PostgresStore(target, deadlines=Deadlines(lock_s=0.2))
    await store.open()
    with shared().connect("postgres") as other, other.transaction():
        other.execute("SELECT 1 FROM smsgw.sequencer FOR UPDATE")
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'smsgw %'")
        with pytest.raises(StoreUnavailable) as caught:
            await store.accept([message()])
    assert target.host not in str(caught.value)
    assert str(caught.value).startswith("the database: ")
    await store.close()


async def test_a_slow_query_is_stopped(target: Target) -> None:
    """A look-up past its deadline is stopped by the server, and the next one is answered."""
    store = PostgresStore(target, read_deadline_s=0.1)
    await store.open()
    with pytest.raises(StoreUnavailable, match="took too long"):
        await store._reader.ask(lambda look: look.db.fetch("SELECT pg_sleep(30)"))
    assert await store.events(TENANT, 0, 1) == []
    await store.close()


async def test_readers_cannot_write(store: PostgresStore) -> None:
    """A reader's session is read-only."""
    with pytest.raises(StoreUnavailable, match="only reads"):
        await store._reader.ask(lambda look: look.db.fetch("DELETE FROM message RETURNING 1"))


async def test_sessions_are_bounded(target: Target) -> None:
    """However many ask at once, there are a writer, a heartbeat and so many readers."""
    store = PostgresStore(target, readers=2)
    await store.open()
    await asyncio.gather(*(store.counts() for _ in range(50)))
    with shared().connect("postgres") as db:
        rows = db.execute("SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'smsgw %'")
        assert sorted(str(name) for (name,) in rows) == ["smsgw member", "smsgw reader", "smsgw reader", "smsgw writer"]
    await store.close()


async def test_each_commit_waits_for_the_servers_disk(store: PostgresStore) -> None:
    """The writer's session commits synchronously, whatever the role's default is."""
    assert _session(store).fetch("SHOW synchronous_commit") == [("on",)]


async def test_what_gathers_is_committed_together(store: PostgresStore, target: Target) -> None:
    """Calls that come while a commit waits share the next one, in the order of a message's life."""
    new = message()
    await store.accept([new])
    with shared().connect("postgres") as other:
        with other.transaction():
            other.execute("SELECT 1 FROM smsgw.sequencer FOR UPDATE")
            first = asyncio.create_task(store.accept([message()]))
            await asyncio.wait([first], timeout=0.1)
            calls: list[Any] = [store.receipts([receipt("a")]), store.settle([submitted(new, "a")])]
            tasks = [asyncio.create_task(call) for call in [*calls, store.sending([sending(new)])]]
            await asyncio.sleep(0)
        await asyncio.gather(first, *tasks)
    assert await state_of(store, new) is State.DELIVERED
    assert (await store.audit_bounds())[1] == 3
