"""kill -9 of a node while it rewraps and destroys thousands of keys: none is lost, and the next call does the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.keyring import DestroyedKey, WrappedKey, context_of, new_key_id, wrap_context
from gateway.sealing.providers import FileKeyProvider, kek_id
from tests.appliance import SERVER_NAME, SMSGW, TENANT, Appliance, Running

pytestmark = pytest.mark.soak

DAYS, A_DAY = 20, 150
DAY_S = 86_400
WAIT_S = 60.0


class Site:
    """A node that has two key-encryption keys, and many old data keys under the first."""

    def __init__(self, folder: Path) -> None:
        self.appliance = Appliance.create(folder / "site", operator=True)
        self.folder = self.appliance.folder
        path = self.appliance.configure(None)
        (self.folder / "next.key").touch(mode=0o600)
        (self.folder / "next.key").write_bytes(os.urandom(32))
        document = yaml.safe_load(path.read_text())
        document["keys"] = {"kek_file": "next.key", "older_kek_files": ["kek.key"]}
        document["admin"] = {"listen": "127.0.0.1:0"}
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        (self.folder / "data").mkdir(mode=0o700)
        self.ring = FolderKeyring(self.folder / "data" / WRAPPED_KEYS)
        self.both = FileKeyProvider(self.folder / "next.key", [self.folder / "kek.key"])
        self.next = kek_id((self.folder / "next.key").read_bytes())
        self.keys: dict[bytes, bytes] = {}
        self._fill()

    def _fill(self) -> None:
        first = FileKeyProvider(self.folder / "kek.key")
        for day in range(DAYS):
            at, records = int(time.time()) - (day + 3) * DAY_S, []
            for number in range(A_DAY):
                key_id, key = new_key_id(at, number.to_bytes(6, "big")), os.urandom(32)
                wrapped = first.wrap(key, wrap_context(key_id, "n", TENANT, at, at + 900))
                records.append(WrappedKey(key_id, "n", TENANT, at, at + 900, wrapped))
                self.keys[key_id] = key
            self.ring.append(records)

    def killed_in(self, *words: str, when: Callable[[], bool]) -> None:
        """Run a command on a node, which is killed once `when` is true."""
        with Running(self.appliance.serve_command(), log=self.folder / "node.log") as node:
            admin = node.line_with(r"admin (\S+),")[1]
            command = subprocess.Popen(
                self._command(admin, words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until = time.monotonic() + WAIT_S
            while not when():
                assert time.monotonic() < until
            os.kill(node.pid, signal.SIGKILL)
            command.wait(WAIT_S)

    def done(self, *words: str) -> None:
        """Run a command on a node to its end."""
        with Running(self.appliance.serve_command(), log=self.folder / "node.log") as node:
            admin = node.line_with(r"admin (\S+),")[1]
            subprocess.run(self._command(admin, words), check=True, capture_output=True, timeout=WAIT_S)

    def _command(self, admin: str, words: tuple[str, ...]) -> list[str]:
        pki = self.folder / "pki"
        identity = [f"--svid={pki}/operator.pem", f"--svid-key={pki}/operator.key", f"--bundle={pki}/bundle.pem"]
        return [sys.executable, SMSGW, *words, f"--target={admin}", f"--server-name={SERVER_NAME}", *identity]

    def standing(self) -> tuple[int, int, int]:
        """Return how many keys are under the old key, under the new one, and destroyed; each that is not opens."""
        old = new = gone = 0
        records = {record.key_id: record for record in self.ring.records() if record.key_id in self.keys}
        assert records.keys() == self.keys.keys(), "none is lost"
        for key_id, record in records.items():
            if isinstance(record, DestroyedKey):
                gone += 1
                continue
            assert self.both.unwrap(record.wrapped, context_of(record)) == self.keys[key_id]
            new += record.wrapped.kek_id == self.next
            old += record.wrapped.kek_id != self.next
        return old, new, gone


def test_killed_while_it_works(tmp_path: Path) -> None:
    """Killed in the middle each key has its old wrap or its new one, its wrap or its tombstone; done again, all."""
    site = Site(tmp_path)
    total = DAYS * A_DAY
    site.killed_in("keys", "rewrap", "--reason", "r", when=lambda: site.standing()[1] > 0)
    old, new, gone = site.standing()
    assert (old + new, gone) == (total, 0)
    assert new > 0
    site.done("keys", "rewrap", "--reason", "r")
    assert site.standing() == (0, total, 0)
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * DAY_S))
    words = ("keys", "destroy", "--tenant", TENANT, "--to", day, "--reason", "r", "--yes")
    site.killed_in(*words, when=lambda: site.standing()[2] > 0)
    old, new, gone = site.standing()
    assert (old, new + gone) == (0, total)
    assert gone > 0
    site.done(*words)
    assert site.standing() == (0, 0, total)
