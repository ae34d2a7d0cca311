"""The comparison with Kannel, as far as it goes without Kannel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import pytest

from bench import kannel, plot, traffic
from bench.comparison import OURS, Side, compared, medians, table
from bench.http_load import exchange, request
from bench.sink import Sink
from tests.appliance import ProcessFailed

SIDE = Side(
    gateway=OURS, messages=100, accepted_per_s=1000.0, receipted_per_s=900.0, cpu_us=500.0,
    processes_us={"node": 500.0}, others_us={"sink": 10.0, "generators": 90.0}, call_p50_ms=1.0,
    call_p99_ms=5.0, submit_p50_ms=2.0, submit_p99_ms=9.0, peak_bytes=100_000_000,
)  # fmt: skip
OTHER = replace(SIDE, gateway="Kannel, file store", processes_us={"bearerbox": 300.0, "smsbox": 100.0}, cpu_us=400.0)


def test_medians_are_those_of_each_figure() -> None:
    """One bad round does not count, in any figure."""
    bad = replace(SIDE, cpu_us=9000.0, processes_us={"node": 9000.0}, peak_bytes=10)
    (ours, other) = medians([[SIDE, OTHER], [bad, OTHER], [replace(SIDE, cpu_us=510.0), OTHER]])
    assert (ours.gateway, ours.cpu_us, ours.processes_us, ours.peak_bytes) == (
        OURS,
        510.0,
        {"node": 500.0},
        100_000_000,
    )
    assert other == OTHER


def test_what_a_side_takes_of_kannels() -> None:
    """It is a part of what the first Kannel took in the same round, and the median is that of the rounds' parts."""
    slow = replace(OTHER, gateway="Kannel, spool store", cpu_us=800.0)
    (ours, first, second) = compared([SIDE], [OTHER, slow])
    assert (ours.of_kannel, first.of_kannel, second.of_kannel) == (1.25, 1.0, 2.0)
    twice = compared([replace(SIDE, cpu_us=1000.0)], [replace(OTHER, cpu_us=1000.0), slow])
    assert medians([[ours], twice[:1], twice[:1]])[0].of_kannel == 1.0


def test_the_table_names_every_process() -> None:
    """A row for each gateway, with its processes."""
    head, _, first, second = table([SIDE, OTHER]).splitlines()
    assert len({len(head), len(first), len(second)}) == 1
    assert "bearerbox 300, smsbox 100" in second


def test_the_picture_has_a_bar_for_each_figure() -> None:
    """It is well-formed, its bars are in proportion, and a name cannot break it."""
    named = replace(OTHER, gateway="<&>")
    root = ET.fromstring(plot.svg([SIDE, named], "a & b"))  # noqa: S314  # our own text
    name = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.attrib["width"]) for bar in root.iter(f"{name}rect")][1:]
    assert len(widths) == 10
    assert widths[3] / widths[2] == pytest.approx(0.8, abs=0.01)  # CPU
    assert "<&>" in [text.text for text in root.iter(f"{name}text")]


def test_kannels_configuration(tmp_path: Path) -> None:
    """TLS where the sink has it, the store that was asked for, and nothing that listens beyond loopback."""
    ports = {"admin": 1, "box": 2, "http": 3}
    secured = Sink(host="127.0.0.1", port=2775, control=2776, ca_file=tmp_path)
    text = kannel.configuration(tmp_path, secured, kannel.Store.SPOOL, ports)
    assert f'store-type = spool\nstore-location = "{tmp_path}/spool"' in text
    assert "use-ssl = 1" in text
    assert text.count("interface = 127.0.0.1") == 3
    plain = kannel.configuration(tmp_path, replace(secured, ca_file=None), kannel.Store.NONE, ports)
    assert "ssl" not in plain
    assert "store-type" not in plain


def test_kannel_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says how it is had."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kannel, "_SBIN", str(tmp_path))
    with pytest.raises(ProcessFailed, match="apt-get install"):
        kannel.programs()


async def test_a_call_by_http() -> None:
    """The request is that message's; answers on one connection are kept apart by their lengths."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for status in (b"202 Accepted", b"503 Busy"):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 3\r\n\r\n0: " % status)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert [await exchange(reader, writer, request(number)) for number in (7, 8)] == [202, 503]
        writer.close()
        await writer.wait_closed()
    query = parse_qs(urlsplit(seen[1].split(b" ")[1].decode()).query)
    assert (query["to"], query["text"], query["dlr-mask"]) == ([traffic.recipient(8)], [traffic.text(8)], ["31"])
