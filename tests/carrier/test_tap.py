"""The tap of a link: every PDU, in and out, while somebody watches, and nothing otherwise."""

from __future__ import annotations

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.contract import LinkState
from carrier.profile import Binding, Receiver
from carrier.tap import Tap
from tests.carrier.driver import batch, profile_of, running
from tests.carrier.smsc import BIND, DELIVER, RESP, SUBMIT, UNBIND, listening, pdu
from tests.carrier.test_connection import commands, connected, turn

RECEIPT = bytes(7) + b"\x04" + bytes(9)
Seen = list[tuple[float, bool, bytes]]


def seen_by(seen: Seen) -> list[tuple[bool, int]]:
    """Return direction and command of what a sink has been given, each a whole PDU."""
    return [(sent, command) for _, sent, octets in seen for command in commands(octets)]


async def test_every_pdu_in_and_out() -> None:
    """From the first PDU after it was set to the unbind, over a reconnect, with the time of each."""
    seen: Seen = []
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        await driver.until_state(LinkState.BOUND)
        link.tap(lambda *pdu: seen.append(pdu))
        started = time.time()
        link.submit(batch(1))
        await driver.until(lambda: len(driver.results) == 1)
        smsc.peers[0].transport.write(pdu(DELIVER, 5, RECEIPT))
        await driver.until(lambda: len(driver.deliveries) == 1)
        link.answer([(driver.deliveries[0].ticket, 0)])
        await smsc.until(lambda: smsc.count(DELIVER | RESP) == 1)
        smsc.peers[0].transport.abort()
        await driver.until_state(LinkState.BOUND, 2)
        await link.stop(1)
    assert seen_by(seen) == [
        (True, SUBMIT), (False, SUBMIT | RESP), (False, DELIVER), (True, DELIVER | RESP),
        (True, BIND), (False, BIND | RESP), (True, UNBIND), (False, UNBIND | RESP),
    ]  # fmt: skip
    assert all(started - 1 <= at <= time.time() + 1 for at, _, _ in seen)


async def test_it_ends() -> None:
    """After None nothing is copied any more."""
    seen: Seen = []
    link, driver, connection, _ = connected()
    link.tap(lambda *pdu: seen.append(pdu))
    link.tap(None)
    link.submit(batch(1))
    await turn()
    connection.data_received(pdu(SUBMIT | RESP, 2, b"id\0"))
    assert (seen, len(driver.results)) == ([], 1)
    connection.connection_lost(None)


async def test_in_the_middle_of_a_pdu() -> None:
    """A tap that is set between two halves of a PDU has it whole, and those after it."""
    seen: Seen = []
    link, _, connection, _ = connected()
    octets = pdu(DELIVER, 5, RECEIPT) + pdu(DELIVER, 6, RECEIPT)
    connection.data_received(octets[:20])
    link.tap(lambda *pdu: seen.append(pdu))
    connection.data_received(octets[20:])
    assert b"".join(octets for _, _, octets in seen) == octets
    connection.connection_lost(None)


async def test_both_binds_of_a_pair() -> None:
    """A tap on a pair has transmitter and receiver."""
    seen: Seen = []
    async with listening() as smsc:
        async with running(profile_of(smsc.port, binding=Binding(receiver=Receiver()))) as (link, driver):
            link.tap(lambda *pdu: seen.append(pdu))
            await driver.until(lambda: all(bind.state is LinkState.BOUND for bind in link.stats().binds))
        assert {command for _, command in seen_by(seen)} >= {0x1, 0x2, 0x80000001, 0x80000002}


async def test_a_failing_watcher_does_not_cut_the_link(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the sink is logged once, and the link serves on."""
    link, driver, connection, _ = connected()

    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    link.tap(fails)
    with caplog.at_level(logging.ERROR):
        link.submit(batch(2))
        await turn()
        connection.data_received(pdu(SUBMIT | RESP, 2, b"id\0") + pdu(SUBMIT | RESP, 3, b"id\0"))
    assert len(driver.results) == 2
    assert [record.message for record in caplog.records] == ["link_tap_failed"]
    connection.connection_lost(None)


@given(st.lists(st.binary(max_size=30), max_size=10), st.integers(1, 40))
def test_any_cut_gives_the_same_pdus(bodies: list[bytes], size: int) -> None:
    """However the stream is cut into reads, each PDU is given once and whole."""
    seen: Seen = []
    tap = Tap(lambda *pdu: seen.append(pdu), clock=lambda: 1.5)
    pdus = [pdu(SUBMIT, number, body) for number, body in enumerate(bodies)]
    octets = b"".join(pdus)
    for start in range(0, len(octets), size):
        tap.incoming(octets[start : start + size])
    assert seen == [(1.5, False, one) for one in pdus]
