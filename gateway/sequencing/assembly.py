"""The log of a node, built from its configuration: nothing is opened here but key and tokens."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.audit.journal import Journal
from gateway.audit.records import OperatorActed
from gateway.config.audit_settings import ArchiveSettings, AuditLogSettings, WitnessSettings
from gateway.config.schema import Settings
from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.sequencing.archive_file import FileArchive, last_lines
from gateway.sequencing.archive_forms import note_in, origin_in
from gateway.sequencing.archive_remote import HttpsArchive, SyslogArchive
from gateway.sequencing.archiving import Archive, Delivery
from gateway.sequencing.consistency import Signed, check_log
from gateway.sequencing.errors import LogBroken, LogKeyError, LogNotWritten
from gateway.sequencing.files import LogFiles
from gateway.sequencing.http_post import Resource
from gateway.sequencing.keys import read_signer
from gateway.sequencing.lines_out import Place, TlsFiles
from gateway.sequencing.notary import Notary
from gateway.sequencing.pruning import Pruner
from gateway.sequencing.publishing import Publication
from gateway.sequencing.scrubbing import Scrub, ScrubPace
from gateway.sequencing.sequencer import Pace, Progress, Sequencer
from gateway.sequencing.witnesses import Witness, WitnessedStore, Witnesses
from gateway.store.contract import Store
from gateway.tlog.errors import MalformedLog
from gateway.tlog.notes import COSIGNATURE, VerifyingKey, parse_vkey
from gateway.tlog.tiles import CHECKPOINT_PATH
from visibility.alerts import AlertSink

log = logging.getLogger(__name__)

_LEASE_S = 10.0
# The file of the embedded engine has one node, which nobody takes the lease from: it is kept by few writes.
_LONG_LEASE_S = 3600.0
_ONLY_NODE = "the only node"
_MAX_TOKEN = 4096
_PRUNED = "audit records deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Working:
    store: Store
    notary: Notary
    files: LogFiles
    archives: tuple[Path, ...]  # those that are files
    sequencer: Sequencer
    publication: Publication
    witnesses: Witnesses
    scrub: Scrub


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """What of the log a node starts and ends; without a log, nothing."""

    working: _Working | None = None

    @property
    def progress(self) -> Progress | None:
        """How far it is; None without a log."""
        return None if self.working is None else self.working.sequencer.progress

    def snapshot(self) -> dict[str, object]:
        """Return how it stands, for `smsgw status`; nothing without a log."""
        progress = self.progress
        if progress is None:
            return {}
        found = asdict(progress)
        scrub, failures = found.pop("scrub"), found.pop("failures")
        return {
            **found,
            "failures": sum(failures.values()),
            **{f"scrub_{name}": value for name, value in scrub.items()},
        }

    async def check(self) -> None:
        """Hold audit, log and signed checkpoints against each other, before the node does anything. Raises LogBroken
        with what does not agree, and LogNotWritten for a file that cannot be read."""
        if self.working is None:
            return
        working = self.working
        signed = await asyncio.to_thread(signed_here, working.files, working.archives, working.notary.origin)
        checked = await check_log(working.store, working.notary, signed)
        await working.witnesses.require_agreement(working.notary.origin)
        log.info("audit_log_checked", extra=asdict(checked))

    async def run(self) -> None:
        """Take up what is committed, and publish, until cancelled."""
        if self.working is not None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.working.publication.run())
                tasks.create_task(self.working.sequencer.run())
                tasks.create_task(self.working.scrub.run())

    async def finish(self) -> None:
        """Take up and publish the rest: the last thing before the store closes."""
        if self.working is not None:
            await self.working.sequencer.finish()
            await self.working.publication.finish()


def signed_here(files: LogFiles, archives: Sequence[Path], origin: str) -> list[Signed]:
    """Return the checkpoints that are on this machine beside the database. Raises LogNotWritten or LogBroken."""
    octets = files.read_checkpoint()
    found = [] if octets is None else [Signed(octets, f"{files.folder / CHECKPOINT_PATH}")]
    for path in archives:
        try:
            lines = last_lines(path)
            own = [line for line in lines if origin_in(line) == origin]
            found += [Signed(note_in(line), str(path)) for line in own[-1:]]
        except OSError as error:
            raise LogNotWritten(f"{path}: {error.strerror}") from error
        except MalformedLog as error:
            raise LogBroken(f"{path} was changed: {error}") from error
    return found


def _pruner(settings: Settings, store: Store, journal: Journal, now: Callable[[], int]) -> Pruner | None:
    """Return what deletes old records, each step of it on record; None where they are kept for good."""
    keep_s = settings.audit.keep_s
    if keep_s is None:
        return None

    def tell(first: int, last: int) -> None:
        why = f"commits {first} to {last}, older than {keep_s / 86400:.0f} days; their entries stay in the log"
        node, number = settings.node.name, last - first + 1
        journal.note(OperatorActed(now(), node, "", _PRUNED, "", "", 0, by_recipient=False, number=number, reason=why))

    return Pruner(store, round(keep_s * 1_000_000), now, tell)


def build_audit_log(
    settings: Settings, store: Store, journal: Journal, alerts: AlertSink, now: Callable[[], int]
) -> AuditLog:
    """Return the node's part in the log. Raises LogKeyError for a key or a token."""
    chosen = settings.audit.log
    if chosen is None:
        return AuditLog()
    notary = Notary(read_signer(chosen.signing_key_file, chosen.origin))
    embedded, progress = settings.store.postgres is None, Progress()
    files = LogFiles(chosen.dir)
    witnesses = witnesses_of(chosen, store, progress.failures)
    publication = Publication(
        store,
        files,
        progress.failures,
        witnesses=witnesses,
        deliveries=[
            Delivery(each.name, _archive(each, settings.node.name), progress.failures, alerts=alerts)
            for each in chosen.archives
        ],
        now=now,
        alerts=alerts,
    )
    sequencer = Sequencer(
        store,
        notary,
        publication,
        holder=_ONLY_NODE if embedded else settings.node.name,
        pace=_pace(chosen, embedded=embedded),
        progress=progress,
        now=now,
        pruner=_pruner(settings, store, journal, now),
        alerts=alerts,
    )
    publication.keep, witnesses.contradicted = sequencer.keep_cosigned, sequencer.stop
    return AuditLog(
        working=_Working(
            store=store,
            notary=notary,
            files=files,
            archives=tuple(each.file for each in chosen.archives if each.file is not None),
            sequencer=sequencer,
            publication=publication,
            witnesses=witnesses,
            scrub=Scrub(
                store,
                notary,
                pace=ScrubPace(pass_s=chosen.scrub_pass_s, bytes_per_s=chosen.scrub_bytes_per_second),
                progress=progress.scrub,
                signed=lambda: progress.signed_here,
                now=now,
                alerts=alerts,
            ),
        )
    )


def witnesses_of(chosen: AuditLogSettings, store: WitnessedStore, failures: Counter[str]) -> Witnesses:
    """Return those that are configured. Raises LogKeyError."""
    return Witnesses(
        store=store,
        all=[_witness(each) for each in chosen.witnesses],
        required=chosen.witnesses_required,
        failures=failures,
    )


def witness_keys(chosen: AuditLogSettings) -> tuple[VerifyingKey, ...]:
    """Return what the witnesses' cosignatures are verified by. Raises LogKeyError."""
    return tuple(_witness_key(each) for each in chosen.witnesses)


def _pace(chosen: AuditLogSettings, *, embedded: bool) -> Pace:
    return Pace(
        checkpoint_s=chosen.checkpoint_interval_s,
        renewal_s=chosen.checkpoint_renewal_s,
        lease_s=_LONG_LEASE_S if embedded else _LEASE_S,
    )


def _archive(each: ArchiveSettings, node: str) -> Archive:
    """Return an archive; that it is one of the three is a rule of the configuration."""
    if each.file is not None:
        return FileArchive(each.file)
    tls = None if each.insecure else TlsFiles(
        ca_file=each.ca_file, certificate_file=each.certificate_file, key_file=each.key_file
    )  # fmt: skip
    if each.url is not None:
        return HttpsArchive(_resource(each.url, tls, _token(each.token_file)))
    if each.syslog is None:
        raise ValueError(f"the archive {each.name} is nowhere")
    return SyslogArchive(Place(host=each.syslog.host, port=each.syslog.port, tls=tls), node)


def _witness_key(each: WitnessSettings) -> VerifyingKey:
    try:
        key = parse_vkey(each.public_key)
    except MalformedLog as error:
        raise LogKeyError(f"audit.log.witnesses: {each.public_key}: {error}") from error
    if key.kind != COSIGNATURE:
        raise LogKeyError(f"audit.log.witnesses: {key.name} is no key that cosigns (C2SP tlog-cosignature)")
    return key


def _witness(each: WitnessSettings) -> Witness:
    key = _witness_key(each)
    tls = None if each.insecure else TlsFiles(ca_file=each.ca_file)
    return Witness(key=key, resource=_resource(each.url, tls, ""))


def _resource(url: str, tls: TlsFiles | None, token: str) -> Resource:
    found = urlsplit(url)
    port = found.port or (443 if tls is not None else 80)
    place = Place(host=found.hostname or "", port=port, tls=tls)
    return Resource(place=place, authority=found.netloc, path=found.path, token=token)


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        token = read_secret_file(file, max_bytes=_MAX_TOKEN).strip().decode("ascii")
    except (SecretFileRefused, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, SecretFileRefused) else f"{file} holds no token"
        raise LogKeyError(f"the token of an archive: {why}") from None
    if not token or not token.isprintable() or " " in token:
        raise LogKeyError(f"{file} holds no token: one line of characters that can be printed")
    return token
