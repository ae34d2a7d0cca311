"""Connections to archives and witnesses: TLS that verifies, or plain text on loopback where that is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from gateway.sequencing.errors import NotArchived

READ_OCTETS = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Whom to believe, and who we are. `ca_file` None: the system's roots."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies the peer and its name. Raises NotArchived for the files."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise NotArchived(f"the TLS files cannot be used: {error.strerror or error}") from error
        return context


@dataclass(slots=True, kw_only=True)
class Place:
    """A host that is connected to. `tls` None: plain text."""

    host: str
    port: int
    tls: TlsFiles | None
    timeout_s: float = 5.0
    context: ssl.SSLContext | None = None  # kept until something goes wrong: reading the system's roots takes 20 ms

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Give a connection, within the deadline for all of it. Raises NotArchived, whatever goes wrong with it."""
        try:
            async with asyncio.timeout(self.timeout_s):
                reader, writer = await self.open()
                try:
                    yield reader, writer
                finally:
                    await end(writer)
        except TimeoutError:
            raise NotArchived(f"{self.host}:{self.port} did not answer within {self.timeout_s:g} s") from None
        except OSError as error:
            self.context = None
            raise self.lost(error) from error

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. Raises OSError or NotArchived."""
        if self.tls is not None and self.context is None:
            self.context = await asyncio.to_thread(self.tls.context)
        name = self.host if self.context is not None else None
        try:
            return await asyncio.open_connection(
                self.host, self.port, ssl=self.context, server_hostname=name, limit=READ_OCTETS
            )
        except OSError:  # a certificate that is not believed is a ValueError as well
            raise
        except ValueError as error:  # a name that no host can have, as a..b: what resolves and verifies it says so
            raise NotArchived(f"{self.host} is no name of a host: {error}") from error

    def lost(self, error: OSError) -> NotArchived:
        """Return the error for a connection that failed."""
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not believed: {error.verify_message}"
        else:
            why = error.strerror or type(error).__name__
        return NotArchived(f"{self.host}:{self.port}: {why}")


async def end(writer: asyncio.StreamWriter) -> None:
    """Close a connection without waiting for the peer."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
