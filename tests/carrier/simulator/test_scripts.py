"""The shipped scripts: each row has one, each can be played, and each plays something that a good carrier does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from carrier.simulator.cli import simulator
from carrier.simulator.script import Script
from carrier.simulator.script_file import parse_script, read_script
from carrier.simulator.scripts import shipped
from carrier.simulator.smsc import Smsc
from carrier.smpp.frames import FrameSplitter
from carrier.smpp.pdu import (
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    DeliverSm,
    DeliverSmResp,
    Pdu,
    decode,
    encode,
)
from carrier.smpp.tlv import Tlv
from tests.carrier.simulator.esme import submit

ROWS = list(range(1, 33))
TLVS = (Tlv(0x1400, b"1101"), Tlv(0x1401, b"1107"))


def test_every_row_has_one_that_says_which() -> None:
    """By its name, and in its first line."""
    scripts = shipped()
    assert sorted(scripts) == ROWS
    for row, path in scripts.items():
        assert path.read_text("utf-8").startswith(f"# Row {row}: ")
        assert re.fullmatch(r"row-\d\d-[a-z0-9-]+\.yaml", path.name)


class Session:
    """A transceiver, or a pair where that is all there is, which answers everything."""

    def __init__(self, script: Script) -> None:
        self.smsc = Smsc(script, now=0.0, wall_offset_s=1.8e9, first_id=1)
        pair = "transceiver" not in script.binds.kinds
        password = (script.password or "secret").encode()
        binds: tuple[Pdu, ...] = (BindTransceiver(b"user", password),)
        if pair:
            binds = BindTransmitter(b"user", password), BindReceiver(b"user", password)
        self.peers = [self.smsc.connect(0.0) for _ in binds]
        for peer, bind in zip(self.peers, binds, strict=True):
            peer.receive(encode(bind, 1), 0.0)
        self.statuses: list[int] = []
        self.deliveries = 0

    def play(self, count: int) -> None:
        """Send so many submit_sm, one a second, and let two minutes pass; everything that comes is read."""
        for number in range(count):
            pdu = submit(b"hello", to=b"49151123456%02d" % number, tlvs=TLVS)
            self.peers[0].receive(encode(pdu, number + 2), float(number))
            self.read(float(number))
        for second in range(count, count + 120):
            self.smsc.tick(float(second))
            self.read(float(second))

    def read(self, now: float) -> None:
        """Read what is written, and answer deliveries."""
        self.smsc.tick(now)
        for peer in self.peers:
            for frame in FrameSplitter().feed(peer.take_output()):
                header, pdu = decode(frame)
                if header.command_id in (0x80000004, 0x80000000):
                    self.statuses.append(header.command_status)
                elif header.command_id in (0x00000005, 0x00000103):
                    self.deliveries += 1
                    answer = encode(DeliverSmResp(), header.sequence_number)
                    peer.receive(answer if isinstance(pdu, DeliverSm) else _as_data_sm_resp(answer), now)
        self.smsc.tick(now)


def _as_data_sm_resp(answer: bytes) -> bytes:
    return answer[:4] + (0x80000103).to_bytes(4, "big") + answer[8:]


@pytest.mark.parametrize("row", ROWS)
def test_each_can_be_played(row: int) -> None:
    """Twenty messages and two minutes: no octets that do not decode, and nothing stays under way for ever."""
    script = read_script(shipped()[row])
    assert script != Script()
    session = Session(script)
    session.play(20)
    assert session.smsc.counts.binds == len(session.peers)
    assert session.smsc.counts.submits + session.statuses.count(3) >= 20
    assert session.deliveries > 0
    assert session.smsc.stats()["owed"] == 0


def test_a_row_is_chosen_by_its_number(tmp_path: Path) -> None:
    """--row and --script exclude each other; a row that there is not is refused."""
    (tmp_path / "s.yaml").write_text("")
    both = CliRunner().invoke(simulator, ["--plain", "--row", "7", "--script", str(tmp_path / "s.yaml")])
    assert (both.exit_code, "leave out --row" in both.output) == (2, True)
    assert CliRunner().invoke(simulator, ["--plain", "--row", "33"]).exit_code == 2
    assert parse_script(shipped()[7].read_bytes()).receipts.variants
