"""A process that erases and writes hashes anew, and kills itself right after one step: -m ... FOLDER STEP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from gateway.privacy.rekeying import Rekeying
from gateway.records import IndexKeys
from gateway.store.sqlite import SqliteStore
from tests.gateway.privacy.rig import INDEX_KEY, Rig
from tests.gateway.store.samples import HOUR

PERSON, OTHER = "+4915112345678", "+4915187654321"
NEW_KEY = bytes(32)


async def main(folder: Path, step: str) -> None:
    """Do it."""
    store = SqliteStore(folder / "store" / "smsgw.db")
    await store.open()
    keys = IndexKeys(NEW_KEY, [INDEX_KEY])
    rig = Rig(folder, store, index=keys)
    owner: Any = rig.keyring if step == "destroy" else store
    whole = getattr(owner, step)

    async def last(*given: Any) -> None:
        await whole(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    def last_in_a_thread(*given: Any) -> None:
        whole(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, step, last_in_a_thread if step == "destroy" else last)
    await Rekeying(store=store, box=rig.box, keys=keys, now=lambda: rig.now, ages=72 * HOUR, page=3).round()
    await rig.persons.erase(PERSON, "", cancel=False, compact=False, by="spiffe://example.org/admin/a")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
