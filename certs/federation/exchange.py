"""One HTTP exchange with a bundle endpoint, as octets: the request, and a bounded reading of the answer (RFC 9112).

Only 200 counts: a redirect is not followed, since where it leads is nobody's configuration, and nothing encoded is
decoded. It is sans-IO; h11 is the parser.
"""

from __future__ import annotations

from typing import Final

import h11

from certs.bundle import MAX_BUNDLE_BYTES
from certs.errors import FetchFailed, Reason
from certs.federation.endpoint import Location

MAX_HEAD: Final = 16 * 1024
MAX_FRAMES: Final = 2 * MAX_HEAD  # octets that are not the bundle: the head, and what frames chunks
READ_OCTETS: Final = 4096  # that are best handed over at a time: chunks of one octet take a few milliseconds
_MAX_INTERIM: Final = 4  # answers of the kind 1xx before the real one
_USER_AGENT: Final = "smsgw"


class Exchange:
    """A GET and its answer, on a connection of its own."""

    def __init__(self, location: Location) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._location = location
        self._body = bytearray()
        self._received = 0
        self._interim = 0

    def request(self) -> bytes:
        """Return the octets to send. Once."""
        request = h11.Request(
            method="GET",
            target=self._location.target,
            headers=[
                ("Host", self._location.authority),
                ("User-Agent", _USER_AGENT),
                ("Accept", "application/json"),
                ("Accept-Encoding", "identity"),
                ("Connection", "close"),
            ],
        )
        return (self._connection.send(request) or b"") + (self._connection.send(h11.EndOfMessage()) or b"")

    def received(self, octets: bytes) -> bytes | None:
        """Take octets of the answer, b"" for their end; return the body once it is whole, else None.

        Raises FetchFailed for an answer that is not 200, is too large, or is not HTTP.
        """
        if not octets and not self._received:
            raise FetchFailed("the endpoint ended the connection without an answer", reason=Reason.HTTP)
        self._received += len(octets)
        try:
            self._connection.receive_data(octets)
            body = self._events()
        except h11.RemoteProtocolError as refused:
            raise FetchFailed(f"the answer is not HTTP: {ascii(str(refused))[1:-1]}", reason=Reason.HTTP) from refused
        if self._received - len(self._body) > MAX_FRAMES + READ_OCTETS:
            raise FetchFailed("the answer has more frames than content", reason=Reason.HTTP)
        return body

    def _events(self) -> bytes | None:
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.InformationalResponse):
                self._interim += 1
                if self._interim > _MAX_INTERIM:
                    raise FetchFailed("the endpoint never comes to its answer", reason=Reason.HTTP)
            elif isinstance(event, h11.Response):
                _check_head(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_BUNDLE_BYTES:
                    raise FetchFailed(f"the bundle has more than {MAX_BUNDLE_BYTES} octets", reason=Reason.HTTP)
            elif isinstance(event, h11.EndOfMessage):
                return bytes(self._body)
            else:
                raise FetchFailed("the endpoint ended the connection before its answer", reason=Reason.HTTP)


def _check_head(head: h11.Response) -> None:
    """Refuse every answer but one that holds a bundle as it is."""
    if 300 <= head.status_code < 400:
        raise FetchFailed(
            f"the endpoint answers {head.status_code}, a redirect, and those are not followed: configure the URL that "
            "serves the bundle",
            reason=Reason.HTTP,
        )
    if head.status_code != 200:
        raise FetchFailed(f"the endpoint answers {head.status_code} instead of 200", reason=Reason.HTTP)
    for name, value in head.headers:
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise FetchFailed("the bundle is encoded, which was not asked for", reason=Reason.HTTP)
        if name == b"content-length" and int(value) > MAX_BUNDLE_BYTES:  # h11 has checked that it is a number
            raise FetchFailed(f"the bundle has more than {MAX_BUNDLE_BYTES} octets", reason=Reason.HTTP)
