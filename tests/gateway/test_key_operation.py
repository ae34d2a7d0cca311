"""`smsgw keys` on a running node: to a new key-encryption key and away from old messages, on record, by command."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from gateway.sealing.data_keys import DataKeys, Use
from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.keyring import DestroyedKey, Tombstone
from gateway.sealing.providers import FileKeyProvider, kek_id
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from tests.appliance import OPERATOR, TENANT, Appliance
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, simulators

EVERYTHING = ("keys", "destroy", "--tenant", TENANT, "--to", "2999-01-01", "--reason", "r", "--yes")


def ring(folder: Path) -> FolderKeyring:
    """Return the node's keys, for another process."""
    return FolderKeyring(folder / "data" / WRAPPED_KEYS)


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("keys") / "site", operator=True)


@pytest.fixture
async def operation(appliance: Appliance) -> AsyncIterator[Operation]:
    """Run a node, its carrier, and a key of three days ago."""
    fresh(appliance)
    folder = appliance.folder
    wall = time.time() - 3 * 86_400
    old = FileKeyProvider(folder / "kek.key")
    DataKeys(node="n", provider=old, keyring=ring(folder), wall=lambda: wall).make([Use(TENANT, "content")])
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as carriers:
        configure(appliance, carriers)
        async with operating(appliance, carriers) as running:
            yield running


async def test_keys(operation: Operation, appliance: Appliance) -> None:
    """A new key-encryption key is taken up without a restart, wraps new keys and then all keys; old keys are destroyed
    with a reason, and those in use are not; operators see all of it, and so does the audit."""
    folder = appliance.folder
    first = kek_id((folder / "kek.key").read_bytes())
    (before,) = await operation.send()
    await operation.reach(before, "DELIVERED")
    (folder / "next.key").touch(mode=0o600)
    (folder / "next.key").write_bytes(os.urandom(32))
    second = kek_id((folder / "next.key").read_bytes())
    document = yaml.safe_load((folder / "smsgw.yaml").read_text())
    document.setdefault("keys", {}).update({"kek_file": "next.key", "older_kek_files": ["kek.key"]})
    (folder / "smsgw.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (reloaded,) = await operation.command("reload")
    assert reloaded["changes"] == ["keys.kek_file", "keys.older_kek_files"]
    (rotated,) = await operation.command("keys", "rotate", "--reason", "the key of 2027")
    assert (rotated["newest"], rotated["made"]) == (second, "3")
    (rewrapped,) = await operation.command("keys", "rewrap", "--reason", "the key of 2026 ends")
    assert (rewrapped["newest"], rewrapped["failed"]) == (second, "0")
    assert int(rewrapped["rewrapped"]) >= 3
    shown = await operation.shown("keys", "list")
    assert f"{second}" in shown
    assert first not in shown
    later = DataKeys(node="edge-1", provider=FileKeyProvider(folder / "next.key"), keyring=ring(folder)).make(
        [Use(TENANT, "content")]
    )
    (refused,) = await operation.command(*EVERYTHING, code=1)
    assert refused["error"]["reason"] == "KEYS_STILL_SEAL"
    assert "edge-1 until " in refused["error"]["message"]
    ring(folder).destroy([spare.key_id for spare in later.values()], Tombstone(1, "nobody", "a test"))
    to = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * 86_400))
    words = ("keys", "destroy", "--tenant", TENANT, "--to", to, "--reason", "contract ended")
    (planned,) = await operation.command(*words, "--dry-run")
    (destroyed,) = await operation.command(*words, "--yes")
    assert planned == destroyed == {"destroyed": "1", "already": "0"}
    gone = [key for key in ring(folder).records() if isinstance(key, DestroyedKey)]
    assert [(key.stone.by, key.stone.why) for key in gone if key.node != "edge-1"] == [(OPERATOR, "contract ended")]
    assert await operation.state(before) == "DELIVERED"  # what is needed still opens
    acts = [(act.what, act.number) for act in await operation.acts() if act.what.startswith("keys ")]
    assert acts[:2] == [("keys rotated", 0), ("keys rewrapped", 0)]
    assert ("keys destroyed", 1) in acts


async def test_the_keys_of_now(operation: Operation) -> None:
    """The keys that seal at this moment can be destroyed as well: not while a message under them waits, then at once.
    What they sealed is gone, and new messages go on."""
    (first,) = await operation.send()
    await operation.reach(first, "DELIVERED")
    await operation.command("carrier", "pause", "acme", "--reason", "a test")
    (waiting,) = await operation.send()
    (refused,) = await operation.command(*EVERYTHING, code=1)
    assert refused["error"]["reason"] == "KEYS_IN_USE"
    await operation.command("carrier", "resume", "acme", "--reason", "a test")
    await operation.reach(waiting, "DELIVERED")
    (destroyed,) = await operation.command(*EVERYTHING)
    assert int(destroyed["destroyed"]) >= 2
    found = await operation.caller.GetMessage(api.GetMessageRequest(message_id=first), timeout=TIMEOUT_S)
    assert found.message.unreadable == message_pb2.UNREADABLE_KEY_DESTROYED
    (after,) = await operation.send()
    await operation.reach(after, "DELIVERED")
