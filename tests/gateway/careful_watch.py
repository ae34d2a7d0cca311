"""Follows a tenant's events by the client that is shipped, in a process of its own, and logs each as it comes.

The client opens a lost stream again, from its cursor. What it does not get over ends this process with an error, which
its log names. A line of the log is a message's client_reference and its state.

    python -m tests.gateway.careful_watch PORT FOLDER LOG
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from smsgw.client import AsyncClient, IdentityFiles, Start, StateChanged
from tests.appliance import TRUST_DOMAIN

logging.basicConfig(level=logging.INFO)  # the log tells each stream that was lost


async def _follow(client: AsyncClient, log: int) -> None:
    async with client.events(start=Start.OLDEST) as events:
        print("following", flush=True)
        async for event in events:
            if isinstance(event, StateChanged):
                os.write(log, f"{event.client_reference} {event.state}\n".encode())


async def main(port: int, folder: Path, log_path: Path) -> None:
    """Run until SIGTERM."""
    identity = IdentityFiles(folder / "caller-0.pem", folder / "caller-0.key", folder / "bundle.pem")
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server_id = f"spiffe://{TRUST_DOMAIN}/gateway"
    async with AsyncClient(f"127.0.0.1:{port}", server_id=server_id, identity=identity) as client:
        following = asyncio.ensure_future(_follow(client, log))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, following.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await following
    os.close(log)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
