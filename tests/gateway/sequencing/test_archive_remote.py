"""Remote archives get checkpoints over TLS that is verified, and what does not take them is said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.sequencing.archive_remote import HttpsArchive, SyslogArchive
from gateway.sequencing.errors import NotArchived
from gateway.sequencing.http_post import Resource
from gateway.sequencing.lines_out import Place, TlsFiles
from tests.gateway.sequencing.commits import opened
from tests.gateway.sequencing.servers import (
    STRANGER,
    answer,
    place,
    posting,
    server_context,
    syslog,
    tls_files,
)
from tests.gateway.sequencing.test_archiving import archived


def archive_at(where: Place, token: str = "") -> HttpsArchive:
    """An archive of this place."""
    return HttpsArchive(Resource(place=where, authority=f"{where.host}:{where.port}", path="/checkpoints", token=token))


async def test_a_note_is_posted(tmp_path: Path) -> None:
    """The body is the note as it was signed; the token goes with it."""
    async with posting(server_context(tmp_path), lambda _head, _body: answer(201)) as (port, posted):
        await archive_at(place(port, tls_files(tmp_path)), token="t0ken").put(archived(7))
    ((head, body),) = posted.requests
    assert head.startswith(b"POST /checkpoints HTTP/1.1\r\n")
    assert b"Authorization: Bearer t0ken\r\n" in head
    assert opened(body).size == 7


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(500), "answers 500"),
        (answer(302), "answers 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "ended the connection|not HTTP"),
        (b"", "ended the connection|not HTTP"),
        (b"220 smtp.example ESMTP\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "not HTTP"),
        (b"HTTP/1.1 103 Wait\r\n\r\n" * 20, "never comes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, "more than"),
    ],
)
async def test_what_is_no_success(tmp_path: Path, said: bytes, why: str) -> None:
    """Any answer but 2xx, a redirect too, and any that does not end is a failure."""
    async with posting(server_context(tmp_path), lambda _head, _body: said) as (port, _):
        with pytest.raises(NotArchived, match=why):
            await archive_at(place(port, tls_files(tmp_path))).put(archived(1))


async def test_nobody_else_gets_it(tmp_path: Path) -> None:
    """A server of another authority, or of another name, gets no note; plain text meets no TLS."""
    async with posting(server_context(tmp_path), lambda _head, _body: answer(200)) as (port, posted):
        with pytest.raises(NotArchived, match="not believed"):
            await archive_at(place(port, tls_files(tmp_path, STRANGER))).put(archived(1))
        with pytest.raises(NotArchived):
            await archive_at(place(port, None)).put(archived(1))
    async with posting(server_context(tmp_path, "other.example"), lambda _head, _body: answer(200)) as (port, other):
        with pytest.raises(NotArchived, match="not believed"):
            await archive_at(place(port, tls_files(tmp_path))).put(archived(1))
    assert posted.requests == other.requests == []


async def test_who_does_not_answer(tmp_path: Path) -> None:
    """A server that says nothing, and one that is not there, are given up."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotArchived, match="did not answer within"):
            await archive_at(place(port, None, timeout_s=0.2)).put(archived(1))
    with pytest.raises(NotArchived):
        await archive_at(place(port, None)).put(archived(1))
    for name in ("a..b", ".example", "x" * 64 + ".example"):
        nowhere = Place(host=name, port=443, tls=tls_files(tmp_path), timeout_s=20.0)
        with pytest.raises(NotArchived, match=name):
            await archive_at(nowhere).put(archived(1))
    with pytest.raises(NotArchived, match="TLS files"):
        await archive_at(place(port, TlsFiles(ca_file=tmp_path / "none.pem"))).put(archived(1))


async def test_syslog(tmp_path: Path) -> None:
    """Messages are those of RFC 5424, framed by their length, on one connection; the object holds the note."""
    async with syslog(server_context(tmp_path)) as (port, got):
        archive = SyslogArchive(place(port, tls_files(tmp_path)), "node 1")
        for size in (1, 2, 3):
            await archive.put(archived(size))
        async with asyncio.timeout(30):
            while len(got.messages) < 3:
                await asyncio.sleep(0.002)
        await archive.close()
        assert len(got.connections) == 1
    head, _, body = got.messages[2].partition(b" - checkpoint - ")
    assert head == b"<109>1 2027-01-15T08:00:00.000000Z node_1 smsgw"
    document = json.loads(body)
    assert opened(document["note"].encode()).size == document["size"] == 3


async def put_again_and_again(archive: SyslogArchive) -> None:
    """Put a few times: the end of a connection may be noticed at the second attempt."""
    for _ in range(5):
        await archive.put(archived(2))
        await asyncio.sleep(0.01)


async def test_syslog_comes_back(tmp_path: Path) -> None:
    """When the server has gone it is not archived; when it is there again, on a new connection, it is."""
    async with syslog(server_context(tmp_path)) as (port, got):
        archive = SyslogArchive(place(port, tls_files(tmp_path)), "node-1")
        await archive.put(archived(1))
        async with asyncio.timeout(30):
            await got.there.wait()
    with pytest.raises(NotArchived):
        await put_again_and_again(archive)
    async with syslog(server_context(tmp_path), port) as (_, again):
        await archive.put(archived(3))
        async with asyncio.timeout(30):
            await again.there.wait()
        await archive.close()
    assert b'"size":3' in again.messages[0]


async def test_syslog_believes_nobody_else(tmp_path: Path) -> None:
    """A server of another authority gets nothing."""
    async with syslog(server_context(tmp_path)) as (port, got):
        archive = SyslogArchive(place(port, tls_files(tmp_path, STRANGER)), "node-1")
        with pytest.raises(NotArchived, match="not believed"):
            await archive.put(archived(1))
    assert got.messages == []
