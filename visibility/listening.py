"""The end of a listener: nobody that was accepted is forgotten.

A connection that asyncio has accepted becomes a transport some turns of its loop later. Python 3.11 forgets to close it
when the server is closed in between: the peer waits for nobody, and the descriptor stays until it is collected.
"""

from __future__ import annotations

import asyncio

_TURNS_TO_BEGIN = 4  # of the loop, from the accepting of a connection to its handler


async def stop_accepting(server: asyncio.Server) -> None:
    """Accept nobody more, and return when those that were accepted have begun: `server.close()` comes after this, and
    then the end of what has begun."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):  # uvloop keeps them in its own books
        return
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    for _ in range(_TURNS_TO_BEGIN):
        await asyncio.sleep(0)
