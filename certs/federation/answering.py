"""What is answered to a request for a public document, as octets: a bundle (SPIFFE Federation §5.2.1.3, §5.2.2.3), or a
revocation list.

Documents at their paths, by GET and HEAD, to whoever asks: they are public, and no client has to authenticate. One
request a connection. It is sans-IO; h11 is the parser.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
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
    """What is served.

    Attributes:
        path: where, without a query.
        document: what.
        content_type: its media type.
        headers: more of them.
        etag: names this document, for clients that have it; empty for none.
    """

    path: str
    document: bytes
    content_type: str = _CONTENT_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    etag: str = ""


class Answerer:
    """One connection's request and its answer."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    def received(self, octets: bytes, pages: Mapping[str, Page], now: dt.datetime) -> bytes | None:
        """Take octets of a request, b"" for their end; return the answer once its head is whole, else None.

        `pages` are what is served, by path. After the answer the connection ends. Empty: there was no request.
        """
        try:
            self._connection.receive_data(octets)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as refused:
            return self._answer(_status_of(refused), "", None, now)
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return None
        if not isinstance(event, h11.Request):
            return b""
        return self._to(event, pages, now)

    def _to(self, request: h11.Request, pages: Mapping[str, Page], now: dt.datetime) -> bytes:
        page = pages.get(request.target.partition(b"?")[0].decode("ascii", "replace"))
        method = request.method.decode("ascii", "replace")
        if page is None:
            return self._answer(HTTPStatus.NOT_FOUND, method, None, now)
        if method not in {"GET", "HEAD"}:
            return self._answer(HTTPStatus.METHOD_NOT_ALLOWED, method, None, now)
        if page.etag and page.etag in _etags(request):
            return self._answer(HTTPStatus.NOT_MODIFIED, method, page, now)
        return self._answer(HTTPStatus.OK, method, page, now)

    def _answer(self, status: HTTPStatus, method: str, page: Page | None, now: dt.datetime) -> bytes:
        """Return an answer; `page`: the document that it is about, None for a refusal."""
        headers = [
            ("Date", format_datetime(now, usegmt=True)),
            ("Cache-Control", f"public, max-age={CACHE_S}" if page is not None else "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ]
        body = f"{status.value} {status.phrase}\n".encode() if page is None else page.document
        if status is HTTPStatus.NOT_MODIFIED:
            body = b""
        else:
            kind = "text/plain; charset=utf-8" if page is None else page.content_type
            headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]
        if page is not None:
            headers += [*page.headers, *([("ETag", f'"{page.etag}"')] if page.etag else [])]
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


def _etags(request: h11.Request) -> frozenset[str]:
    """Return the entity tags that the client has (RFC 9110 §13.1.2), without their quotes."""
    found = b",".join(value for name, value in request.headers if name == b"if-none-match")
    tags = (tag.strip().removeprefix("W/") for tag in found.decode("ascii", "replace").split(","))
    return frozenset(tag[1:-1] for tag in tags if len(tag) > 1 and tag[0] == tag[-1] == '"')


def _status_of(refused: h11.RemoteProtocolError) -> HTTPStatus:
    try:
        return HTTPStatus(refused.error_status_hint)
    except ValueError:
        return HTTPStatus.BAD_REQUEST
