"""Which carrier, and why, as commands of this machine may ask a running node (`gateway.local_socket`).

    question    {"to": "+49...", "category": 1, "tenant": "demo", "owner": "spiffe://...", "sender": "ACME",
                 "text": "", "message_id": ""} and the end of the line
    answer      what `gateway.pipeline.explainer` answers, or {"error": "..."}

Nothing can be changed this way, and nothing asked is logged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from gateway.destinations import is_e164
from gateway.ids import from_text, to_text
from gateway.local_socket import LocalSocket, LocalUnreachable, ask
from gateway.pipeline.explainer import Asked, Explainer
from gateway.senders import sender_fault
from gateway.states import Category

SOCKET_NAME = "routing.sock"
MAX_TEXT = 8_000  # characters: a question is a line of at most 64 KiB
_MAX_BYTES = 1 << 20
_KEYS = {"to", "category", "tenant", "owner", "sender", "text", "message_id"}


class RoutingSocket(LocalSocket):
    """The node's side."""

    def __init__(self, path: Path, explainer: Explainer, now: Callable[[], int]) -> None:
        async def answer(reader: asyncio.StreamReader) -> bytes:
            try:
                found = explainer.answer(question_of(await reader.readline()), now())
            except ValueError as error:
                found = {"error": str(error)}
            return json.dumps(found).encode() + b"\n"

        super().__init__(path, answer)


def question_of(line: bytes) -> Asked:
    """Return what was asked. Raises ValueError for anything else."""
    document = json.loads(line)
    if not isinstance(document, dict) or set(document) != _KEYS:
        raise ValueError(f"a question has {', '.join(sorted(_KEYS))}")
    texts = {key: value for key, value in document.items() if key != "category"}
    if not all(isinstance(value, str) and len(value) <= MAX_TEXT for value in texts.values()):
        raise ValueError(f"a question has texts of at most {MAX_TEXT} characters")
    if not is_e164(texts["to"]):
        raise ValueError("to wants a number in E.164, as +4915112345678")
    fault = sender_fault(texts["sender"])
    if fault is not None:
        raise ValueError(f"the sender {fault.description}")
    return Asked(
        recipient=texts["to"],
        category=int(Category(document["category"])),
        tenant=texts["tenant"],
        owner=texts["owner"],
        sender=texts["sender"],
        text=texts["text"],
        message_id=from_text(texts["message_id"]) if texts["message_id"] else b"",
    )


def ask_node(path: Path, asked: Asked) -> dict[str, object]:
    """Return the answer of the node that listens on `path`. Raises LocalUnreachable, and ValueError for what it does
    not take."""
    question = {
        "to": asked.recipient,
        "category": asked.category,
        "tenant": asked.tenant,
        "owner": asked.owner,
        "sender": asked.sender,
        "text": asked.text,
        "message_id": to_text(asked.message_id) if asked.message_id else "",
    }
    octets = ask(path, json.dumps(question, ensure_ascii=False).encode() + b"\n", max_bytes=_MAX_BYTES)
    try:
        answer = json.loads(octets)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise LocalUnreachable(f"the node on {path} gave no answer; see its log")
    if "error" in answer:
        raise ValueError(str(answer["error"]))
    return answer
