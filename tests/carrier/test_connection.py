"""One connection against a transport in memory: joined writes, write flow control, and its bound."""

from __future__ import annotations

import asyncio
import struct
import time

from carrier.connection import MAX_UNREAD_BYTES, Connection
from carrier.contract import Outcome
from carrier.link import SmppLink
from carrier.pacing import Pacer
from tests.carrier.driver import Driver, batch, profile_of
from tests.carrier.smsc import BIND, DELIVER, ENQUIRE, RESP, SUBMIT, pdu

HEADER = struct.Struct(">IIII")


class MemoryTransport(asyncio.Transport):
    """Remembers what is written, each call apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.unread = 0
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True


def connected(window: int = 10) -> tuple[SmppLink, Driver, Connection, MemoryTransport]:
    """Return a link bound over memory, with its connection and what it writes."""
    driver, transport = Driver(), MemoryTransport()
    profile = profile_of(1, window=window)
    link = SmppLink(profile, 0, driver, Pacer(profile.rate_pdus_s, now_ns=time.monotonic_ns()))
    connection = link._first._new_connection()
    connection.connection_made(transport)
    connection.data_received(pdu(BIND | RESP, 1, b"smsc\0"))
    transport.writes.clear()
    return link, driver, connection, transport


def commands(octets: bytes) -> list[int]:
    """Return the command_ids of a piece of stream."""
    found = []
    while octets:
        length, command_id, _, _ = HEADER.unpack_from(octets)
        found.append(command_id)
        octets = octets[length:]
    return found


async def turn() -> None:
    """Let the loop finish its turn: what was scheduled has run."""
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    await done


async def test_a_turn_of_the_loop_is_one_write() -> None:
    """Submissions of several calls and the answer of a delivery leave in one write."""
    link, driver, connection, transport = connected()
    connection.data_received(pdu(DELIVER, 5, bytes(17)))
    link.submit(batch(2))
    link.submit(batch(2, lane=1, first=2))
    link.answer([(driver.deliveries[0].ticket, 0)])
    assert transport.writes == []
    await turn()
    assert [commands(octets) for octets in transport.writes] == [[DELIVER | RESP, SUBMIT, SUBMIT, SUBMIT, SUBMIT]]
    connection.connection_lost(None)


async def test_answers_of_one_read_are_one_call_and_their_room_is_used_at_once() -> None:
    """A read of many answers is one callback, and what waited for the window leaves in one write."""
    link, driver, connection, transport = connected(window=4)
    link.submit(batch(6))
    await turn()
    assert (link.unanswered, link.staged) == (3, 3)
    calls = driver.rooms
    connection.data_received(b"".join(pdu(SUBMIT | RESP, n, b"id\0") for n in (2, 3, 4)))
    assert (driver.rooms - calls, len(driver.results), link.unanswered, link.staged) == (1, 3, 3, 0)
    assert [commands(octets) for octets in transport.writes] == [[SUBMIT] * 3, [SUBMIT] * 3]
    connection.connection_lost(None)


async def test_while_the_transport_is_full_only_answers_go_out() -> None:
    """Submissions wait staged while the peer does not read; they go when it does, and are NOT_WRITTEN if it is lost."""
    link, driver, connection, transport = connected()
    connection.pause_writing()
    link.submit(batch(3))
    connection.data_received(pdu(ENQUIRE, 9))
    await turn()
    assert [commands(octets) for octets in transport.writes] == [[ENQUIRE | RESP]]
    assert (link.unanswered, link.staged) == (0, 3)
    connection.resume_writing()
    await turn()
    assert link.unanswered == 3
    connection.pause_writing()
    link.submit(batch(2, first=3))
    await turn()
    connection.connection_lost(None)
    assert [(r.key, r.outcome) for r in driver.results] == [
        (0, Outcome.IN_DOUBT), (1, Outcome.IN_DOUBT), (2, Outcome.IN_DOUBT),
        (3, Outcome.NOT_WRITTEN), (4, Outcome.NOT_WRITTEN),
    ]  # fmt: skip


async def test_a_peer_that_asks_and_never_reads_is_left() -> None:
    """Our answers to a flood that nobody reads are bounded."""
    link, driver, connection, transport = connected()
    connection.pause_writing()
    transport.unread = MAX_UNREAD_BYTES + 1
    connection.data_received(pdu(ENQUIRE, 9) * 1000)
    assert transport.closing
    assert "octets unread" in driver.states[-1][1]
    assert link.room(1) == 0
    connection.connection_lost(None)


async def test_nothing_is_taken_while_the_transport_closes() -> None:
    """Between the transport's end and its report, submissions stay unwritten."""
    link, driver, connection, transport = connected()
    transport.closing = True
    link.submit(batch(2))
    await turn()
    connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    assert [r.outcome for r in driver.results] == [Outcome.NOT_WRITTEN] * 2
    assert "the carrier closed the connection (Connection reset by peer)" in driver.states[-1][1]
    assert transport.writes == []


async def test_the_end_is_reported_once() -> None:
    """A connection that fails, closes and is lost reports its submissions once."""
    link, driver, connection, _ = connected()
    link.submit(batch(2))
    await turn()
    connection.data_received(b"\xff" * 8)
    connection.data_received(pdu(SUBMIT | RESP, 2, b"id\0"))
    connection.connection_lost(OSError())
    assert driver.outcomes() == {0: "IN_DOUBT", 1: "IN_DOUBT"}
    assert (link.unanswered, link.staged) == (0, 0)
