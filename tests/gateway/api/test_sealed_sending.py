"""Sealed content at the door: what can be told without opening it is told, and what had been accepted keeps its
answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_pb2 import Content
from tests.gateway.api.refusals import refusal
from tests.gateway.api.rig import NOW, TIMEOUT_S, message, running_rig
from tests.gateway.sealed.keys import payload_key, sealed

NOW_S = NOW // 1_000_000
OLD = payload_key("p256", 1, not_after=NOW_S + 60)
NEW = payload_key("p256", 2)


def jwe(key: Any, **header: Any) -> str:
    """Return sealed content of the tenant."""
    return sealed(key, **{"smsgw__tenant": "payments", "smsgw__exp": NOW_S + 120, **header})


def send(content: str, key: str = "key-1") -> pb.SendMessageRequest:
    """Return the request that brings it."""
    return pb.SendMessageRequest(message=message(content=Content(sealed_jwe=content), idempotency_key=key))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (jwe(payload_key("p256", 3)), "PAYLOAD_KEY_UNKNOWN"),
        (jwe(OLD), "PAYLOAD_KEY_RETIRED"),
        (jwe(NEW, smsgw__exp=NOW_S + 90), "SEALED_EXPIRED"),
        (jwe(payload_key("rsa2048"), kid=NEW.kid), "SEALED_ALGORITHM_REFUSED"),
    ],
    ids=["unknown", "retired", "expired", "another-algorithm"],
)
async def test_refused(tmp_path: Path, content: str, reason: str) -> None:
    """Content that no node could open, or that is over, is refused at once, alone and in a batch, and nothing is
    stored; the others of the batch are taken."""
    async with running_rig(tmp_path) as rig:
        rig.have_keys([NEW, OLD])
        rig.now.now += 90_000_000
        client = rig.client("/payments/api")
        found = await refusal(client.SendMessage(send(content), timeout=TIMEOUT_S))
        assert (found.code, found.violations[0].reason) == (StatusCode.INVALID_ARGUMENT, reason)
        batch = [send(content).message, message(), send(content, "").message]
        reply = await client.SendMessages(pb.SendMessagesRequest(messages=batch), timeout=TIMEOUT_S)
        assert [each.WhichOneof("result") for each in reply.results] == ["error", "accepted", "error"]
        assert rig.intake.calls == [1]


async def test_accepted_before(tmp_path: Path) -> None:
    """A retry of what was accepted has its answer when the key has been retired since, and when the content's time is
    over; under the same key other content has none."""
    async with running_rig(tmp_path) as rig:
        rig.have_keys([OLD])
        client = rig.client("/payments/api")
        content, other = jwe(OLD), jwe(OLD)
        first = (await client.SendMessage(send(content), timeout=TIMEOUT_S)).accepted
        assert not first.replayed
        for seconds in (61, 130):
            rig.now.now = NOW + seconds * 1_000_000
            again = (await client.SendMessage(send(content), timeout=TIMEOUT_S)).accepted
            assert (again.message_id, again.replayed) == (first.message_id, True)
            batch = pb.SendMessagesRequest(messages=[send(content).message, send(other).message])
            known, conflict = (await client.SendMessages(batch, timeout=TIMEOUT_S)).results
            assert (known.accepted.message_id, known.accepted.replayed) == (first.message_id, True)
            assert conflict.WhichOneof("result") == "error"
        found = await refusal(client.SendMessage(send(other), timeout=TIMEOUT_S))
        assert found.code == StatusCode.ALREADY_EXISTS
