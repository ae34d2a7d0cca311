"""Archives elsewhere: an HTTPS endpoint that takes notes by POST, and a syslog server over TLS (RFC 5425).

Syslog has no answer: a checkpoint counts as archived when the connection has taken it and stands. What is lost with a
server that ends at that moment, the next checkpoint proves as well.
"""

from __future__ import annotations

import asyncio

from gateway.sequencing.archive_forms import syslog_frame
from gateway.sequencing.archiving import Archived
from gateway.sequencing.errors import NotArchived
from gateway.sequencing.http_post import Resource
from gateway.sequencing.lines_out import Place, end

_NOTE_TYPE = "text/plain; charset=utf-8"


class HttpsArchive:
    """Takes a note as the body of a POST, and answers 2xx when it has it."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    async def put(self, one: Archived) -> None:
        """Post a note. Raises NotArchived."""
        answer = await self._resource.post(one.note, _NOTE_TYPE)
        if not 200 <= answer.status < 300:
            raise NotArchived(f"{self._resource.authority} answers {answer.status}")

    async def close(self) -> None:
        """Nothing is held."""


class SyslogArchive:
    """One connection, opened again when it has ended."""

    def __init__(self, place: Place, node: str) -> None:
        """`node`: who sends, as the message names it."""
        self._place, self._node = place, node
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def put(self, one: Archived) -> None:
        """Send a message. Raises NotArchived."""
        try:
            async with asyncio.timeout(self._place.timeout_s):
                reader, writer = await self._open()
                writer.write(syslog_frame(one, self._node))
                await writer.drain()
                await asyncio.sleep(0)  # what the peer has said meanwhile is seen: nothing but its end
                if reader.at_eof() or writer.is_closing():
                    raise NotArchived(f"{self._place.host}:{self._place.port} has ended the connection")
        except TimeoutError:
            await self.close()
            raise NotArchived(f"{self._place.host} takes nothing within {self._place.timeout_s:g} s") from None
        except OSError as error:
            await self.close()
            self._place.context = None
            raise self._place.lost(error) from error
        except NotArchived:
            await self.close()
            raise

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._line is not None and (self._line[0].at_eof() or self._line[1].is_closing()):
            await self.close()
        if self._line is None:
            self._line = await self._place.open()
        return self._line

    async def close(self) -> None:
        """End the connection."""
        line, self._line = self._line, None
        if line is not None:
            await end(line[1])
