"""Two whole nodes on one PostgreSQL, and one log: whoever appends is stopped, and killed, under load.

The judges stand outside: the database says what was committed, the archives of both nodes what was ever signed, and
`smsgw audit verify` holds all of it against each other.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.sequencing.keys import read_signer
from gateway.store.postgres import PostgresStore
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.entries import entry_of
from gateway.tlog.tree import Edge, grow
from tests.appliance import LOG_ORIGIN, SMSGW, Appliance
from tests.gateway.sequencing.commits import commits_of
from tests.gateway.sequencing.judge import archived
from tests.gateway.three_nodes import Member
from tests.postgres.server import PostgresServer, expendable

_RATE = 30.0  # of each load
_WITHIN_S = 90.0  # a lease of 10 s, on a machine that does other things


class Pair:
    """Two nodes, and what is seen of them from outside."""

    def __init__(self, appliance: Appliance, server: PostgresServer, databases: tuple[str, str]) -> None:
        self._folder, self._server, (self._database, keys) = appliance.folder, server, databases
        document = yaml.safe_load((appliance.folder / "smsgw.yaml").read_text())
        document.pop("telemetry")
        document["keys"]["wrapped"] = {"postgres": {**document["store"]["postgres"], "database": keys}}
        self.members: list[Member] = []
        for number in range(2):
            document["audit"]["log"]["archives"] = [{"name": "file", "file": f"archive-{number}.jsonl"}]
            self.members.append(Member(appliance, number, document))
        self._key = read_signer(appliance.folder / "audit-log.key", LOG_ORIGIN).key

    def holder(self, *but: Member) -> Member:
        """Wait until one of them appends, other than `but`."""
        until = time.monotonic() + _WITHIN_S
        while True:
            for member in self.members:
                if member not in but and member.log()["holds"]:
                    return member
            assert time.monotonic() < until, "nobody appends"
            time.sleep(0.05)

    def bounds(self) -> tuple[int, int, int]:
        """Return the newest commit, the size of the log, and the epoch of the lease."""
        with self._server.connect(self._database) as db:
            row = db.execute("SELECT audit_seq, size, epoch FROM smsgw.sequencer, smsgw.log_head").fetchone()
        assert row is not None
        newest, size, epoch = (int(str(value)) for value in row)
        return newest, size, epoch

    def wait_appended(self) -> float:
        """Wait until all that is committed now is in the log; how many seconds that took."""
        began = time.monotonic()
        newest, size, _ = self.bounds()
        while size < newest:
            assert time.monotonic() < began + _WITHIN_S, f"the log has {size} of {newest} commits"
            time.sleep(0.05)
            _, size, _ = self.bounds()
        return time.monotonic() - began

    def archived(self, member: Member) -> list[Checkpoint]:
        """Return what a node has signed, and archived."""
        return archived(self._folder / f"archive-{self.members.index(member)}.jsonl", self._key)

    def verified(self, member: Member) -> dict[str, object]:
        """Have the audit verified by the command, with the archives of both."""
        archives = [f"--archive={self._folder}/archive-{number}.jsonl" for number in range(2)]
        command = [SMSGW, "audit", "verify", f"--config={self._folder}/{member.name}.yaml", "--json", *archives]
        command.append(f"--key={self._key.vkey}")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_WITHIN_S)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    async def judge(self) -> None:
        """One leaf for each commit, and all that was ever signed is one history."""
        newest, size, _ = self.bounds()
        assert size == newest > 0
        store = PostgresStore(self._server.target(self._database))
        await store.open()
        try:
            leaves = [entry_of(one.seq, one.at, one.records).leaf for one in await commits_of(store)]
        finally:
            await store.close()
        signed = sorted((one for member in self.members for one in self.archived(member)), key=lambda one: one.size)
        assert signed[-1].size >= size
        edge = Edge()
        for checkpoint in signed:
            edge, _ = grow(edge, leaves[edge.size : checkpoint.size])
            assert (edge.size, edge.root) == (checkpoint.size, checkpoint.root)


@contextlib.contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Run both, without a carrier: what is accepted is what is recorded."""
    server = expendable()
    with server.database() as database, server.database() as keys:
        appliance = Appliance.create(folder / "appliance")
        appliance.configure(None, store=server.section(database))
        both = Pair(appliance, server, (database, keys))
        with contextlib.ExitStack() as running:
            for member in both.members:
                running.callback(member.end)
                running.callback(_let_go_on, member)
                member.launch()
            for member in both.members:
                member.start()
            yield both


def _let_go_on(member: Member) -> None:
    with contextlib.suppress(ProcessLookupError, AssertionError):
        member.send(signal.SIGCONT)


@pytest.mark.timeout(240)
async def test_the_log_moves_from_node_to_node(tmp_path: Path) -> None:
    """The node that appends is stopped for longer than its lease: the other one goes on where it was, and the first,
    when it wakes, appends and signs nothing. Then the other is killed, and the first takes the log up again."""
    with pair(tmp_path) as both:
        with contextlib.ExitStack() as loads:
            for member in both.members:
                loads.enter_context(member.load(_RATE))
            first = both.holder()
            both.wait_appended()
            first.send(signal.SIGSTOP)
            _, stopped_at, epoch = both.bounds()

            second = both.holder(first)
            took_s = both.wait_appended()
            assert took_s < _WITHIN_S / 3
            assert both.bounds()[2] == epoch + 1
            signed_before = both.archived(first)
            first.send(signal.SIGCONT)
            first.until(lambda found: not found["holds"])
            both.wait_appended()
            newest, _, epoch_now = both.bounds()
            assert epoch_now == epoch + 1
            assert both.archived(second)[-1].size > stopped_at
            woken = both.archived(first)[len(signed_before) :]
            assert all(checkpoint.size <= stopped_at for checkpoint in woken), "it has signed after its lease was gone"
            assert newest > stopped_at

            second.end(signal.SIGKILL)
            assert both.holder(second) is first
            assert both.wait_appended() < _WITHIN_S / 3
            assert both.bounds()[2] == epoch + 2
        found = both.verified(first)
        assert found["commits"] == found["covered"]
        for member in both.members:
            member.end()
        await both.judge()
