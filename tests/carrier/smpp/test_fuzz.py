"""Hostile octets through codec, session, simulator and the readers behind them: documented errors, flat memory.

The short run is part of `make test`; `make soak` plays a million PDUs. A failure names its seed; SMSGW_FUZZ_SEED plays
it again.
"""

from __future__ import annotations

import gc
import os
import secrets
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from carrier.errors import FatalPduError, LocalSessionError, RecoverablePduError
from carrier.inbound import parse_inbound
from carrier.receipts import parse_receipt
from carrier.simulator.script_file import parse_script
from carrier.simulator.smsc import Smsc
from carrier.smpp.events import Bound, Event, Failed, RequestReceived, Unbound
from carrier.smpp.messages import BindTransceiver, BindTransceiverResp, DataSm, DeliverSm, SubmitSm
from carrier.smpp.pdu import decode, encode, encode_body
from carrier.smpp.session import Session, SessionConfig
from tests.carrier.smpp.fuzzing import hostile

SEED = int(os.environ.get("SMSGW_FUZZ_SEED", "0")) or secrets.randbits(32)
BODY = encode_body(SubmitSm(short_message=b"x"))
WINDOW = 20
GROWTH_BYTES = 256 * 1024  # of what Python holds, from a tenth of the way to its end
RSS_GROWTH_BYTES = 16 * 1024 * 1024


class Target:
    """A bound session, taken anew whenever the octets have ended it, and a simulated SMSC beside it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  # no secret: it has to be played again
        self.now = 0.0
        self.played = self.sessions = self.deliveries = self.accepted = 0
        self.connect()
        self.bind()

    def connect(self) -> None:
        """Connect to a new SMSC that has every operation, and bind."""
        script = parse_script("operations: {query: answer, cancel: answer, replace: answer, data: answer}")
        self.smsc = Smsc(script, now=self.now, wall_offset_s=1.8e9, first_id=1)
        self.peer = self.smsc.connect(self.now)
        self.peer.receive(encode(BindTransceiver(b"u", b"p"), 1), self.now)

    def bind(self) -> None:
        """Connect and bind."""
        self.sessions += 1
        config = SessionConfig(window=WINDOW, response_timeout_s=5, enquire_link_s=10, max_incoming=10)
        self.session = Session(config, now=self.now)
        self.session.bind(BindTransceiver(b"u", b"p"), self.now)
        self.session.bytes_to_send()
        events = self.session.receive_data(encode(BindTransceiverResp(b"s"), 1), self.now)
        assert any(isinstance(event, Bound) for event in events)
        self.over = False

    def play(self, count: int) -> None:
        """Play so many PDUs."""
        for _ in range(count):
            frame = hostile(self.random, list(range(1, WINDOW)))
            self.decode(frame)
            self.feed(frame)
            self.feed_simulator(frame)
            self.played += 1

    def decode(self, frame: bytes) -> None:
        """Decode alone: a PDU that can be encoded again, or a documented error."""
        try:
            header, pdu = decode(frame)
        except (RecoverablePduError, FatalPduError):
            return
        repr(pdu)
        assert header.command_length == len(frame)

    def feed(self, frame: bytes) -> None:
        """Give it to the session in one or two reads, with a submit_sm and some time now and then."""
        random, session = self.random, self.session
        if random.random() < 0.3:
            try:
                session.submit(BODY, object(), self.now)
            except LocalSessionError:
                assert not session.room or self.over
        cut = random.randrange(len(frame)) if random.random() < 0.3 else len(frame)
        for piece in (frame[:cut], frame[cut:]):
            self.take(session.receive_data(piece, self.now))
        if random.random() < 0.05:
            self.now += random.choice((0.1, 4.0, 11.0))
            self.take(session.handle_timeout(self.now))
        session.bytes_to_send()
        if self.over:
            session.lost()
            self.bind()

    def take(self, events: list[Event]) -> None:
        """Do what a driver does; what reads deliveries never fails."""
        for event in events:
            if isinstance(event, Failed | Unbound):
                self.over = True
            elif isinstance(event, RequestReceived) and isinstance(event.pdu, DeliverSm | DataSm):
                self.deliveries += 1
                parse_receipt(event.pdu)
                parse_inbound(event.pdu)
                self.session.answer(event.sequence, 0)

    def feed_simulator(self, frame: bytes) -> None:
        """The simulated SMSC reads the same octets."""
        self.peer.receive(frame, self.now)
        self.smsc.tick(self.now)
        self.peer.take_output()
        self.smsc.take_events()
        if self.peer.closing or self.played % 1000 == 0:
            self.smsc.disconnect(self.peer)
            self.accepted += self.smsc.counts.accepted
            self.connect()


def test_thousands_of_hostile_pdus() -> None:
    """Nothing but documented errors; sessions end, begin again and read deliveries in between."""
    target = Target(SEED)
    try:
        target.play(5_000)
    except Exception as error:
        raise AssertionError(f"seed {SEED}: PDU {target.played} of the run") from error
    assert target.deliveries > 100
    assert target.accepted > 20
    assert target.sessions > 2


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_a_million_hostile_pdus_in_flat_memory() -> None:
    """Nothing but documented errors, and no more memory at the end than at a tenth of the way."""
    target = Target(SEED)
    tracemalloc.start()
    try:
        target.play(100_000)
        gc.collect()
        before, rss_before = tracemalloc.get_traced_memory()[0], rss_bytes()
        target.play(900_000)
        gc.collect()
        after, rss_after = tracemalloc.get_traced_memory()[0], rss_bytes()
    except Exception as error:
        raise AssertionError(f"seed {SEED}: PDU {target.played} of the run") from error
    finally:
        tracemalloc.stop()
    print(f"seed {SEED}: {target.sessions} sessions, {target.deliveries} deliveries, "
          f"{after - before:+} octets traced, {rss_after - rss_before:+} resident")  # fmt: skip
    assert after - before < GROWTH_BYTES
    assert rss_after - rss_before < RSS_GROWTH_BYTES
