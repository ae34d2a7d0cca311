"""Finding messages for operators, where few of many are in the states that are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.api import finding
from gateway.api.cursors import Cursors
from gateway.api.finding import Finding
from gateway.ids import to_text
from gateway.states import State
from gateway.store.operating import Selection
from gateway.store.sqlite import SqliteStore
from smsgw.v1 import queue_service_pb2 as pb
from tests.gateway.store.samples import NOW, TENANT, message


async def test_few_of_many_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step looks at so many rows and no more; in one page or in several, all that match come, each once."""
    monkeypatch.setattr(finding, "LOOK_ROWS", 4)
    store = SqliteStore(tmp_path / "smsgw.db")
    await store.open()
    try:
        batch = [message() for _ in range(60)]
        await store.accept(batch)
        wanted = [batch[3], batch[30], batch[59]]
        for new in wanted:
            await store.cancel(TENANT, new.id, NOW)
        found, pages = [], 0
        request = pb.FindMessagesRequest(states=[int(State.CANCELLED)])  # type: ignore[list-item]  # the stubs' enum is a class of its own
        while not pages or request.page_token:
            page = await Finding(store, Cursors(bytes(32)), lambda: [TENANT]).find(Selection(tenant=TENANT), request)
            found += [each.message_id for each in page.messages]
            request.page_token = page.next_page_token
            pages += 1
        assert found == [to_text(new.id) for new in reversed(wanted)]
        assert pages == 2  # ten steps of four rows each, then the rest
    finally:
        await store.close()
