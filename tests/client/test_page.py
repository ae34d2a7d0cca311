"""docs/client.md is the judge: each piece of Python on it runs as it stands there, against a real node and carrier."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import smsgw.client
from gateway.sequencing.keys import read_signer
from smsgw.client import AsyncClient, Client, Invalid, Message, Sent, SmsgwError, State, verify_receipt
from smsgw.client import errors as errors_module
from tests.appliance import LOG_ORIGIN, TRUST_DOMAIN, Appliance
from tests.gateway.operation import Operation, configure, fresh, operating, simulators
from tests.gateway.sealed.keys import key_file

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SERVER_ID = f"spiffe://{TRUST_DOMAIN}/gateway"
# What must be true after a block, by its number.
EXPECTED: dict[int, str] = {
    0: "done.delivered",
    1: "done.delivered",
    2: "isinstance(identity, IdentityFiles)",
    3: "sent.segments == 1 and estimate.segments == 1",
    4: "isinstance(outcome, Sent) and len(messages) == 2",
    5: "isinstance(outcome, Sent)",
    6: "sent.segments is None",
    7: "again.replayed and again.id == sent.id and message.text is None",
    8: "verified.state.name == 'DELIVERED' and verified.gapless and verified.content_shown",
    9: "event.state.name == 'DELIVERED' and cursor == event.cursor",
    10: "status.id",
    11: "wrong_field == 'message.recipient'",
}


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("page") / "site")


@pytest.fixture
async def operation(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Operation]:
    """Run a node and a carrier that sends receipts; the environment names the caller's identity."""
    fresh(appliance)
    pki = appliance.folder / "pki"
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    monkeypatch.setenv("SMSGW_SVID_FILE", str(pki / "caller-0.pem"))
    monkeypatch.setenv("SMSGW_SVID_KEY_FILE", str(pki / "caller-0.key"))
    monkeypatch.setenv("SMSGW_BUNDLE_FILE", str(pki / "bundle.pem"))
    signer = read_signer(appliance.folder / "audit-log.key", LOG_ORIGIN)
    (appliance.folder / "audit-log.vkey").write_text(f"{signer.key.vkey}\n")
    monkeypatch.chdir(appliance.folder)
    async with simulators(appliance, ["acme"], "receipts: {delay_s: 0.02}") as carriers:
        with_payload_key(configure(appliance, carriers))
        async with operating(appliance, carriers) as running:
            yield running


def with_payload_key(config: Path) -> None:
    """Have the node take what is sealed."""
    file = config.parent / "payload.jwk"
    file.touch(mode=0o600)
    file.write_bytes(key_file())
    with config.open("a") as text:
        text.write("\npayload: {key_files: [payload.jwk]}\n")


def compiled(number: int, address: str) -> CodeType:
    """Return the code of a block, which may await, with the page's gateway being the one that runs."""
    text = BLOCKS[number].replace("gateway.internal:8443", address)
    text = text.replace("spiffe://example.org/gateway", SERVER_ID)
    text = text.replace("print(wrong.violations[0].field)", "wrong_field = wrong.violations[0].field")
    code: CodeType = compile(text, f"docs/client.md, block {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


async def test_every_block_runs(operation: Operation) -> None:
    """All blocks of the page, one after the other as a reader would: what they promise has come about."""
    assert len(BLOCKS) == len(EXPECTED)
    names: dict[str, Any] = {}
    async with AsyncClient(operation.node.api_address, server_id=SERVER_ID) as sms:
        for number in range(len(BLOCKS)):
            names["sms"] = sms
            code = compiled(number, operation.node.api_address)
            async with asyncio.timeout(60):
                if code.co_flags & inspect.CO_COROUTINE:
                    await eval(code, names)  # noqa: S307 -- our own page
                else:
                    await asyncio.to_thread(exec, code, names)
            assert eval(EXPECTED[number], names), f"block {number}"  # noqa: S307 -- our own words
    steps = await asyncio.to_thread(proven_steps, operation.node.api_address, names["verified"].message_id)
    assert steps == ["MESSAGE_STORED", "MESSAGES_SENDING", "STATE_CHANGED", "STATE_CHANGED"]


def proven_steps(address: str, message_id: str) -> list[str]:
    """Return what a receipt proves that the blocking client has fetched."""
    with Client(address, server_id=SERVER_ID) as sms:
        receipt = sms.proof(message_id, include_sending=True)
    return [step.kind for step in verify_receipt(receipt, log_key=Path("audit-log.vkey").read_text()).steps]


async def test_nothing_of_a_message_is_told(operation: Operation, caplog: pytest.LogCaptureFixture) -> None:
    """Errors, representations and logs of good and bad messages hold no number, text, label or key of theirs."""
    caplog.set_level(logging.DEBUG)
    secrets = ("1512345", "tell nobody", "label-value", "reference-17", "key-17")
    fields: dict[str, Any] = {
        "text": "tell nobody", "labels": {"a": "label-value"}, "client_reference": "reference-17",
        "idempotency_key": "key-17", "category": "OTP",
    }  # fmt: skip
    told: list[str] = []
    async with AsyncClient(operation.node.api_address, server_id=SERVER_ID) as sms:
        for to in ("+4915123456789", "+49151234567891234567"):
            message = Message(to=to, sender="ACME", **fields)
            told.append(repr(message))
            outcomes = await sms.send_many([message])
            told += [repr(outcomes), str(outcomes[0])]
            if isinstance(outcomes[0], Sent):
                told.append(repr(await sms.wait(outcomes[0].id)))
        with pytest.raises(Invalid) as invalid:
            await sms.send(Message(to="+49151234567891234567", sender="ACME", **fields))
        told.append(f"{invalid.value!r} {invalid.value} {invalid.value.__cause__!r}")
    told += [record.getMessage() for record in caplog.records if record.name.startswith("smsgw.client")]
    for secret in secrets:
        assert not [text for text in told if secret in text], secret


def test_every_error_is_on_the_page() -> None:
    """The table of errors has each class that can be raised, and the names that are exported are those there are."""
    kinds = {
        name for name, kind in vars(errors_module).items() if inspect.isclass(kind) and issubclass(kind, SmsgwError)
    }
    assert kinds - {"SmsgwError", "CallFailed"} == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert kinds <= set(smsgw.client.__all__)
    assert all(hasattr(smsgw.client, name) for name in smsgw.client.__all__)
    assert State.DELIVERED.final
