"""A data folder made of a backup. What waited when it was taken is held back, until an operator lets it go on.

Since the backup the node went on: what it had still to send has mostly been sent, and which of it nobody knows here. So
nothing that is in the backup goes out by itself (docs/adr/0035). Everything is made under other names first, and the
database gets its own last, with the holds in it and on record: what is cut off leaves none that a node could use.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.audit.records import OperatorActed
from gateway.backup import files
from gateway.backup.errors import BackupDamaged, BackupError, BackupRefused
from gateway.backup.manifest import DATABASE, KEYS, Manifest
from gateway.backup.taking import DATABASE_FILE, DENY_LIST
from gateway.ids import made_at
from gateway.sealing.folder_keyring import WRAPPED_KEYS
from gateway.states import Category
from gateway.store.operating import MessageHold, Selection
from gateway.store.sqlite import SqliteStore, inspecting, schema
from gateway.store.sqlite.bulk import fetch
from gateway.store.sqlite.files import NodeLock
from gateway.store.sqlite.snapshot import complaints

BY = "smsgw db restore"
_NEWEST = "SELECT max(id) FROM message"
# The lost host has numbered events that are not here, and callers have cursors of them. Were those numbers given again,
# such a cursor would pass over what got them. So each tenant's newest event moves beyond all of them, and what comes
# follows it: who reads on reads it a second time, and nothing is passed over. At 50,000/s the room is for eight months.
_LEAP = 1 << 40
_LEAVE_ROOM = (
    "UPDATE event SET seq = seq + ?1"
    " WHERE (tenant_no, seq) IN (SELECT tenant_no, max(seq) FROM event GROUP BY tenant_no)"
)
_UNFINISHED = ".restoring"
_ACT = "database restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was made, of what."""

    database: Path
    backup: Manifest
    keys: Manifest | None
    waited: int  # messages that were open when the backup was taken, and are held back now

    @property
    def keys_too_old(self) -> bool:
        """Whether the copy of the keys is older than the backup: then its newest messages may not open."""
        return self.keys is not None and self.keys.taken_at < self.backup.taken_at


def restore(source: Path, keys: Path | None, data_dir: Path, file: str, *, now: int) -> Restored:
    """Make a data folder of the backup in `source`, and of the copy of the wrapped keys in `keys`.

    `file` is the database's name in it; `now`: microseconds since the Unix epoch. Raises BackupRefused when there is a
    database, a folder of keys or a running node already, BackupDamaged, BackupError, StoreUnavailable or StoreCorrupt.
    """
    backup = files.read_manifest(source, DATABASE)
    if DATABASE_FILE not in backup.files:
        raise BackupDamaged(f"{source}: its manifest names no {DATABASE_FILE}")
    copied_keys = None if keys is None else files.read_manifest(keys, KEYS)
    if backup.schema > len(schema.migrations()):
        raise BackupRefused(f"the backup has schema {backup.schema}: restore it by the newer smsgw that took it")
    database = data_dir / file
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = data_dir.stat().st_uid
        if owner != os.geteuid():
            raise BackupRefused(f"{data_dir} is of user {owner}: restore as that user, or the node could not read it")
        lock = NodeLock(database)
        lock.take()
        try:
            _refuse_what_is_there(database, data_dir)
            waited = _make(source, backup, database, now, keys, copied_keys)
        finally:
            lock.free()
    except OSError as error:
        raise BackupError(f"{error.filename or data_dir}: {error.strerror}") from error
    return Restored(database=database, backup=backup, keys=copied_keys, waited=waited)


def _refuse_what_is_there(database: Path, data_dir: Path) -> None:
    """Nothing is overwritten, and no log of another database is left beside this one."""
    taken = [Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]
    for path in (*taken, data_dir / WRAPPED_KEYS, *(data_dir / name for name in DENY_LIST)):
        if path.exists():
            raise BackupRefused(f"{path} is there already, and nothing is overwritten: name a new data folder")


def _make(
    source: Path, backup: Manifest, database: Path, now: int, keys: Path | None, copied_keys: Manifest | None
) -> int:
    """Make everything under other names, then give each its own; how many messages are held back."""
    data_dir = database.parent
    wrapped = data_dir / WRAPPED_KEYS
    lists = [data_dir / name for name in DENY_LIST if name in backup.files]
    made = [*lists, database] if keys is None else [wrapped, *lists, database]
    for path in made:
        _remove(_unfinished(path))  # of a restore that was cut off
    try:
        if keys is not None and copied_keys is not None:
            folder = _unfinished(wrapped)
            folder.mkdir(mode=0o700)
            files.copy_verified(keys, copied_keys.files, {name: folder / name for name in copied_keys.files})
            files.sync(folder)
        wanted = {path.name: _unfinished(path) for path in lists}
        files.copy_verified(source, backup.files, {**wanted, DATABASE_FILE: _unfinished(database)})
        waited = _prepare(source, backup, _unfinished(database), now)
        for path in made:
            _unfinished(path).rename(path)
            files.sync(data_dir)
    finally:
        for path in made:
            _remove(_unfinished(path))
    return waited


def _prepare(source: Path, manifest: Manifest, file: Path, now: int) -> int:
    """Look at the database, bring its schema forward and hold back what waits in it."""
    with inspecting.looking(file) as db:
        old = inspecting.version_of(db) < len(schema.migrations())  # our own rules are those of the newest schema
        found = complaints(db, quick=False) if old else inspecting.problems(db, quick=False)
        newest = None if found else fetch(db, _NEWEST)[0][0]
    if found:
        raise BackupDamaged(f"the database in {source} is not sound: {'; '.join(found)}")
    until = max(now, manifest.taken_at, 0 if newest is None else made_at(bytes(newest)))
    inspecting.change(file, _LEAVE_ROOM, (_LEAP,))
    waited = asyncio.run(_with_store(file, lambda store: _hold_back(store, manifest, now, until)))
    for suffix in ("-wal", "-journal"):
        if Path(f"{file}{suffix}").exists():
            raise BackupError(f"{file} could not be closed: end other programs that use it, and try again")
    files.sync(file)
    return waited


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}{_UNFINISHED}")


def _remove(unfinished: Path) -> None:
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
        return
    for suffix in ("", "-wal", "-shm", "-journal", ".lock"):
        Path(f"{unfinished}{suffix}").unlink(missing_ok=True)


async def _with_store(file: Path, work: Callable[[SqliteStore], Awaitable[int]]) -> int:
    store = SqliteStore(file)
    await store.open()
    try:
        return await work(store)
    finally:
        await store.close()


async def _hold_back(store: SqliteStore, manifest: Manifest, now: int, until: int) -> int:
    """Hold what is in the database, a hold for each category; with it, put the restore on record."""
    before = {hold.selection.name: hold for hold in await store.message_holds()}
    why = f"restored from the backup of {moment(manifest.taken_at)}; what waited then may have been sent since"
    act = OperatorActed(now, manifest.node, "", _ACT, "", "", 0, by_recipient=False, number=0, reason=why)
    for category in Category:
        selection = Selection(category=int(category), accepted_until=until)
        hold = MessageHold(selection, "", now, BY, why)
        there = before.get(selection.name)
        if there is not None:  # an operator's own stays in force: as far, by whom, and for that reason too
            whole = 0 if not there.selection.accepted_until else until
            selection = selection._replace(accepted_until=whole)
            hold = MessageHold(selection, there.shown, there.at, there.by, f"{there.reason}; {why}")
        await store.hold_messages(hold, [act] if category is Category.OTP else ())
    counts = await store.counts()
    return sum(number for name, number in counts.items() if name.startswith("queue.") and name != "queue.AWAITING")


def moment(at: int) -> str:
    """Return a time for people."""
    return dt.datetime.fromtimestamp(at // 1_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
