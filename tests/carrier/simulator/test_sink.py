"""The benchmarks' sink: that what it counts is true, and that receipts do not outrun their reader."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from carrier.receipts import parse_receipt
from carrier.simulator import sink as module
from carrier.simulator.errors import ScriptError
from carrier.simulator.sink import Sink
from carrier.smpp.pdu import (
    BindTransmitter,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    QuerySm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
)
from tests.carrier.simulator.conftest import Tls
from tests.carrier.simulator.esme import Connection, submit

Starter = Callable[..., Awaitable[Sink]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Start sinks; all are stopped at the end."""
    running: list[Sink] = []

    async def starter(**options: Any) -> Sink:
        sink = Sink(**({"plain": True} | options))
        running.append(sink)
        await sink.start()
        return sink

    yield starter
    for sink in running:
        await sink.stop()


async def test_every_submit_is_answered_and_receipted_over_tls(start: Starter, tls: Tls) -> None:
    """Ids are unique, receipts name them, and the counts agree."""
    sink = await start(ssl_context=tls.server(), plain=False)
    connection = await Connection.bound(sink.port, tls.client())
    total = 500
    for number in range(total):
        connection.send(submit(b"x" * (number % 160), to=b"49151%08d" % number))
    answered: list[str] = []
    receipted: dict[str, str] = {}
    while len(answered) < total or len(receipted) < total:
        header, pdu = await connection.read()
        if isinstance(pdu, SubmitSmResp):
            answered.append(pdu.message_id.decode())
        elif isinstance(pdu, DeliverSm):
            receipt = parse_receipt(pdu)
            assert receipt is not None
            assert (receipt.part_state, receipt.stat) == ("D", "DELIVRD")
            assert receipt.done_at is not None
            assert pdu.tlvs[0].value.rstrip(b"\0").decode() == receipt.carrier_id
            assert (pdu.destination_addr, pdu.dest_addr_ton) == (b"ACME", 5)
            receipted[receipt.carrier_id] = receipt.recipient
            connection.respond(DeliverSmResp(), header.sequence_number)
    assert len(set(answered)) == total
    assert receipted == {message_id: f"49151{number:08d}" for number, message_id in enumerate(answered)}
    connection.send(EnquireLink())
    assert isinstance((await connection.read())[1], EnquireLinkResp)
    stats = sink.stats()
    assert (stats["submits"], stats["receipts"], stats["receipts_acknowledged"]) == (total, total, total)
    assert 0 < stats["first_submit_at"] <= stats["last_submit_at"] <= stats["last_acknowledged_at"]
    assert stats["cpu_s"] > 0
    await connection.close()


async def test_arrivals_are_logged(start: Starter, tmp_path: Path) -> None:
    """A line for each submit_sm, in their order, with times in between; it is whole when counts are read."""
    log = tmp_path / "arrivals.tsv"
    sink = await start(arrivals=log)
    before = time.monotonic_ns()
    connection = await Connection.bound(sink.port)
    for number in range(3):
        await connection.submitted(submit(to=b"49151%d" % number))
    assert sink.stats()["submits"] == 3
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert [destination for destination, _ in lines] == ["491510", "491511", "491512"]
    times = [before, *(int(at_ns) for _, at_ns in lines), time.monotonic_ns()]
    assert times == sorted(times)
    await connection.close()


async def test_receipts_are_bounded_by_the_window(start: Starter) -> None:
    """Of five, two are out; each answer lets one more go."""
    sink = await start(window=2)
    connection = await Connection.bound(sink.port)
    for _ in range(5):
        connection.send(submit())
    connection.send(EnquireLink())
    got: list[tuple[int, object]] = []
    while not (got and isinstance(got[-1][1], EnquireLinkResp)) or len(got) < 8:
        header, pdu = await connection.read()
        got.append((header.sequence_number, pdu))
        if len(got) == 8:
            break
    sequences = [sequence for sequence, pdu in got if isinstance(pdu, DeliverSm)]
    assert len(sequences) == 2
    assert sink.stats()["receipts"] == 2
    connection.respond(DeliverSmResp(), sequences[0])
    assert isinstance((await connection.read())[1], DeliverSm)
    assert sink.stats()["receipts"] == 3
    await connection.close()


async def test_answers_are_held_back_when_receipts_pile_up(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers no receipt comes to stand at its own window, and goes on when it answers."""
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    sink = await start(window=1)
    connection = await Connection.bound(sink.port)
    for _ in range(10):
        connection.send(submit())
    answers = deliveries = 0
    while answers < 10 or deliveries < 10:
        header, pdu = await connection.read()
        answers += isinstance(pdu, SubmitSmResp)
        if isinstance(pdu, DeliverSm):
            deliveries += 1
            assert answers <= deliveries + 4
            connection.respond(DeliverSmResp(), header.sequence_number)
    await connection.close()


async def test_no_receipt_for_who_does_not_ask_or_cannot_receive(start: Starter) -> None:
    """registered_delivery 0, and a transmitter."""
    sink = await start()
    connection = await Connection.bound(sink.port)
    await connection.submitted(submit(registered_delivery=0))
    connection.send(BindTransmitter(system_id=b"a", password=b"b"))
    await connection.read()
    await connection.submitted(submit())
    connection.send(Unbind())
    assert isinstance((await connection.read())[1], UnbindResp)
    assert sink.stats()["receipts"] == 0
    await connection.close()


async def test_refusals_are_counted_apart(start: Starter) -> None:
    """An error and a nack are no acknowledgement; an unknown request is nacked."""
    sink = await start()
    connection = await Connection.bound(sink.port)
    connection.send(QuerySm(message_id=b"1"))
    assert isinstance((await connection.read())[1], GenericNack)
    await connection.submitted(submit())
    await connection.submitted(submit())
    connection.respond(GenericNack(), 1)
    connection._writer.write(bytes.fromhex("00000011800000050000000b0000000200"))
    connection.send(EnquireLink())
    while not isinstance((await connection.read())[1], EnquireLinkResp):
        pass
    assert (sink.stats()["receipts_refused"], sink.stats()["receipts_acknowledged"]) == (2, 0)
    await connection.close()


async def _receipts(connection: Connection, count: int) -> list[tuple[int, bytes]]:
    """Read so many receipts; their sequence numbers and carrier ids."""
    found: list[tuple[int, bytes]] = []
    while len(found) < count:
        header, pdu = await connection.read()
        if isinstance(pdu, DeliverSm):
            found.append((header.sequence_number, pdu.tlvs[0].value))
    return found


async def test_what_is_refused_is_delivered_again(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt that is answered by an error comes again, until it is acknowledged; that counts once."""
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    sink = await start()
    connection = await Connection.bound(sink.port)
    connection.send(submit())
    ((first, carrier_id),) = await _receipts(connection, 1)
    connection.respond(DeliverSmResp(), first, 0x64)
    ((second, again),) = await _receipts(connection, 1)
    assert (again, second != first) == (carrier_id, True)
    connection.respond(DeliverSmResp(), second)
    connection.respond(DeliverSmResp(), second)  # nobody has asked for that
    connection.send(EnquireLink())
    assert isinstance((await connection.read())[1], EnquireLinkResp)
    stats = sink.stats()
    assert (stats["receipts"], stats["receipts_refused"], stats["receipts_acknowledged"]) == (2, 1, 1)
    await connection.close()


@pytest.mark.parametrize("late", [False, True])
async def test_what_a_connection_leaves_goes_to_another(start: Starter, late: bool) -> None:
    """Receipts without an answer when their connection ends are delivered to one that is there, or that comes."""
    sink = await start(window=2)
    connection = await Connection.bound(sink.port)
    other = None if late else await Connection.bound(sink.port)
    for _ in range(5):
        connection.send(submit())
    first = await _receipts(connection, 2)  # the other three wait
    connection.respond(DeliverSmResp(), first[0][0])
    await _receipts(connection, 1)
    await connection.close()
    other = other or await Connection.bound(sink.port)
    left = []
    for _ in range(4):
        ((sequence, carrier_id),) = await _receipts(other, 1)
        left.append(carrier_id)
        other.respond(DeliverSmResp(), sequence)
    assert len({*left, first[0][1]}) == 5
    other.send(EnquireLink())
    assert isinstance((await other.read())[1], EnquireLinkResp)
    stats = sink.stats()
    assert (stats["receipts_acknowledged"], stats["receipts_left"], stats["receipts_lost"]) == (5, 0, 0)
    await other.close()


async def test_what_is_left_is_bounded(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """More receipts of ended connections than are kept are counted as lost."""
    sink = await start(window=3)
    connection = await Connection.bound(sink.port)
    for _ in range(3):
        connection.send(submit())
    await _receipts(connection, 3)
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    await connection.close()
    other = await Connection.bound(sink.port)
    await _receipts(other, 2)
    assert sink.stats()["receipts_lost"] == 1
    await other.close()


@pytest.mark.parametrize(
    "octets",
    [
        "00000008 00000004",
        "7fffffff 00000004",
        "00000012 00000004 00000000 00000002 0102",
        "00000010 00000004 00000000 00000002",
    ],
)
async def test_octets_that_are_no_smpp_end_the_connection(start: Starter, octets: str) -> None:
    """It is no judge; it just goes."""
    sink = await start()
    connection = await Connection.bound(sink.port)
    connection._writer.write(bytes.fromhex(octets.replace(" ", "").ljust(32, "0")))
    assert await connection.ended()
    await connection.close()


def test_plain_text_is_explicit() -> None:
    """As for the simulator."""
    with pytest.raises(ScriptError, match="plain"):
        Sink()
    with pytest.raises(ScriptError, match="loopback"):
        Sink(host="0.0.0.0", plain=True)  # noqa: S104  # refused


async def test_a_distant_sink_answers_later(start: Starter) -> None:
    """Everything that it writes comes `delay_s` later, in order."""
    sink = await start(delay_s=0.1)
    began = time.monotonic()
    connection = await Connection.bound(sink.port)
    assert time.monotonic() - began >= 0.1
    began = time.monotonic()
    for number in range(20):
        connection.send(submit(b"x", to=b"49151%08d" % number))
    answered: list[bytes] = []
    while len(answered) < 20:
        _, pdu = await connection.read()
        if isinstance(pdu, SubmitSmResp):
            answered.append(pdu.message_id)
    assert time.monotonic() - began >= 0.1
    assert answered == sorted(answered)
    await connection.close()
