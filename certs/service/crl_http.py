"""Revocation lists over HTTP/1.1, as octets: the head of a request in, the whole answer out (RFC 9112, RFC 2585 §4).

Sans-IO: `certs.service.crl_server` moves the octets. GET and HEAD of /KEY_ID.crl, and nothing else; each answer ends
the connection. Plain HTTP is what is customary for lists: they are signed, and not secret.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Final

from certs.ca.crl_publisher import file_name
from certs.ca.crls import Crl

MAX_HEAD_BYTES: Final = 4096
_LINE: Final = re.compile(rb"(GET|HEAD|[A-Z]{1,20}) (/[!-~]{0,500}) HTTP/1\.[01]")
_TEXTS: Final = {
    200: "OK",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What counts of a request. `etags`: those of If-None-Match, as they stand there."""

    method: str
    path: str
    etags: frozenset[str]


class BadRequest(Exception):
    """The head is no request that is answered; `code` is the status for it."""

    def __init__(self, code: int) -> None:
        super().__init__(_TEXTS[code])
        self.code = code


def read_request(head: bytes) -> Request:
    """Return the request in a head that ends in an empty line. Raises BadRequest."""
    lines = head.split(b"\r\n")
    found = _LINE.fullmatch(lines[0])
    if not found:
        raise BadRequest(400)
    etags: frozenset[str] = frozenset()
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if line and (not colon or not name or name != name.strip()):
            raise BadRequest(400)
        if name.lower() == b"if-none-match":
            etags |= {one.strip().removeprefix("W/") for one in value.decode("latin-1").split(",")}
    return Request(method=found[1].decode(), path=found[2].decode(), etags=etags)


def answer(head: bytes, published: Mapping[str, Crl], now: dt.datetime) -> bytes:
    """Return the answer to a head: the list that it asks for, or why not."""
    try:
        request = read_request(head)
    except BadRequest as refused:
        return refusal(refused.code)
    if request.method not in {"GET", "HEAD"}:
        return refusal(405)
    crl = next((one for key_id, one in published.items() if request.path == "/" + file_name(key_id)), None)
    if crl is None:
        return refusal(404)
    etag = f'"{hashlib.sha256(crl.der).hexdigest()[:32]}"'
    headers = {
        "Last-Modified": format_datetime(crl.made_at, usegmt=True),
        "Expires": format_datetime(crl.next_update, usegmt=True),
        "Cache-Control": f"public, max-age={_fresh_for_s(crl, now)}",
        "ETag": etag,
    }
    if etag in request.etags or "*" in request.etags:
        return _message(304, headers, b"")
    headers |= {"Content-Type": "application/pkix-crl", "Content-Length": str(len(crl.der))}
    return _message(200, headers, crl.der if request.method == "GET" else b"")


def _fresh_for_s(crl: Crl, now: dt.datetime) -> int:
    """Return for how long a cache may keep a list: briefly, as another one comes with each revocation."""
    return max(0, min(60, int((crl.next_update - now).total_seconds())))


def refusal(code: int) -> bytes:
    """Return an answer without a list."""
    body = f"{_TEXTS[code]}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
    if code == 405:
        headers["Allow"] = "GET, HEAD"
    return _message(code, headers, body)


def _message(code: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {code} {_TEXTS[code]}", *(f"{name}: {value}" for name, value in headers.items())]
    lines += ["Connection: close", "X-Content-Type-Options: nosniff", "", ""]
    return "\r\n".join(lines).encode() + body
