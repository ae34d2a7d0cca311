"""A node whose key service is elsewhere: it bridges an outage with what is in memory, refuses then, and recovers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.keyring import WrappedKey, context_of
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from tests.appliance import Appliance
from tests.gateway.api.refusals import Refusal, refusal
from tests.gateway.config.fake_vault import fake_vault
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, rewrite, simulators
from tests.gateway.sealing.test_vault_provider import Transit, provider_of


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("outage") / "site", operator=True)


@pytest.fixture
async def running(appliance: Appliance, tmp_path: Path) -> AsyncIterator[tuple[Operation, Transit]]:
    """Run a node whose data keys Vault wraps."""
    fresh(appliance)
    with fake_vault(tmp_path) as vault:
        transit = Transit(vault)
        place = {"address": f"localhost:{vault.port}", "ca_file": str(tmp_path / "vault-ca.pem"),
                 "token_file": str(tmp_path / "vault.token")}  # fmt: skip
        async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as carriers:
            configure(appliance, carriers)
            keys = {"kek": {"vault_transit": {"key": "smsgw"}}}
            rewrite(appliance, lambda document: document.update(vault=place, keys=keys))
            async with operating(appliance, carriers) as operation:
                yield operation, transit


async def refused(operation: Operation) -> Refusal:
    """Return how a message is refused."""
    message = message_pb2.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
        content=message_pb2.Content(text="hello"),
    )  # fmt: skip
    return await refusal(operation.caller.SendMessage(api.SendMessageRequest(message=message), timeout=TIMEOUT_S))


def failing(operation: Operation) -> bool:
    """Whether the alert is raised."""
    return "keys_failing" in {alert.kind.name for alert in operation.node._alerts.active()}


async def test_an_outage(running: tuple[Operation, Transit], appliance: Appliance, tmp_path: Path) -> None:
    """While Vault is sealed what is in memory seals and opens; then calls end with when to try again, and an alert;
    once it is back, messages go by themselves. No file has a data key."""
    operation, transit = running
    (before,) = await operation.send()
    await operation.reach(before, "DELIVERED")
    keys, openers = operation.node._data_keys, operation.node._data_keys.openers
    assert openers is not None
    await operation.until(lambda: not keys.wanted(["demo"]))
    transit.vault.posted = lambda path, body: (503, b"")
    await operation.reach((await operation.send())[0], "DELIVERED")
    keys.forget()  # as if its time were over
    told = await refused(operation)
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "KEYS_UNAVAILABLE")
    assert told.retry_after_s
    read = api.GetMessageRequest(message_id=before)
    told = await refusal(operation.caller.GetMessage(read, timeout=TIMEOUT_S))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "KEYS_UNAVAILABLE")
    await operation.until(lambda: failing(operation))
    transit.vault.posted = transit.answer
    await operation.until(lambda: not keys.wanted(["demo"]))
    await operation.reach(before, "DELIVERED")
    await operation.reach((await operation.send())[0], "DELIVERED")
    await operation.until(lambda: not failing(operation))
    keys_made = data_keys(appliance, transit, tmp_path)
    assert written(appliance.folder, keys_made) == []
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "log").write_text(f"key {keys_made[1].hex()}")
    assert written(tmp_path / "control", keys_made) != []


def data_keys(appliance: Appliance, transit: Transit, folder: Path) -> list[bytes]:
    """Return the data keys that the node has made."""
    provider = provider_of(transit, folder)
    records = list(FolderKeyring(appliance.folder / "data" / WRAPPED_KEYS).records())
    assert len(records) >= 3
    return [provider.unwrap(each.wrapped, context_of(each)) for each in records if isinstance(each, WrappedKey)]


def written(folder: Path, keys: list[bytes]) -> list[Path]:
    """Return the files that have a key in them, as octets or in the ways that it could have been written."""
    forms = [form for key in keys for form in (key, key.hex().encode(), base64.b64encode(key)[:40])]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]
