"""`smsgw keys` on a running node: to a new key-encryption key and away from old messages, on record, by command."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import pytest
import yaml

from gateway.sealing.data_keys import DataKeys, Use
from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.keyring import DestroyedKey
from gateway.sealing.providers import FileKeyProvider, kek_id
from tests.appliance import OPERATOR, TENANT, Appliance
from tests.gateway.operation import Operation, configure, fresh, operating, simulators


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
    DataKeys(node="n", provider=old, keyring=FolderKeyring(folder / "data" / WRAPPED_KEYS), wall=lambda: wall).make(
        [Use(TENANT, "content")]
    )
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
    day = "2999-01-01"
    (refused,) = await operation.command(
        "keys", "destroy", "--tenant", TENANT, "--to", day, "--reason", "r", "--yes", code=1
    )
    assert refused["error"]["reason"] == "KEYS_STILL_SEAL"
    to = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * 86_400))
    words = ("keys", "destroy", "--tenant", TENANT, "--to", to, "--reason", "contract ended")
    (planned,) = await operation.command(*words, "--dry-run")
    (destroyed,) = await operation.command(*words, "--yes")
    assert planned == destroyed == {"destroyed": "1", "already": "0"}
    gone = [key for key in FolderKeyring(folder / "data" / WRAPPED_KEYS).records() if isinstance(key, DestroyedKey)]
    assert [(key.stone.by, key.stone.why) for key in gone] == [(OPERATOR, "contract ended")]
    assert await operation.state(before) == "DELIVERED"  # what is needed still opens
    acts = [(act.what, act.number) for act in await operation.acts() if act.what.startswith("keys ")]
    assert acts[:2] == [("keys rotated", 0), ("keys rewrapped", 0)]
    assert ("keys destroyed", 1) in acts
