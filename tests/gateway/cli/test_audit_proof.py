"""`smsgw audit prove` and `verify`: of a real node's message and its whole log; what was altered is named."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.audit.codec import frames, split
from gateway.audit.records import NodeStopped
from gateway.cli.main import main
from gateway.proving.archives import notes_of
from gateway.sequencing.archive_forms import line_of
from gateway.sequencing.archiving import Archived
from gateway.sequencing.keys import read_signer
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.merkle import leaf_hash
from gateway.tlog.notes import parse
from tests.appliance import LOG_ORIGIN, Appliance
from tests.gateway.operation import Operation, configure, fresh, operating, rewrite, simulators

TEXT = "tell nobody: 4711"


def smsgw(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Site:
    """A node's folder after its life, with a receipt of a message and a checkpoint from earlier; each test its copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.receipt = folder / "receipt.json"
        self.key = folder / "audit-log.vkey"
        self.archive = folder / "archive"
        self.database = folder / "data" / "smsgw.db"

    def verify(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        """Verify the whole log; what it says."""
        result = smsgw("audit", "verify", "--dir", self.folder, "--archive", self.archive, "--json", *arguments)
        assert result.exit_code == code, result.output
        document: dict[str, Any] = json.loads(result.output)
        return document["error"] if code else document

    def found(self, *arguments: object) -> list[tuple[str, int]]:
        """Return what is found in a log that is not as it was signed."""
        error = self.verify(*arguments, code=1)
        assert error["reason"] == "NOT_AS_SIGNED"
        return [(finding["fault"], finding.get("seq", 0)) for finding in error["findings"]]

    def change(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Do to the database what somebody who can write it can do."""
        db = apsw.Connection(str(self.database))
        try:
            for (trigger,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")
            for statement, bindings in statements:
                db.execute(statement, bindings)
        finally:
            db.close()

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the audit."""
        db = apsw.Connection(str(self.database))
        try:
            return db.execute("SELECT seq, at, count, records FROM audit_commit ORDER BY seq").fetchall()
        finally:
            db.close()


async def lived(operation: Operation, site: Site) -> None:
    """Send messages, keep a checkpoint from the middle, and a receipt."""
    message_id, *_ = await operation.send(3, text=TEXT)
    await operation.reach(message_id, "DELIVERED")
    (written,) = await operation.command("audit", "prove", message_id, "--wait", "30", "--output", str(site.receipt))
    assert written["message_id"] == message_id
    published = operation.appliance.folder / "data" / "audit-log" / "checkpoint"
    note = published.read_text()
    later = await operation.send(2)
    await operation.reach(later[1], "DELIVERED")
    await operation.until(lambda: published.read_text() != note)
    site.archive.write_text(note + published.read_text())
    (running,) = await operation.command("audit", "verify", "--key", str(site.key), "--archive", str(site.archive))
    assert running["verified"]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Run a node once."""
    appliance = Appliance.create(tmp_path_factory.mktemp("proof") / "site")
    site = Site(appliance.folder)
    signer = read_signer(appliance.folder / "audit-log.key", LOG_ORIGIN)
    site.key.write_text(f"{signer.key.vkey}\n")

    async def live() -> None:
        fresh(appliance)
        async with simulators(appliance, ["acme"], "receipts: {delay_s: 0.02}") as carriers:
            configure(appliance, carriers)
            rewrite(appliance, lambda document: document["audit"]["log"].pop("archives"))  # each test has its own
            async with operating(appliance, carriers) as running, asyncio.timeout(120):
                await lived(running, site)

    asyncio.run(live())
    return site


@pytest.fixture
def site(life: Site, tmp_path: Path) -> Site:
    """Copy what it left."""
    folder = tmp_path / "site"
    shutil.copytree(life.folder, folder, ignore=shutil.ignore_patterns("*.sock"))
    config = folder / "smsgw.yaml"
    config.write_text(config.read_text().replace(str(life.folder), str(folder)))
    return Site(folder)


def test_a_receipt(life: Site) -> None:
    """A receipt is verified by the key alone, tells the whole way, and holds nothing of recipient and content."""
    result = smsgw("audit", "verify", life.receipt, "--key", life.key, "--json")
    assert result.exit_code == 0, result.output
    verified = json.loads(result.output)
    assert [step["kind"] for step in verified["steps"]] == ["MESSAGE_STORED", "STATE_CHANGED", "STATE_CHANGED"]
    assert (verified["state"], verified["gapless"], verified["content_shown"]) == ("DELIVERED", True, False)
    assert verified["origin"] == LOG_ORIGIN
    text = life.receipt.read_text()
    assert life.receipt.stat().st_mode & 0o777 == 0o600
    for secret in ("15112345678", "X5678", "nobody", "4711"):
        assert secret not in text + result.output
    words = smsgw("audit", "verify", life.receipt, "--key", life.key.read_text().strip()).output
    assert "is DELIVERED: every step is there" in words
    assert words.endswith(f"verified: in the log {LOG_ORIGIN}, of {verified['size']} commits\n")


def test_which_message_it_was(life: Site, tmp_path: Path) -> None:
    """With the message at hand, the receipt shows that it was this one, and no other."""
    message = tmp_path / "message.json"
    fields = {"to": "+4915112345678", "sender": "ACME", "category": "TRANSACTIONAL", "text": TEXT}
    command = ("audit", "verify", life.receipt, "--key", life.key, "--message", message)
    for text, code, said in ((TEXT, 0, "it is the message that was given"), (TEXT + "2", 1, "is another one")):
        message.write_text(json.dumps({**fields, "text": text}))
        result = smsgw(*command)
        assert result.exit_code == code, result.output
        assert said in result.output
    message.write_text('{"to": 1}')
    assert smsgw(*command).exit_code == 2


def test_a_receipt_that_was_altered(life: Site, tmp_path: Path) -> None:
    """What was altered ends with 1 and the reason; a key that is none, or a file that is not there, with 2."""
    other = tmp_path / "receipt.json"
    other.write_text(life.receipt.read_text().replace('"committed_at": "1', '"committed_at": "2'))
    result = smsgw("audit", "verify", other, "--key", life.key, "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["error"]["reason"] == "NOT_PROVEN"
    assert smsgw("audit", "verify", tmp_path / "none", "--key", life.key).exit_code == 2
    assert smsgw("audit", "verify", life.receipt, "--key", "a+b+c").exit_code == 2
    assert smsgw("audit", "verify", life.receipt, "--key", life.key, "--witnesses", "1").exit_code == 2


def test_the_whole_log(site: Site) -> None:
    """A log that is as it was signed is verified, of a node that is stopped too, and of a copy elsewhere."""
    rows = site.rows()
    said = site.verify("--key", site.key)
    assert (said["commits"], said["covered"], said["let_go"]) == (len(rows), len(rows), 0)
    assert said["records"] == sum(count for _, _, count, _ in rows)
    assert said["checkpoints"] == said["right"] == 3
    copy = site.folder / "copy.db"
    shutil.copy(site.database, copy)
    alone = smsgw("audit", "verify", "--database", copy, "--archive", site.archive, "--key", site.key)
    assert alone.exit_code == 0, alone.output
    assert alone.output.startswith(f"verified: {len(rows)} commits with {said['records']} records")


def test_a_configured_archive(site: Site) -> None:
    """The node's own archive in a file is read without being named; a line that was cut off is told, and no fault."""
    notes = list(notes_of(site.archive.read_bytes().splitlines(keepends=True)))
    kept = [line_of(Archived(1, parse_text(parse(one).text), one)) for one in notes]
    (site.folder / "kept").write_bytes(b"".join([*kept, kept[0][:40] + b"\n"]))
    document = yaml.safe_load((site.folder / "smsgw.yaml").read_text())
    document["audit"]["log"]["archives"] = [{"name": "kept", "file": "kept"}]
    (site.folder / "smsgw.yaml").write_text(yaml.safe_dump(document))
    said = site.verify("--key", site.key)
    assert (said["checkpoints"], said["right"], said["lines_without"]) == (5, 5, 1)


def test_nothing_to_verify_by(site: Site) -> None:
    """Without a checkpoint nothing is verified, and that is no success."""
    shutil.rmtree(site.folder / "data" / "audit-log")
    result = smsgw("audit", "verify", "--dir", site.folder, "--key", site.key, "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["error"]["reason"] == "NO_CHECKPOINT"


EDIT = "UPDATE audit_commit SET records = ?, count = 1 WHERE seq = ?"
ATTACKS: dict[
    str, tuple[Callable[[int], list[tuple[str, tuple[Any, ...]]]], Callable[[int], list[tuple[str, int]]]]
] = {
    "a commit is edited": (
        lambda _size: [(EDIT, (frames([NodeStopped(1, "nobody")]), 4))],
        lambda _size: [("ALTERED", 4)],
    ),
    "a time is edited": (
        lambda _size: [("UPDATE audit_commit SET at = at + 1 WHERE seq = 5", ())],
        lambda _size: [("ALTERED", 5)],
    ),
    "a commit is deleted": (
        lambda _size: [("DELETE FROM audit_commit WHERE seq = 3", ())],
        lambda _size: [("MISSING", 3)],
    ),
    "two commits change places": (
        lambda _size: [
            ("UPDATE audit_commit SET seq = 1000000 WHERE seq = 2", ()),
            ("UPDATE audit_commit SET seq = 2 WHERE seq = 6", ()),
            ("UPDATE audit_commit SET seq = 6 WHERE seq = 1000000", ()),
        ],
        lambda _size: [("MOVED", 2), ("MOVED", 6)],
    ),
    "the end is cut off": (
        lambda size: [("DELETE FROM audit_commit WHERE seq > ?", (size - 2,))],
        lambda size: [("TRUNCATED", size - 1)] * 2,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_somebody_did_to_the_database(site: Site, name: str) -> None:
    """Whoever can write the database can alter it, and is found out: what he did, and to which commit."""
    attack, expected = ATTACKS[name]
    size = len(site.rows())
    site.change(*attack(size))
    found = site.found("--key", site.key)
    assert set(found) == set(expected(size))


def test_which_record_it_was(site: Site) -> None:
    """A record that was put in the place of another one is named, by its number in its commit."""
    seq, _, count, records = max(site.rows(), key=lambda row: row[2])
    framed = [len(record).to_bytes(2, "big") + record for record in split(records)]
    before = leaf_hash(framed[1][2:])[0]  # the octet of it that is kept: one in 256 others has it too
    forged = (frames([NodeStopped(at, "nobody")]) for at in range(1_000))
    framed[1] = next(other for other in forged if leaf_hash(other[2:])[0] != before)
    site.change(("UPDATE audit_commit SET records = ? WHERE seq = ?", (b"".join(framed), seq)))
    (finding,) = site.verify("--key", site.key, code=1)["findings"]
    assert count > 2
    assert (finding["fault"], finding["seq"], finding["record"]) == ("ALTERED", seq, 1)
    assert finding["what"] == f"commit {seq}: altered: its records 1"


def test_a_log_that_was_made_anew(site: Site) -> None:
    """Where database and folder are replaced by a shorter history, the checkpoint that was kept elsewhere tells."""
    first = site.archive.read_text()
    site.change(("DELETE FROM audit_commit WHERE seq > 3", ()))
    shutil.rmtree(site.folder / "data" / "audit-log")
    assert {fault for fault, _ in site.found("--key", site.key)} == {"TRUNCATED"}
    site.archive.write_text(first.replace("\n\n", "\nedited\n\n", 1))
    assert ("CHECKPOINT", 0) in site.found("--key", site.key)
