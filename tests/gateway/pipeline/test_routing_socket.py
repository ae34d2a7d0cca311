"""A running node is asked over its own socket."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.local_socket import LocalUnreachable
from gateway.pipeline.routing_socket import MAX_TEXT, RoutingSocket, ask_node, question_of
from tests.gateway.pipeline.rig import START
from tests.gateway.pipeline.test_explainer import ASKED, GERMANY, Site

GOOD: dict[str, object] = {
    "to": "+4915112345678", "category": 1, "tenant": "demo", "owner": "spiffe://example.org/demo", "sender": "ACME",
    "text": "", "message_id": "",
}  # fmt: skip


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Path]:
    """Answer on a socket."""
    path = tmp_path / "routing.sock"
    server = RoutingSocket(path, Site(GERMANY).explainer, lambda: START)
    await server.start()
    yield path
    await server.stop()


async def test_question_and_answer(served: Path) -> None:
    """What is asked arrives whole, and the answer is the explainer's."""
    asked = replace(ASKED, text="é" * MAX_TEXT, message_id=bytes(16))
    answer = await asyncio.to_thread(ask_node, served, asked)
    assert answer == Site(GERMANY).answer(asked)
    assert stat.S_IMODE((await asyncio.to_thread(served.stat)).st_mode) == 0o600


async def test_what_cannot_be_asked_is_refused(served: Path) -> None:
    """A fault in the question comes back in words."""
    with pytest.raises(ValueError, match=r"E\.164"):
        await asyncio.to_thread(ask_node, served, replace(ASKED, recipient="nobody"))


async def test_no_node(tmp_path: Path) -> None:
    """Without a node there is nobody to ask."""
    with pytest.raises(LocalUnreachable):
        await asyncio.to_thread(ask_node, tmp_path / "routing.sock", ASKED)


@pytest.mark.parametrize(
    "change",
    [{"to": "4915112345678"}, {"to": 4}, {"category": 9}, {"sender": "TWELVELETTER"}, {"sender": ""}, {"more": ""},
     {"text": "x" * (MAX_TEXT + 1)}, {"message_id": "x"}],
)  # fmt: skip
def test_what_is_no_question(change: dict[str, object]) -> None:
    """Anything else than a whole, sound question raises ValueError and nothing else."""
    assert question_of(json.dumps(GOOD).encode()).recipient == GOOD["to"]
    with pytest.raises(ValueError, match=r".+"):
        question_of(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize("line", [b"", b"\n", b"[]\n", b"{", b"null\n", b"\xff\n"])
def test_what_is_no_json_object(line: bytes) -> None:
    """Hostile octets too."""
    with pytest.raises(ValueError, match=r".+"):
        question_of(line)
