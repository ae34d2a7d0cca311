"""What a bundle endpoint answers to a request, as octets (SPIFFE Federation §5.2.1.3, §5.2.2.3).

One document at one path, by GET and HEAD, to whoever asks: bundles are public, and no client has to authenticate. One
request a connection. It is sans-IO; h11 is the parser.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from email.utils import format_datetime
from http import HTTPStatus
from typing import Final

import h11

MAX_HEAD: Final = 8 * 1024
CACHE_S: Final = 60  # for how long a cache may serve it without asking: a revoked authority must not stay for longer
_CONTENT_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is served: the path, without a query, and the document."""

    path: str
    document: bytes


class Answerer:
    """One connection's request and its answer."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    def received(self, octets: bytes, page: Page, now: dt.datetime) -> bytes | None:
        """Take octets of a request, b"" for their end; return the answer once its head is whole, else None.

        After the answer the connection ends. Empty: there was no request.
        """
        try:
            self._connection.receive_data(octets)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as refused:
            return self._answer(_status_of(refused), "", b"", now)
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return None
        if not isinstance(event, h11.Request):
            return b""
        return self._to(event, page, now)

    def _to(self, request: h11.Request, page: Page, now: dt.datetime) -> bytes:
        path = request.target.partition(b"?")[0].decode("ascii", "replace")
        method = request.method.decode("ascii", "replace")
        if path != page.path:
            return self._answer(HTTPStatus.NOT_FOUND, method, b"", now)
        if method not in {"GET", "HEAD"}:
            return self._answer(HTTPStatus.METHOD_NOT_ALLOWED, method, b"", now)
        return self._answer(HTTPStatus.OK, method, page.document, now)

    def _answer(self, status: HTTPStatus, method: str, document: bytes, now: dt.datetime) -> bytes:
        good = status is HTTPStatus.OK
        body = document if good else f"{status.value} {status.phrase}\n".encode()
        headers = [
            ("Date", format_datetime(now, usegmt=True)),
            ("Content-Type", _CONTENT_TYPE if good else "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", f"public, max-age={CACHE_S}" if good else "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        head = h11.Response(status_code=status.value, reason=status.phrase, headers=headers)
        try:
            sent = self._connection.send(head) or b""
            if method != "HEAD":
                sent += self._connection.send(h11.Data(data=body)) or b""
            return sent + (self._connection.send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError:  # a request so broken that it can have no answer
            return b""


def _status_of(refused: h11.RemoteProtocolError) -> HTTPStatus:
    try:
        return HTTPStatus(refused.error_status_hint)
    except ValueError:
        return HTTPStatus.BAD_REQUEST
