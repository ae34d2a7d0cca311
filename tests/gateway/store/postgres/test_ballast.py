"""Room that is held on a server's disk: real tables on a real, small file system."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
import pytest
from psycopg import sql

from gateway.audit.ballast import GONE, Held, Outcome, Part
from gateway.audit.ballast_gauge import BallastGauge
from gateway.audit.recorder import Recorder
from gateway.audit.records import Decision
from gateway.audit.reserve import Reserve, Room
from gateway.audit.reserve_watch import free_on
from gateway.errors import StoreUnavailable, Unavailable
from gateway.store.postgres import PostgresStore
from gateway.store.postgres.grants import grants
from gateway.store.postgres.target import Target
from tests.gateway.audit.samples import decision
from tests.postgres.server import PostgresServer, expendable
from tests.small_disk import SmallDisk, small_disk

MIB = 1 << 20
RESERVE, LEAST = 12 * MIB, 4 * MIB
_WITHIN_S = 60.0


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[PostgresStore]:
    """Open a store for the length of the block."""
    store = PostgresStore(target)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def on_a_small_disk(server: PostgresServer, octets: int) -> Iterator[tuple[SmallDisk, str]]:
    """Make a database all of whose tables are on a file system of this size; its write-ahead log is on another."""
    folder = server.folder.parent / "disk"  # where the server's user may pass
    with small_disk(folder, octets) as disk, server.connect("postgres") as db:
        space = folder / "space"
        space.mkdir(mode=0o700)
        if not os.geteuid():
            nobody = pwd.getpwnam("nobody")
            for each in (folder, space):
                os.chown(each, nobody.pw_uid, nobody.pw_gid)
        db.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(space))))
        try:
            db.execute("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
            yield disk, "small"
        finally:
            db.execute("DROP DATABASE IF EXISTS small WITH (FORCE)")
            db.execute("DROP TABLESPACE small")
    folder.rmdir()


async def until_full(store: PostgresStore, disk: SmallDisk) -> None:
    """Record denials until the disk takes no more, most of whose room somebody else has taken."""
    disk.take(disk.taken + max(0, free_on(disk.folder) - 2 * MIB))
    async with asyncio.timeout(_WITHIN_S):
        while True:
            try:
                await store.audit([denial(number) for number in range(2000)])
            except StoreUnavailable as error:
                assert "disk is full" in str(error)  # noqa: PT017 - any other one is no end of the loop
                return


def denial(number: int) -> Decision:
    """A denial of a caller of its own, whose record does not compress much."""
    caller = f"spiffe://example.org/{secrets.token_urlsafe(500)}/{number}"
    return decision(at=1_000_000 * number, since=1_000_000 * number, caller=caller, times=1)


@pytest.mark.timeout(180)
async def test_a_servers_disk_that_gets_full() -> None:
    """Denials fill the disk: the reserve is given up, denials use none of it any more, and what is allowed is recorded.
    That fills it again: nothing new is accepted, and outcomes are recorded. With room again all of it is held again."""
    server = expendable()
    with on_a_small_disk(server, 96 * MIB) as (disk, database):
        async with opened(server.target(database)) as store:
            reserve = Reserve(reserve_bytes=RESERVE + LEAST, least_bytes=LEAST)
            gauge = BallastGauge(store.ballast, reserve, pauses_s=(0.0, 0.0))
            recorder = Recorder(store, reserve=reserve)

            async def look() -> Room:
                room, _ = await gauge.look()
                reserve.take(room)
                return room

            assert await look() is Room.PLENTY
            assert await store.ballast.held() >= Held(RESERVE, LEAST)
            await until_full(store, disk)
            assert await look() is Room.RESERVED
            assert (await store.ballast.held()).reserve == GONE
            _, before = await store.audit_bounds()
            for number in range(100):
                await recorder.record([denial(number)])
            assert (await store.audit_bounds())[1] == before  # counted, not stored
            await recorder.record([decision(allowed=True, reason="PERMITTED", times=1)])
            assert (await store.audit_bounds())[1] == before + 1
            reserve.require()

            async with asyncio.timeout(_WITHIN_S):
                while await look() is not Room.SPENT:
                    await until_full(store, disk)
            with pytest.raises(Unavailable) as caught:
                reserve.require()
            assert caught.value.reason == "AUDIT_UNAVAILABLE"
            _, before = await store.audit_bounds()
            await store.audit([decision(allowed=True, reason="PERMITTED", times=1)])  # of an outcome
            assert (await store.audit_bounds())[1] == before + 1

            disk.free()
            assert await look() is Room.PLENTY
            reserve.require()
            await recorder.finish()


async def test_a_server_that_falls_over_gives_the_room_back_by_itself() -> None:
    """After a crash the tables are empty before anything is recovered: a full disk is no reason not to start."""
    server = expendable()
    with server.database() as database:
        async with opened(server.target(database)) as store:
            assert [await store.ballast.hold(part, 1 * MIB) for part in Part] == [Outcome.HELD] * 2
            with server.connect(database) as db:
                row = db.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'smsgw writer'").fetchone()
                assert row is not None
                os.kill(int(str(row[0])), signal.SIGKILL)
            async with asyncio.timeout(_WITHIN_S):
                while True:
                    try:
                        held = await store.ballast.held()
                    except StoreUnavailable:
                        await asyncio.sleep(0.05)
                        continue
                    if held == Held(0, 0):
                        break
            gauge = BallastGauge(store.ballast, Reserve(reserve_bytes=2 * MIB, least_bytes=1 * MIB))
            assert (await gauge.look())[0] is Room.PLENTY
            assert await store.ballast.held() >= Held(1 * MIB, 1 * MIB)


async def test_what_is_held_is_held_once(postgres: PostgresServer) -> None:
    """Two nodes at once make one table; what is large enough stays; nothing is left when it is given up."""
    async with opened(postgres.emptied()) as store, opened(postgres.emptied()) as other:
        for part in Part:
            await store.ballast.release(part)
        assert await store.ballast.held() == Held(GONE, GONE)
        await asyncio.gather(*(each.ballast.hold(Part.LEAST, 1 * MIB) for each in (store, other)))
        held = await other.ballast.held()
        assert held.reserve == GONE
        assert 1 * MIB <= held.least < 1.1 * MIB
        await other.ballast.hold(Part.LEAST, 10_000)
        assert await store.ballast.held() == held
        await store.ballast.release(Part.LEAST)
        assert await other.ballast.held() == Held(GONE, GONE)


async def test_who_may(postgres: PostgresServer) -> None:
    """A role without the grants is told so; with them it holds and gives up, and can do nothing else to the schema."""
    target = postgres.emptied()
    async with opened(target) as store:
        with postgres.connect("postgres") as db:
            db.execute("DROP ROLE IF EXISTS roomy")
            db.execute("CREATE ROLE roomy LOGIN PASSWORD 'roomy'")
            try:
                db.execute("SET ROLE roomy")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute("SELECT smsgw.audit_room_hold('least', 1)")
                db.execute("RESET ROLE")
                for statement in grants("accept", "roomy"):
                    db.execute(statement)
                db.execute("SET ROLE roomy")
                db.execute("SELECT smsgw.audit_room_hold('least', 1)")
                assert (await store.ballast.held()).least == 8192
                db.execute("SELECT smsgw.audit_room_release('least')")
                assert (await store.ballast.held()).least == GONE
                with pytest.raises(psycopg.errors.InvalidParameterValue):
                    db.execute("SELECT smsgw.audit_room_release('x')")
            finally:
                db.execute("RESET ROLE")
                db.execute("DROP OWNED BY roomy")
                db.execute("DROP ROLE roomy")
