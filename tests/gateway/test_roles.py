"""An accepting and a relaying node on one PostgreSQL: who has all of the first one opens nothing that is old."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from carrier.simulator.simulator import Simulator
from gateway.sealing.keyring import Purpose
from smsgw.client import AsyncClient, Invalid, Message
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.gateway.api.refusals import refusal
from tests.gateway.attacker import by_files, by_payload_files, sealed_fields
from tests.gateway.process_memory import counts
from tests.gateway.sealed.keys import key_file, payload_key, sealed
from tests.gateway.two_roles import Site, site

TIMEOUT_S = 30.0
FIELDS: dict[str, Any] = {"to": "+4915112345678", "sender": "ACME", "category": "OTP"}
SECRET, STOLEN = "Your code is 271828", "Your code is 314159"


async def test_accept_and_relay(tmp_path: Path) -> None:
    """What one node accepts the other delivers; the first shows states and nothing that is sealed; who has all of it
    opens nothing that is older than its current key, and its memory has no older one."""
    async with site(tmp_path) as (running, carriers):
        assert "api none" in running.ready
        async with running.channel() as channel:
            caller = MessageServiceStub(channel)
            message = message_pb2.OutboundMessage(
                recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
                content=message_pb2.Content(text="hello"), labels={"team": "blue"}, client_reference="order 7",
            )  # fmt: skip
            request = api.SendMessageRequest(message=message)
            first = (await caller.SendMessage(request, timeout=TIMEOUT_S)).accepted.message_id
            rotated = await running.command("keys", "rotate", "--reason", "a test")
            assert rotated["newest"].startswith("rsa:")
            second = (await caller.SendMessage(request, timeout=TIMEOUT_S)).accepted.message_id
            await delivered(caller, (first, second))
            shown = (await caller.GetMessage(api.GetMessageRequest(message_id=first), timeout=TIMEOUT_S)).message
            assert (shown.masked_recipient, dict(shown.labels), shown.client_reference) == ("+49XXXXXXX5678", {}, "")
            watch = caller.WatchEvents(api.WatchEventsRequest(), timeout=TIMEOUT_S)
            assert (await refusal(watch.read())).reason == "NOT_OPENED_HERE"
        keys, (old, current) = running.data_keys(), running.sealed_by()
        unused = [key for key in keys if key not in (*old, *current)]
        assert len({*old, *current}) == 4, "content and envelope share no key"
        assert not re.search(r"(?i)permission denied|keys_not_made", (running.accept / "node.log").read_text())
        await asyncio.to_thread(attack, running, [*old, *current])
        (tmp_path / "control").mkdir()
        (tmp_path / "control" / "key").write_bytes(b"x" * 7 + keys[old[1]])
        fields = [field for field in sealed_fields(running.server.target(running.database)) if old[1] in field.octets]
        assert by_files(tmp_path / "control", fields) == "OPENED", "the attacker knows what to do with a key"
        wanted = [keys[key] for key in (*old, *current, *unused)]
        found = await asyncio.to_thread(counts, running.accepting.pid, wanted)
        assert min(found[2:4]) > 0, "the current keys are there: memory can be searched"
        assert found[:2] == [0, 0], "the keys of before are not in memory any more"
        assert sum(number > 0 for number in found[4:]) <= len(Purpose), "nor a spare that was replaced"
        await counted(running, carriers["acme"])
        jwes = await sealed_by_callers(running, carriers["acme"])
        await asyncio.to_thread(attack_sealed, running, jwes)


async def counted(running: Site, carrier: Simulator) -> None:
    """Have a text counted as the relaying node's carrier writes it: a header of seven octets leaves room for 152
    characters in a part, so that 306 take three PDUs, and not two."""
    before = len(carrier.received)
    async with running.client("caller-0") as sms:
        assert (await sms.estimate("x" * 306)).segments == 3
        sent = await sms.send(**FIELDS, text="x" * 306)
        assert sent.segments == 3
        assert (await sms.wait(sent.id)).delivered
    assert len(carrier.received) - before == 3


async def sealed_by_callers(running: Site, carrier: Simulator) -> list[str]:
    """Have a caller seal with the client's one argument: the accepting node takes it, the relaying one opens and sends
    it. Have what was sealed caught, and brought by others: none of it is sent."""
    before = carrier.texts
    async with running.client("caller-0") as sms, running.client("caller-1") as thief:
        sent = await sms.send(**FIELDS, text=SECRET, sealed=True)
        assert (await sms.wait(sent.id)).delivered
        assert sorted(carrier.texts) == sorted([*before, SECRET])
        caught = await sms.seal(Message(**FIELDS, text=STOLEN, sealed=True))
        with pytest.raises(Invalid) as refused:  # to a key that the relaying node may have, and this one has not
            await sms.send(
                dataclasses.replace(
                    caught, sealed_jwe=sealed(payload_key("p256", 9), smsgw__exp=int(time.time()) + 300)
                )
            )
        assert refused.value.reason == "PAYLOAD_KEY_UNKNOWN"
        assert await became(thief, dataclasses.replace(caught, to="+4915199999999")) == "SEALED_FOR_OTHER_RECIPIENT"
        assert await became(thief, dataclasses.replace(caught, idempotency_key="mine")) == "SEALED_FOR_OTHER_KEY"
        async with running.client("stranger") as stranger:
            assert await became(stranger, caught) == "SEALED_FOR_OTHER_TENANT"
        assert (await sms.wait((await sms.send(caught)).id)).delivered
    assert sorted(carrier.texts) == sorted([*before, SECRET, STOLEN])
    return [caught.sealed_jwe or ""]


async def became(sms: AsyncClient, message: Message) -> str:
    """Return why a message was rejected."""
    status = await sms.wait((await sms.send(message)).id)
    assert status.reason is not None
    assert status.state == "REJECTED"
    return status.reason.code


def attack_sealed(running: Site, jwes: list[str]) -> None:
    """Have the attacker try what callers have sealed; neither the private key nor what was inside is in the memory."""
    tried = run_attacker(running.accept, jwes)
    assert tried == ["payload refused SEALED_UNOPENABLE", "payload files refused, of 1"] * len(jwes)
    assert by_payload_files(running.folder, jwes[0]) == "OPENED", "the attacker knows what to do with a private key"
    secret = json.loads(key_file())["d"]
    octets = base64.urlsafe_b64decode(secret + "=")
    wanted = [secret.encode(), octets, octets[::-1], SECRET.encode(), STOLEN.encode()]
    assert any(counts(running.relaying.pid, wanted[:3])), "the relaying node has it: memory can be searched"
    assert counts(running.accepting.pid, wanted) == [0] * len(wanted)


async def delivered(caller: Any, ids: tuple[str, ...]) -> None:
    """Wait until all are delivered."""
    async with asyncio.timeout(60):
        for message_id in ids:
            while True:
                answer = await caller.GetMessage(api.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
                if answer.message.state == message_pb2.MESSAGE_STATE_DELIVERED:
                    break
                await asyncio.sleep(0.05)


def attack(running: Site, key_ids: list[bytes]) -> None:
    """Have the attacker try, with the accepting node's files and login."""
    attempts = run_attacker(running.accept, [key_id.hex() for key_id in key_ids], fields=4)
    assert len(attempts) == 3 * len(key_ids)
    assert "42501" in attempts[0]
    assert "only the public half" in attempts[1]
    assert "RSAPrivateKey" not in attempts[2]


def run_attacker(folder: Path, words: list[str], *, fields: int = 0) -> list[str]:
    """Return what the attacker's attempts came to, who could read `fields` sealed fields, or some."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gateway.attacker", str(folder / "smsgw.yaml")],
        input="\n".join(words), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, *attempts = done.stdout.splitlines()
    name, number = found.split()
    assert name == "sealed"
    assert int(number) == fields or (not fields and int(number) > 0)
    assert "OPENED" not in done.stdout
    return attempts
