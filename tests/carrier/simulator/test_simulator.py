"""The simulator on real connections: TLS, an independent client, the order of log and answer, and its ends."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import smpplib.client
import smpplib.gsm
from smpplib import consts
from smpplib.exceptions import PDUError

from carrier.inbound import assemble, parse_inbound
from carrier.simulator import simulator as module
from carrier.simulator.errors import ScriptError
from carrier.simulator.simulator import Simulator, log_line
from carrier.simulator.smsc import Event, Received
from carrier.smpp.pdu import EnquireLink
from tests.carrier.simulator.conftest import Starter, Tls
from tests.carrier.simulator.esme import Connection, submit

TEXTS = ["hello [€]", "नमस्ते, यह एक परीक्षण है।", "emoji 😀👍", "long " * 80, "लंबा संदेश " * 20]


class Smpplib(smpplib.client.Client):  # type: ignore[misc]  # smpplib has no types
    """smpplib's client, taught to check the host name."""

    def __init__(self, port: int, tls: Tls) -> None:
        super().__init__("127.0.0.1", port, timeout=5, ssl_context=tls.client(), allow_unknown_opt_params=True)
        self.receipts: list[Any] = []
        self.ids: list[bytes] = []
        self.set_message_received_handler(lambda pdu: self.receipts.append(pdu))  # noqa: PLW0108  # called by name: pdu=
        self.set_message_sent_handler(lambda pdu: self.ids.append(pdu.message_id))

    def _create_socket(self) -> ssl.SSLSocket:
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        raw.settimeout(self.timeout)
        return self._ssl_context.wrap_socket(raw, server_hostname="localhost")  # type: ignore[no-any-return]  # untyped

    def send_text(self, text: str) -> int:
        """Send a text as smpplib cuts it; returns its number of parts."""
        parts, data_coding, esm_class = smpplib.gsm.make_parts(text)
        for part in parts:
            self.send_message(
                source_addr_ton=consts.SMPP_TON_ALNUM,
                source_addr="ACME",
                dest_addr_ton=consts.SMPP_TON_INTL,
                dest_addr_npi=consts.SMPP_NPI_ISDN,
                destination_addr="4915112345678",
                short_message=part,
                data_coding=data_coding,
                esm_class=esm_class,
                registered_delivery=True,
            )
        return len(parts)


async def test_smpplib_over_tls(start: Starter, tls: Tls, tmp_path: Path) -> None:
    """An independent implementation binds, sends every kind of text, and reads ids and receipts."""
    log = tmp_path / "arrived.tsv"
    simulator = await start("system_id: smsgw\npassword: pw", ssl_context=tls.server(), plain=False, log_path=log)

    def play() -> Smpplib:
        client = Smpplib(simulator.port, tls)
        client.connect()
        client.bind_transceiver(system_id="smsgw", password="pw")
        total = sum(client.send_text(text) for text in TEXTS)
        while len(client.receipts) < total or len(client.ids) < total:
            client.read_once()
        client.unbind()
        client.disconnect()
        return client

    client = await asyncio.to_thread(play)
    assert simulator.texts == TEXTS
    ids = [received.message_id.encode() for received in simulator.received]
    assert client.ids == ids
    assert sorted(pdu.receipted_message_id.rstrip(b"\0") for pdu in client.receipts) == sorted(ids)
    assert all(pdu.message_state == consts.SMPP_MESSAGE_STATE_DELIVERED for pdu in client.receipts)
    assert [line.split("\t")[1].encode() for line in log.read_text().splitlines()] == ids
    await simulator.until(lambda found: found.stats()["receipts_answered"] == len(ids))


async def test_smpplib_asks_about_its_messages(start: Starter, tls: Tls) -> None:
    """query_sm about one under way, and about one that was delivered."""
    script = "operations: {query: answer}\nreceipts: {delay_s: 3600, variants: [{text: soon}]}\nmessage_ids: hex"
    simulator = await start(script, ssl_context=tls.server(), plain=False)

    def play() -> tuple[Smpplib, list[Any]]:
        states: list[Any] = []
        client = Smpplib(simulator.port, tls)
        client.set_query_resp_handler(lambda pdu: states.append(pdu.message_state))
        client.connect()
        try:
            client.bind_transceiver(system_id="smsgw", password="pw")
            for text in ("later", "soon"):
                client.send_text(text)
            while len(client.ids) < 2 or not client.receipts:
                client.read_once()
            for message_id in client.ids:
                source = {"source_addr_ton": consts.SMPP_TON_ALNUM, "source_addr": "ACME"}
                client.query_message(message_id=message_id.decode(), **source)
            while len(states) < 2:
                client.read_once()
            client.unbind()
        finally:
            client.disconnect()
        return client, states

    client, states = await asyncio.to_thread(play)
    assert client.ids == [received.message_id.encode() for received in simulator.received]
    assert states == [consts.SMPP_MESSAGE_STATE_ENROUTE, consts.SMPP_MESSAGE_STATE_DELIVERED]


async def test_smpplib_is_told_of_wrong_credentials(start: Starter, tls: Tls) -> None:
    """The independent client understands the refusal."""
    simulator = await start("password: pw", ssl_context=tls.server(), plain=False)

    def play() -> None:
        client = Smpplib(simulator.port, tls)
        client.connect()
        try:
            with pytest.raises(PDUError, match="14"):
                client.bind_transceiver(system_id="smsgw", password="wrong")
        finally:
            client.disconnect()

    await asyncio.to_thread(play)
    assert simulator.stats()["binds"] == 0


async def test_client_certificates_can_be_required(start: Starter, tls: Tls) -> None:
    """Without one there is no session."""
    context = tls.server()
    context.load_verify_locations(tls.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    simulator = await start(ssl_context=context, plain=False)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await Connection.bound(simulator.port, tls.client())
    assert simulator.stats()["binds"] == 0


@pytest.mark.parametrize(("host", "plain"), [("127.0.0.1", False), ("0.0.0.0", True), ("example.com", True)])  # noqa: S104  # refused
def test_plain_text_is_explicit_and_on_loopback(host: str, plain: bool) -> None:
    """Messages never cross a network in the clear."""
    with pytest.raises(ScriptError, match="plain"):
        Simulator(host=host, plain=plain)


async def test_the_log_is_written_before_the_answer(
    start: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads an answer finds the line: the order of the two calls, and the file as it stands."""
    order: list[str] = []
    write_log, write = os.write, module._Connection.write

    def note_log(descriptor: int, octets: bytes) -> int:
        order.append("log")
        return write_log(descriptor, octets)

    def note_answer(self: module._Connection, octets: bytes, closing: bool) -> None:
        order.extend(["answer"] if octets else [])
        write(self, octets, closing)

    log = tmp_path / "arrived.tsv"
    simulator = await start("receipts: {send: false}", log_path=log)
    connection = await Connection.bound(simulator.port)
    monkeypatch.setattr(os, "write", note_log)
    monkeypatch.setattr(module._Connection, "write", note_answer)
    message_id = await connection.submitted(submit(b"two\nlines", to=b"49151"))
    assert order == ["log", "answer"]
    assert log.read_text() == f"49151\t{message_id}\t1/1\ttwo\\nlines\n"
    await connection.close()


async def test_a_log_that_cannot_be_written_stops_the_answers(
    start: Starter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A full disk: no answer leaves, connections end, and it is told."""
    told: list[bool] = []
    simulator = await start(log_path=tmp_path / "arrived.tsv", on_failure=lambda: told.append(True))
    connection = await Connection.bound(simulator.port)

    def full(descriptor: int, octets: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    connection.send(submit())
    assert await connection.ended()
    assert told == [True]
    assert "No space left" in simulator.failure
    assert not simulator.received
    await connection.close()


def test_log_lines_are_one_line_each() -> None:
    """Whatever a text holds, a line is a line with four fields."""
    text = "a\tb\nc\r\\d\x1b\u2028e é"
    line = log_line(Received("id", "ACME", "49151", 1, 2, text, None, submit(), 0.0, "#1", ()))
    assert line == "49151\tid\t1/2\ta\\tb\\nc\\r\\\\d\\x1b\\u2028e é\n"
    assert len(line.splitlines()) == 1


async def test_inbound_messages_reach_whoever_is_bound(start: Starter) -> None:
    """Injected while bound, and before."""
    simulator = await start()
    assert simulator.inject_inbound("+4915112345678", "12345", "early") == 1
    connection = await Connection.bound(simulator.port)
    assert assemble([parse_inbound(await connection.delivery())]) == "early"
    assert simulator.inject_inbound("+4915112345678", "12345", "later " * 40) == 2
    parts = [parse_inbound(await connection.delivery()) for _ in range(2)]
    assert assemble(parts) == "later " * 40
    await simulator.until(lambda found: found.stats()["inbound_answered"] == 3)
    await connection.close()


async def test_disconnecting_all_and_coming_back(start: Starter) -> None:
    """Cut without an unbind; receipts come over the next connection."""
    simulator = await start("receipts: {delay_s: 0.02}")
    connection = await Connection.bound(simulator.port)
    message_id = await connection.submitted(submit())
    assert simulator.disconnect_all() == 1
    assert await connection.ended()
    await connection.close()
    await simulator.until(lambda found: found.stats()["bound"] == 0)
    again = await Connection.bound(simulator.port)
    assert message_id.encode() in (await again.delivery()).short_message
    await again.close()


async def test_delays_pass_in_real_time(start: Starter) -> None:
    """The timer is set anew for each deadline."""
    simulator = await start("responses: {delay_s: 0.03}\nreceipts: {delay_s: 0.03}")
    connection = await Connection.bound(simulator.port)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await connection.submitted(submit())
    answered = loop.time()
    await connection.delivery()
    assert answered - began >= 0.03
    assert loop.time() - answered >= 0.02
    await connection.close()


async def test_what_stops_stops(start: Starter) -> None:
    """Open connections end, the port is free, a second stop does nothing."""
    simulator = await start()
    connection = await Connection.bound(simulator.port)
    port = simulator.port
    await simulator.stop()
    await simulator.stop()
    assert await connection.ended()
    await connection.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(RuntimeError, match="not been started"):
        _ = simulator.port


async def test_connections_are_bounded(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is cut at once; the others stay."""
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 1)
    simulator = await start()
    first = await Connection.bound(simulator.port)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await Connection.bound(simulator.port)
    await first.submitted(submit())
    await first.close()


async def test_a_peer_that_does_not_read_stops_being_read(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers pile up to a bound, then its requests wait; nothing is lost once it reads again."""
    monkeypatch.setattr(module, "_MAX_BACKLOG_BYTES", 2048)
    simulator = await start("receipts: {send: false}")
    connection = await Connection.bound(simulator.port)
    for accepted in simulator._connections.values():  # the kernel would hold megabytes otherwise
        accepted.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    total = 15_000
    for _ in range(total):
        connection.send(submit(registered_delivery=0))
    paused = False

    def seen(found: Simulator) -> bool:
        nonlocal paused
        paused = paused or any(peer.paused for peer in found._connections)
        return paused

    await simulator.until(seen)
    for _ in range(total):
        await connection.read()
    assert simulator.stats()["accepted"] == total
    await connection.close()


async def test_events_are_told(start: Starter) -> None:
    """Binds, messages and ends, in order."""
    told: list[Event] = []
    simulator = await start(on_event=told.append)
    connection = await Connection.bound(simulator.port)
    await connection.submitted(submit(b"hi"))
    connection.send(EnquireLink())
    await connection.close()
    await simulator.until(lambda found: not found.stats()["bound"])
    names = [event.text if isinstance(event, Received) else event.name for event in told]
    assert names == ["bound", "hi", "disconnected"]


async def test_waiting_has_an_end(start: Starter) -> None:
    """A condition that never holds is a TimeoutError, and leaves nothing behind."""
    simulator = await start()
    with pytest.raises(TimeoutError):
        await simulator.until(lambda found: found.stats()["binds"] == 9, timeout_s=0.02)
    assert simulator._waiters == []
