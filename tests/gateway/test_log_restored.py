"""A host is lost, and another goes on from its backup: with the log's old name it does not start, with another it does.

What is left of the old log is elsewhere: with a witness, or in an archive.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.sequencing.archive_file import last_lines
from gateway.sequencing.archive_forms import note_in
from gateway.sequencing.keys import read_signer
from gateway.status_socket import read_status
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.notes import parse
from gateway.tlog.witnessing import parse_request
from tests.appliance import LOG_ORIGIN, SMSGW, Appliance
from tests.gateway.sequencing.servers import JudgingWitness, posting

_WITHIN_S = 60.0
_NEXT = f"{LOG_ORIGIN}-2"


class Site:
    """A host, and a witness elsewhere."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        key = read_signer(appliance.folder / "audit-log.key", LOG_ORIGIN)
        later = read_signer(appliance.folder / "audit-log.key", _NEXT)
        self.witness = JudgingWitness("witness.example/1", 1, key.key, LOG_ORIGIN)
        self.of = {
            LOG_ORIGIN: self.witness,
            _NEXT: JudgingWitness("witness.example/1", 1, later.key, _NEXT),
        }

    def reply(self, head: bytes, body: bytes) -> bytes:
        """Answer as the witness does, for each log by its name."""
        origin = parse_text(parse_request(body).note.text).origin
        return self.of[origin].reply(head, body)

    def rewrite(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the configuration."""
        path = self.appliance.folder / "smsgw.yaml"
        document = yaml.safe_load(path.read_text())
        change(document)
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a command; how it ended, and what it said."""
        done = await asyncio.to_thread(
            subprocess.run, [SMSGW, *words], capture_output=True, text=True, check=False, timeout=_WITHIN_S
        )
        return done.returncode, done.stdout + done.stderr

    @asynccontextmanager
    async def node(self) -> AsyncIterator[None]:
        """Run the node; the witness is served meanwhile."""
        running = self.appliance.node()
        await asyncio.to_thread(running.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)

    def log(self, data: str) -> dict[str, Any]:
        """Return what the node says of the log."""
        found = read_status(self.appliance.folder / data / "status.sock")["audit_log"]
        assert isinstance(found, dict)
        return found


async def until(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(_WITHIN_S):
        while not await asyncio.to_thread(what):
            await asyncio.sleep(0.05)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a host with a configuration."""
    appliance = Appliance.create(tmp_path / "appliance")
    appliance.configure(None)
    return Site(appliance)


@pytest.mark.parametrize("kept", ["witness", "archive"])
@pytest.mark.soak
@pytest.mark.timeout(180)
async def test_another_host_goes_on(site: Site, tmp_path: Path, kept: str) -> None:
    """`db restore` says which name to set; without it, check and serve refuse, and say who knows more and what to do;
    with it, the node starts, and its log is witnessed, archived, and verified."""
    folder, backup, keys = site.appliance.folder, tmp_path / "backup", tmp_path / "keys"
    config = ("--config", str(folder / "smsgw.yaml"))
    async with posting(None, site.reply) as (port, _):
        _use(site, kept, port)
        async with site.node():
            await until(lambda: _seen(site, kept) > 0)
            done, said = await site.command("db", "backup", *config, "--out", str(backup), "--keys", str(keys))
            assert done == 0, said
        async with site.node():  # what a start records is not in the backup
            before = _seen(site, kept)
            await until(lambda: _seen(site, kept) > before)
        shutil.rmtree(folder / "data")
        new = str(folder / "new")
        done, said = await site.command("db", "restore", "--from", str(backup), "--keys", str(keys), "--data-dir", new,
                                        "--json")  # fmt: skip
        assert done == 0, said
        told = json.loads(said)
        assert (told["log_ended"], told["log_origin"]) == (LOG_ORIGIN, _NEXT)
        site.rewrite(lambda document: document["node"].update(data_dir="new"))

        done, said = await site.command("check", *config, "--json")
        assert done == 2
        (finding,) = [each for each in json.loads(said)["findings"] if each["subject"] == "audit log"]
        done, refused = await site.command("serve", *config)
        assert done != 0
        where = "witness.example/1 has cosigned" if kept == "witness" else "checkpoints.jsonl has a checkpoint of"
        for text in (finding["problem"], refused):
            assert where in text
            assert "give audit.log.origin another name" in text
        assert "audit.log.origin" in finding["advice"]

        site.rewrite(lambda document: document["audit"]["log"].update(origin=told["log_origin"]))
        done, said = await site.command("check", *config, "--json")
        assert [each for each in json.loads(said)["findings"] if not each["ok"]] == []
        async with site.node():
            await until(lambda: site.log("new")["checkpoint_size"] > 0)
            await until(lambda: _seen(site, kept, _NEXT) > 0)
            key = read_signer(folder / "audit-log.key", _NEXT).key.vkey
            done, said = await site.command("audit", "verify", *config, "--key", key)
            assert done == 0, said


def _use(site: Site, kept: str, port: int) -> None:
    """Keep checkpoints in one place only."""

    def change(document: dict[str, Any]) -> None:
        log = document["audit"]["log"]
        if kept == "witness":
            log.pop("archives")
            key = site.witness.cosigner.key.vkey
            log["witnesses"] = [{"url": f"http://127.0.0.1:{port}/w1", "public_key": key, "insecure": True}]
            log["witnesses_required"] = 1

    site.rewrite(change)


def _seen(site: Site, kept: str, origin: str = LOG_ORIGIN) -> int:
    """Return how much of a log is known where it is kept."""
    if kept == "witness":
        return site.of[origin].latest.size
    notes = [parse_text(parse(note_in(line)).text) for line in last_lines(site.appliance.folder / "checkpoints.jsonl")]
    return max((each.size for each in notes if each.origin == origin), default=0)
