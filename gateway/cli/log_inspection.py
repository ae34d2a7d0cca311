"""Looks at the log over the audit: does anybody know more of it than the database has? A start refuses then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import key_assembly
from gateway.cli.finding import Finding
from gateway.config.audit_settings import AuditLogSettings
from gateway.config.schema import Settings
from gateway.errors import GatewayError
from gateway.sequencing.assembly import signed_here, witnesses_of
from gateway.sequencing.consistency import WAS_IT_PUT_BACK
from gateway.sequencing.errors import LogBroken, LogKeyError
from gateway.sequencing.files import LogFiles
from gateway.sequencing.keys import read_signer
from gateway.sequencing.notary import Notary
from gateway.store.sequencing import LogHead, LogTile
from gateway.store.sqlite import inspecting
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import parse

_SUBJECT = "audit log"
_ADVICE = "docs/audit.md, A log that has ended: give audit.log.origin another name when a backup was put back"
_HEAD = "SELECT epoch, holder, size, checkpoint, pruned FROM log_head"
_TABLE = "SELECT 1 FROM sqlite_schema WHERE name = 'log_head'"
_NONE = LogHead(0, "", 0, b"", 0)


@dataclass(frozen=True, slots=True)
class _Known:
    """The log as it stands in the database, for witnesses that are asked about it."""

    head: LogHead

    async def log_head(self) -> LogHead:
        """Return it."""
        return self.head

    async def log_tiles(self, places: Sequence[tuple[int, int]]) -> list[LogTile]:
        """Return none: nothing is proven here."""
        del places
        return []


def look_at_log(settings: Settings) -> Iterator[Finding]:
    """Yield what there is to say of it: nothing where none is kept. The witnesses are asked, and nothing is changed."""
    chosen = settings.audit.log
    if chosen is None:
        return
    try:
        head = head_of(settings)
        signed = _compare(chosen, head)
    except (GatewayError, LogKeyError) as error:
        yield Finding(_SUBJECT, "", str(error), _ADVICE if isinstance(error, LogBroken) else "")
        return
    yield Finding(_SUBJECT, f"{chosen.origin}, {head.size} commits, {signed} of them signed")


def head_of(settings: Settings) -> LogHead:
    """Return the log as the database has it; an empty one where there is none yet. Raises StoreUnavailable or
    StoreCorrupt."""
    if settings.store.postgres is None:
        return head_in(settings.store.file)
    from gateway.store.postgres.inspecting import log_head

    row = log_head(key_assembly.database(settings.store.postgres))
    return _NONE if row is None else LogHead(*row)


def head_in(file: Path) -> LogHead:
    """Return the log in a database file. Raises StoreUnavailable or StoreCorrupt."""
    if not file.exists():
        return _NONE
    with inspecting.looking(file) as db:
        fetch = inspecting.fetching(db)
        return LogHead(*fetch(_HEAD)[0]) if fetch(_TABLE) else _NONE


def _compare(chosen: AuditLogSettings, head: LogHead) -> int:
    """Return how many commits are signed. Raises LogBroken, LogNotWritten or LogKeyError."""
    notary = Notary(read_signer(chosen.signing_key_file, chosen.origin))
    archives = [each.file for each in chosen.archives if each.file is not None]
    elsewhere = signed_here(LogFiles(chosen.dir), archives, chosen.origin)
    for octets, where in ((head.checkpoint, "the database"), *elsewhere):
        if octets and not _of_another(octets, chosen.origin):
            notary.remember(octets, where)
    for where, checkpoint in notary.seen.items():
        if checkpoint.size > head.size:
            text = f"{where} has a checkpoint of {checkpoint.size} commits, and the log in the database has {head.size}"
            raise LogBroken(f"{text}. {WAS_IT_PUT_BACK}")
    asyncio.run(witnesses_of(chosen, _Known(head), Counter()).require_agreement(chosen.origin))
    return 0 if notary.last is None else notary.last.size


def _of_another(octets: bytes, origin: str) -> bool:
    """Say whether it is a checkpoint of a log of another name, which says nothing of this one."""
    try:
        return parse_text(parse(octets).text).origin != origin
    except TlogError:
        return False  # what it is instead, the notary says
