"""`smsgw privacy` on a running node, over TLS on every side."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator

import pytest

from carrier.simulator.simulator import Simulator
from gateway.audit.records import KeyDestroyed, PrivacyActed
from tests.appliance import TENANT, Appliance
from tests.gateway.operation import Operation, configure, fresh, operating, simulators
from tests.plaintext import Search, files_of

NUMBER = "+4915112345678"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("privacy") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run a carrier that sends receipts."""
    fresh(appliance)
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.01}") as running:
        configure(appliance, running)
        yield running


@pytest.fixture
async def operation(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node; nobody else reads, so keys are destroyed without a pause."""
    async with operating(appliance, carriers) as running:
        running.node._privacy.retirement._pause_s = 0.0
        yield running


async def test_a_person_is_told_and_forgotten(operation: Operation) -> None:
    """Export writes a private file with everything, erase leaves nothing of it in the folder, on record before it
    is done; who erases again finds nothing, and the caller's message says what is gone."""
    folder = operation.appliance.folder
    text = "Ein Satz, den nur diese Nachricht hat"
    (mine,) = await operation.send(1, text=text, recipient=NUMBER)
    (other,) = await operation.send(1, text="something else", recipient="+4915187654321")
    for each in (mine, other):
        await operation.reach(each, "DELIVERED")
    out = folder / "person.json"
    recipient = ("--recipient", NUMBER, "--reason", "ticket 4711")
    (told,) = await operation.command("privacy", "export", *recipient, "--out", str(out))
    assert (told["messages"], told["inbound"], told["receipts"], told["holds"]) == (1, 0, 0, 0)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    document = json.loads(out.read_text())
    out.unlink()
    (item,) = document["items"]
    assert (document["recipient"], item["kind"], item["tenant"]) == (NUMBER, "message", TENANT)
    assert (item["recipient"], item["content"], item["message"]["state"]) == (NUMBER, {"text": text}, "DELIVERED")
    assert [event["state"] for event in item["events"]] == ["ACCEPTED", "SUBMITTED", "DELIVERED"]

    (counted,) = await operation.command("privacy", "erase", *recipient, "--dry-run")
    assert (counted["messages"], counted["dry_run"]) == (1, True)
    (done,) = await operation.command("privacy", "erase", *recipient, "--compact", "--yes")
    assert (done["messages"], done["unfinished"], done["backups_unreadable"]) == (1, 0, True)
    assert [key["destroyed"] for key in done["keys"]] == [True, True]
    (again,) = await operation.command("privacy", "erase", *recipient, "--yes")
    assert (again["messages"], again["keys"]) == (0, [])
    (stand,) = await operation.command("privacy", "status")
    assert (stand["retention_late_s"], stand["keys"]) == (0, [])

    search = Search({"number": NUMBER[1:], "text": text, "masked": "+49XXXXXXX5678"})
    assert search.leaks(files_of(folder / "data")) == []
    records = await operation.records()
    acted = [record for record in records if isinstance(record, PrivacyActed)]
    assert [(record.what, record.messages, record.reason) for record in acted] == [
        ("exported", 1, "ticket 4711"),
        ("erased", 1, "ticket 4711"),
        ("erased", 0, "ticket 4711"),
    ]
    assert all("/admin/" in record.by for record in acted)
    kinds = [type(record) for record in records if isinstance(record, PrivacyActed | KeyDestroyed)]
    assert kinds == [PrivacyActed, PrivacyActed, KeyDestroyed, KeyDestroyed, PrivacyActed]


async def test_what_is_refused(operation: Operation) -> None:
    """A number in the reason, a file that is there and a number that is none are refused, and leave no file."""
    folder = operation.appliance.folder
    there = folder / "there.json"
    there.write_text("mine")
    wrong = [
        (("--recipient", NUMBER, "--reason", f"asked by {NUMBER}", "--out", str(folder / "a")), "REASON_PERSONAL"),
        (("--recipient", "0151", "--reason", "x", "--out", str(folder / "b")), "RECIPIENT_INVALID"),
        (("--recipient", NUMBER, "--reason", "x", "--out", str(there)), "FILE_EXISTS"),
    ]
    for options, reason in wrong:
        (told,) = await operation.command("privacy", "export", *options, code=2)
        assert told["error"]["reason"] == reason
    assert there.read_text() == "mine"
    assert not (folder / "a").exists()
    assert not (folder / "b").exists()
