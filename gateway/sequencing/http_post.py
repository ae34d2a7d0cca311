"""One POST of HTTP/1.1, its answer bounded: no redirect is followed, no proxy used, nothing encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import h11

from gateway.sequencing.errors import NotArchived
from gateway.sequencing.lines_out import READ_OCTETS, Place

MAX_BODY = 64 << 10
_MAX_HEAD = 16 << 10
_MAX_INTERIM = 4
_MAX_RECEIVED = 4 * MAX_BODY


class Answer(NamedTuple):
    """Status, content type without its parameters, body."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Where is posted: a path on a host. `authority`: the Host header. `token`: sent as a bearer token if not empty."""

    place: Place
    authority: str
    path: str
    token: str = ""

    async def post(self, body: bytes, content_type: str, below: str = "") -> Answer:
        """Return the answer, whatever its status. Raises NotArchived."""
        exchange = _Exchange()
        async with self.place.connection() as (reader, writer):
            path = f"{self.path.rstrip('/')}{below}" if below else self.path or "/"
            writer.write(exchange.request(self, body, content_type, path))
            await writer.drain()
            while (answer := exchange.received(await reader.read(READ_OCTETS))) is None:
                pass
        return answer


class _Exchange:
    """Bytes in, an answer out."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._interim = self._octets = 0

    def request(self, resource: Resource, body: bytes, content_type: str, path: str) -> bytes:
        headers = [
            ("Host", resource.authority),
            ("User-Agent", "smsgw"),
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        if resource.token:
            headers.append(("Authorization", f"Bearer {resource.token}"))
        send = self._connection.send
        parts = [send(h11.Request(method="POST", target=path, headers=headers))]
        parts += [send(h11.Data(data=body)), send(h11.EndOfMessage())]
        return b"".join(part or b"" for part in parts)

    def received(self, octets: bytes) -> Answer | None:
        self._octets += len(octets)
        if self._octets > _MAX_RECEIVED:
            raise NotArchived(f"the answer has more than {MAX_BODY} octets")
        try:
            self._connection.receive_data(octets)
            return self._events()
        except h11.RemoteProtocolError as error:
            raise NotArchived(f"the answer is not HTTP: {ascii(str(error))[1:-1]}") from error

    def _events(self) -> Answer | None:
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.InformationalResponse):
                self._interim += 1
                if self._interim > _MAX_INTERIM:
                    raise NotArchived("it never comes to its answer")
            elif isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_BODY:
                    raise NotArchived(f"the answer has more than {MAX_BODY} octets")
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                types = [value for name, value in self._head.headers if name == b"content-type"]
                kind = types[0].decode("latin-1").partition(";")[0].strip().lower() if types else ""
                return Answer(self._head.status_code, kind, bytes(self._body))
            else:
                raise NotArchived("it ended the connection before its answer")
