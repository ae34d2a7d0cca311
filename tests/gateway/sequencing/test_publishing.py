"""The folder shows the log that there is, whatever it showed before, and a failure is told and mended."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.sequencing.files import LogFiles
from gateway.sequencing.notary import Notary
from gateway.sequencing.publishing import Publication
from gateway.sequencing.sequencer import Progress, Sequencer
from gateway.store.contract import Store
from gateway.store.sqlite import SqliteStore
from gateway.tlog import proofs
from gateway.tlog.checkpoints import Checkpoint, parse_text
from gateway.tlog.notes import Signer, parse
from tests.gateway.sequencing.commits import NOW, SIGNER, commit, commits_of, opened_store, root_after
from tests.gateway.sequencing.test_sequencer import PACE
from visibility.alerts import Alerts
from visibility.catalogue import NODE


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an open store."""
    async with opened_store(tmp_path) as made:
        yield made


def publication(store: Store, folder: Path, alerts: Alerts | None = None) -> Publication:
    """One that writes into a folder."""
    return Publication(
        store, LogFiles(folder), Progress().failures, now=lambda: NOW, alerts=alerts or Alerts(NODE, lambda: NOW)
    )


async def published(store: Store, to: Publication, signer: Signer = SIGNER) -> None:
    """Take up what is committed, sign it, and publish it."""
    one = Sequencer(store, Notary(signer), to, holder="n", pace=PACE, progress=Progress(), now=lambda: NOW)
    await one.turn()
    await one.finish()
    await to.flush()


async def require_whole(store: Store, folder: Path) -> Checkpoint:
    """The folder's checkpoint is of the audit, and its tiles make it."""
    checkpoint = parse_text(parse((folder / "checkpoint").read_bytes()).text)
    tiles = {tile: (folder / tile.path).read_bytes() for tile in proofs.root_tiles(checkpoint.size)}
    assert proofs.root(checkpoint.size, tiles) == checkpoint.root
    assert checkpoint.root == root_after(await commits_of(store), checkpoint.size)
    return checkpoint


async def test_a_folder_that_was_lost(store: Store, tmp_path: Path) -> None:
    """It is written again, by one who starts; and by one who runs, once its tiles are looked for."""
    folder = tmp_path / "log"
    await commit(store, 30)
    await published(store, publication(store, folder))
    shutil.rmtree(folder)
    await commit(store, 1)
    await published(store, publication(store, folder))
    assert (await require_whole(store, folder)).size == 31


async def test_a_folder_of_another_history(store: Store, tmp_path: Path) -> None:
    """What a log of another name has left there is removed: no tile of it stays behind the new checkpoint."""
    folder = tmp_path / "log"
    other = SqliteStore(tmp_path / "other.db")
    await other.open()
    await commit(other, 40)
    await published(other, publication(other, folder))
    await other.close()
    await commit(store, 20)
    successor = Signer("example.org/smsgw-2", Ed25519PrivateKey.from_private_bytes(b"\x11" * 32))
    await published(store, publication(store, folder), successor)
    assert (await require_whole(store, folder)).origin == "example.org/smsgw-2"
    assert not (folder / "tile" / "0" / "000.p" / "40").exists()


async def test_a_folder_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    """It is an alert of the archive `folder`, and over when the folder can be written."""
    folder = tmp_path / "log"
    folder.write_text("in the way")
    clock = [NOW]
    alerts = Alerts(NODE, lambda: clock[0])
    to = publication(store, folder, alerts)
    await commit(store, 3)
    await published(store, to)
    clock[0] += 60_000_000
    alerts.look()
    (alert,) = alerts.active()
    assert (alert.kind.name, alert.labels) == ("audit_not_archived", {"archive": "folder"})
    folder.unlink()
    await commit(store, 3)
    await published(store, to)
    assert alerts.active() == []
    assert (await require_whole(store, folder)).size == 6
