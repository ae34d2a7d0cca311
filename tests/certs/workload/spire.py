"""A Workload API as another implementation serves it: messages written by hand, octet by octet, over generic handlers.

It stands for SPIRE: subjects with a name in them, several identities with hints, federated bundles, the crl field.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.certificates import IssuedSvid, TestAuthority

BOUND_S = 60.0


def varint(number: int) -> bytes:
    """Return a base-128 varint."""
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*octets, number))


def field_of(number: int, octets: bytes | str) -> bytes:
    """Return a length-delimited field."""
    content = octets.encode() if isinstance(octets, str) else octets
    return varint(number << 3 | 2) + varint(len(content)) + content


def der(*certificates: x509.Certificate) -> bytes:
    """Return certificates in DER, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)


@dataclass(kw_only=True)
class Identity:
    """One X509SVID; every field can be overridden."""

    spiffe_id: str = ""
    chain: bytes = b""
    key: bytes = b""
    bundle: bytes = b""
    hint: str = ""

    def octets(self) -> bytes:
        """Return it as SPIRE's agent writes it: empty fields are left out."""
        fields: list[bytes | str] = [self.spiffe_id, self.chain, self.key, self.bundle, self.hint]
        return b"".join(field_of(number, value) for number, value in enumerate(fields, 1) if value)


def identity(authority: TestAuthority, issued: IssuedSvid, path: str = "/service", hint: str = "") -> Identity:
    """Return an issued SVID as an identity of the Workload API."""
    key = load_pem_private_key(issued.key_pem, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Identity(
        spiffe_id=f"spiffe://{authority.trust_domain}{path}",
        chain=der(*x509.load_pem_x509_certificates(issued.presented_pem)),
        key=key,
        bundle=der(authority.root),
        hint=hint,
    )


def response(
    *identities: Identity, federated: Mapping[str, bytes] | None = None, crl: Sequence[bytes] = (b"0\x03\x02\x01\x01",)
) -> bytes:
    """Return an X509SVIDResponse."""
    svids = b"".join(field_of(1, each.octets()) for each in identities)
    lists = b"".join(field_of(2, each) for each in crl)
    bundles = b"".join(field_of(3, field_of(1, key) + field_of(2, value)) for key, value in (federated or {}).items())
    return svids + lists + bundles


@dataclass
class Spire(grpc.GenericRpcHandler):
    """Streams `state` to whoever calls, and again whenever it is told another one; `refusal` ends calls instead."""

    state: bytes = b""
    refusal: tuple[grpc.StatusCode, str] | None = None
    silent: bool = False
    calls: int = 0
    headers: list[dict[str, object]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def service(self, handler_call_details: Any) -> Any:
        """Serve the one method."""
        if handler_call_details.method != "/SpiffeWorkloadAPI/FetchX509SVID":
            return None
        self.headers.append(dict(handler_call_details.invocation_metadata))
        return grpc.unary_stream_rpc_method_handler(self._stream)

    def say(self, state: bytes) -> None:
        """Stream another state."""
        self.state, self.refusal = state, None
        self._wake()

    def refuse(self, code: grpc.StatusCode, text: str = "no") -> None:
        """End every stream, and those that come, with a code."""
        self.refusal = (code, text)
        self._wake()

    def hang_up(self) -> None:
        """End every stream without an error, once."""
        self._wake(end=True)

    async def _stream(self, _request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.calls += 1
        while True:
            news = self._news
            if self.refusal is not None:
                await context.abort(*self.refusal)
            if not self.silent:
                yield self.state
            await news.wait()
            if getattr(news, "end", False):
                return

    def _wake(self, *, end: bool = False) -> None:
        old, self._news = self._news, asyncio.Event()
        if end:
            old.end = True  # type: ignore[attr-defined]  # what this wakes, ends
        old.set()


@contextlib.asynccontextmanager
async def serving(spire: Spire, path: Path, address: str = "") -> AsyncIterator[str]:
    """Serve on a Unix socket, or at a TCP address; gives the text of SPIFFE_ENDPOINT_SOCKET."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([spire])
    port = server.add_insecure_port(address or f"unix:{path}")
    await server.start()
    try:
        yield f"tcp://127.0.0.1:{port}" if address else f"unix://{path}"
    finally:
        await server.stop(0)
