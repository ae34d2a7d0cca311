"""A bare HTTP/2 client for misbehaviour that no library offers: it writes frames, and reads them (RFC 9113 §4.1).

It speaks over blocking TLS sockets, in threads of the tests' own (`asyncio.to_thread`), every wait bounded.
"""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.certificates import IssuedSvid

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
REFUSED_STREAM, ENHANCE_YOUR_CALM = 7, 11
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
_WAIT_S = 10.0
_HEAD = struct.Struct(">BHBBI")  # length (24 bits), type, flags, stream


class Frame(NamedTuple):
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """Return the octets of a frame."""
    return _HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def setting(name: int, value: int) -> bytes:
    """Return the octets of one setting (RFC 9113 §6.5.1)."""
    return struct.pack(">HI", name, value)


def header_block(path: str, **extra: str) -> bytes:
    """Return the headers of a gRPC call."""
    fields = {
        ":method": "POST", ":scheme": "https", ":path": path, ":authority": "localhost",
        "content-type": "application/grpc", "te": "trailers", **extra,
    }  # fmt: skip
    return b"".join(header_field(name, value) for name, value in fields.items())


def header_field(name: str, value: str) -> bytes:
    """Return one header, a literal that is not indexed (RFC 7541 §6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    """Return a string literal without Huffman coding (RFC 7541 §5.2), its length with a prefix of 7 bits."""
    octets, length = text.encode(), len(text)
    if length < 127:
        return bytes([length]) + octets
    length -= 127
    prefix = bytearray([127])
    while length >= 128:
        prefix.append(length % 128 + 128)
        length //= 128
    prefix.append(length)
    return bytes(prefix) + octets


class Http2Client:
    """One connection. A context manager."""

    def __init__(self, port: int, svid: IssuedSvid, bundle_pem: bytes, settings: bytes = b"") -> None:
        """`settings`: the payload of its SETTINGS frame, `setting` by `setting`."""
        context = ssl.create_default_context(cadata=bundle_pem.decode())
        context.set_alpn_protocols(["h2"])
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = svid.write(Path(folder), "client")
            context.load_cert_chain(certificate, key)
        plain = socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S)
        self._buffer = b""
        try:
            self.socket = context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise
        if not self.send(PREFACE + frame(SETTINGS, settings)):
            self.socket.close()
            raise ConnectionResetError("the server has closed the connection")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> bool:
        """Send; False when the server has closed the connection."""
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return False
        return True

    def read(self) -> Frame | None:
        """Return the next frame, None at the end of the connection. Raises TimeoutError."""
        head = self._take(9)
        if head is None:
            return None
        high, low, kind, flags, stream = _HEAD.unpack(head)
        payload = self._take(high << 16 | low)
        return None if payload is None else Frame(kind, flags, stream, payload)

    def _take(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            try:
                octets = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                octets = b""
            if not octets:
                return None
            self._buffer += octets
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def settings(self) -> dict[int, int]:
        """Return the server's settings: its first frame."""
        first = self.read()
        assert first is not None
        assert first.kind == SETTINGS
        pairs = struct.iter_unpack(">HI", first.payload)
        return dict(pairs)

    def goaway(self) -> tuple[int, bytes] | None:
        """Read until the connection ends; the code and text of its GOAWAY, None without one. Raises TimeoutError."""
        told = None
        while (found := self.read()) is not None:
            if found.kind == GOAWAY:
                told = struct.unpack(">I", found.payload[4:8])[0], found.payload[8:]
        return told
