"""Sealed content in a whole node: from a client that seals with one argument to a carrier, while keys are replaced."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.audit.records import StateChanged
from gateway.errors import InvalidRequest
from gateway.ids import from_text
from smsgw.client import AsyncClient, IdentityFiles, Invalid, Message
from tests.appliance import TRUST_DOMAIN, Appliance
from tests.gateway.operation import Operation, configure, fresh, operating, rewrite, simulators
from tests.gateway.sealed.keys import key_file

SERVER_ID = f"spiffe://{TRUST_DOMAIN}/gateway"
TO = "+4915112345678"
FIELDS: dict[str, Any] = {"to": TO, "sender": "ACME", "category": "OTP"}


def kid(kind: str) -> str:
    """Return a key's name."""
    name: str = json.loads(key_file(kind))["kid"]
    return name


def use(appliance: Appliance, *kinds: str) -> None:
    """Have the configuration name these keys."""
    for kind in kinds:
        file = appliance.folder / f"{kind}.jwk"
        file.touch(mode=0o600)
        file.write_bytes(key_file(kind))
    rewrite(appliance, lambda document: document.update(payload={"key_files": [f"{kind}.jwk" for kind in kinds]}))


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("sealed") / "site", operator=True)


@pytest.fixture
async def operation(appliance: Appliance) -> AsyncIterator[Operation]:
    """Run a node with a payload key, and a carrier that sends receipts."""
    fresh(appliance)
    async with simulators(appliance, ["acme"], "receipts: {delay_s: 0.02}") as carriers:
        configure(appliance, carriers)
        use(appliance, "p256")
        async with operating(appliance, carriers) as running:
            yield running


def client(operation: Operation) -> AsyncClient:
    """Return a client of the package that callers use."""
    pki = operation.appliance.folder / "pki"
    identity = IdentityFiles(pki / "caller-0.pem", pki / "caller-0.key", pki / "bundle.pem")
    return AsyncClient(operation.node.api_address, server_id=SERVER_ID, identity=identity)


async def published(sms: AsyncClient) -> list[str]:
    """Return the names of the keys that a new client would seal to."""
    inside: Any = sms
    inside._payload_keys = None
    await sms.seal(Message(**FIELDS, text="x", sealed=True))
    return [key["kid"] for key in inside._payload_keys.keys]


async def test_rotation(operation: Operation) -> None:
    """A new key is put before the old one by a reload, without a message lost: both deliver. Taken out, the old one's
    are refused, and one that waited is rejected, and caller and audit are told why; a retry of what was sent has its
    answer. A file with a fault changes nothing."""
    async with client(operation) as sms:
        kept = await sms.seal(Message(**FIELDS, text="Your code is 1111", sealed=True))
        late, later = [await sms.seal(Message(**FIELDS, text=f"Your code is {n}", sealed=True)) for n in (2222, 4444)]
        use(operation.appliance, "x25519", "p256")
        assert await operation.node.reload() == ["payload.key_files"]
        assert await published(sms) == [kid("x25519"), kid("p256")]
        newer = await sms.send(**FIELDS, text="Your code is 3333", sealed=True)
        for sent in (await sms.send(kept), newer):
            assert (await sms.wait(sent.id)).delivered
        assert sorted(operation.carriers["acme"].texts) == ["Your code is 1111", "Your code is 3333"]
        await operation.command("carrier", "pause", "acme", "--reason", "a test")
        waiting = await sms.send(late)
        use(operation.appliance, "x25519")
        (operation.appliance.folder / "x25519.jwk").chmod(0o644)
        with pytest.raises(InvalidRequest, match="chmod 600"):
            await operation.node.reload()
        assert await published(sms) == [kid("x25519"), kid("p256")]
        (operation.appliance.folder / "x25519.jwk").chmod(0o600)
        await operation.node.reload()
        with pytest.raises(Invalid) as refused:
            await sms.send(later)
        assert refused.value.reason == "PAYLOAD_KEY_UNKNOWN"
        again = await sms.send(kept)
        assert again.replayed
        await operation.command("carrier", "resume", "acme", "--reason", "a test")
        done = await sms.wait(waiting.id)
        assert done.reason is not None
        assert (done.state, done.reason.code) == ("REJECTED", "PAYLOAD_KEY_UNKNOWN")
    records = [record for record in await operation.records() if isinstance(record, StateChanged)]
    assert [each.reason for each in records if each.message_id == from_text(waiting.id)] == ["PAYLOAD_KEY_UNKNOWN"]


async def test_a_stolen_one(operation: Operation) -> None:
    """A ciphertext that was sealed for one phone is not sent to another, and the event that follows says why."""
    async with client(operation) as sms, sms.events() as events:
        sealed = await sms.seal(Message(**FIELDS, text="Your code is 4711", sealed=True))
        stolen = Message(
            to="+4915199999999", sender="ACME", category="OTP", sealed_jwe=sealed.sealed_jwe,
            idempotency_key=sealed.idempotency_key,
        )  # fmt: skip
        sent = await sms.send(stolen)
        codes = []
        async for event in events:
            codes.append((event.state.name, event.reason.code if event.reason else ""))  # type: ignore[union-attr]
            if event.state.final:  # type: ignore[union-attr]
                break
        assert codes == [("ACCEPTED", ""), ("REJECTED", "SEALED_FOR_OTHER_RECIPIENT")]
        assert (await sms.get(sent.id)).segments is None
    told = await operation.shown(
        "privacy", "export", "--recipient", "+4915199999999", "--reason", "asked", "--out", "-"
    )
    assert sealed.sealed_jwe is not None
    assert sealed.sealed_jwe in told  # what is kept of him, as it is kept
    assert not operation.carriers["acme"].received
