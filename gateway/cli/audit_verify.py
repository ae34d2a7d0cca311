"""`smsgw audit verify`: of a receipt, or of the whole log. Nothing is believed that is not signed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from rich.progress import Progress

from gateway.cli.audit_sources import Bounds, opened
from gateway.cli.audit_verdicts import show_receipt, show_whole
from gateway.cli.connection import directory_option
from gateway.cli.manners import Failure, Misused, console, json_option
from gateway.config.audit_settings import AuditLogSettings
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.proving.archives import Found, Trusted, all_marks
from gateway.proving.folder import LogFolder, NoLog
from gateway.proving.whole import WholeLog
from gateway.sequencing.archive_forms import MAX_LINE
from gateway.tlog.errors import MalformedLog
from gateway.tlog.notes import COSIGNATURE, ED25519, VerifyingKey, parse_vkey
from gateway.tlog.tiles import CHECKPOINT_PATH
from smsgw.client import Message, ReceiptInvalid, VerifiedReceipt, verify_receipt

_MAX_FILE = 16 << 20
_TELL_EVERY = 500  # commits


@click.command(short_help="Verify a receipt, or the whole log and the audit.")
@click.argument("receipt", required=False, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--key", help="The log's public key, or the file that has it; left out: that of this site.")
@click.option("--witness", "witnesses", multiple=True, help="A witness's public key, or its file; may be repeated.")
@click.option("--witnesses", "quorum", type=click.IntRange(0, 64), default=0, help="How many of them are wanted.")
@click.option(
    "--message",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Show that the receipt is of this message: a file of JSON with to, sender, category and text, and with "
    "client_reference and labels where it had them.",
)
@click.option("--database", type=click.Path(path_type=Path, dir_okay=False), help="The database file, or a copy of it.")
@click.option("--log", "folder", type=click.Path(path_type=Path, file_okay=False), help="The folder of the log.")
@click.option("--archive", "archives", multiple=True, type=click.Path(path_type=Path, dir_okay=False),
              help="A file of checkpoints that were kept elsewhere; may be repeated.")  # fmt: skip
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The node's smsgw.yaml; left out: DIR/smsgw.yaml."
)
@directory_option
@json_option
def verify(
    receipt: Path | None,
    key: str | None,
    witnesses: tuple[str, ...],
    quorum: int,
    message: Path | None,
    database: Path | None,
    folder: Path | None,
    archives: tuple[Path, ...],
    config: Path | None,
    directory: Path,
    as_json: bool,
) -> None:
    """Verify a RECEIPT offline, by the log's public key alone. Without one: every commit of the audit against the log,
    and the log against every checkpoint that was kept: what was edited, moved, left out or cut off is named.

    It ends with 0 when everything is as it was signed, with 1 when it is not, or cannot be shown, and with 2 when the
    command line, a key or the configuration is wrong.

    \b
    Examples:
      smsgw audit verify receipt.json --key audit-log.vkey
      smsgw audit verify
      smsgw audit verify --archive /mnt/elsewhere/checkpoints --witness witness.vkey --witnesses 1
      smsgw audit verify --database backup/smsgw.db --log backup/audit-log --key audit-log.vkey --json
    """
    settings = None if receipt or (key and database) else _settings(config or directory / "smsgw.yaml")
    log = settings.audit.log if settings is not None else None
    trusted = _trusted(key, witnesses, quorum, log)
    if receipt is not None:
        show_receipt(_verified(receipt, trusted, message), as_json)
        return
    where = folder or (log.dir if log else None)
    log_folder = LogFolder(where) if where else None
    configured = [one.file for one in log.archives if one.file is not None and one.file.exists()] if log else []
    with opened(settings, database) as audit:
        bounds = audit.bounds()
        found = _checkpoints(log_folder, [*configured, *archives], trusted)
        whole = WholeLog(found.marks, log_folder or NoLog(), pruned=bounds.pruned, hints=audit.hints)
        for finding in found.findings:
            whole.verified.add(finding)
        with _progress(bounds, hidden=as_json) as told:
            for number, commit in enumerate(audit.commits()):
                whole.take(commit)
                if not number % _TELL_EVERY:
                    told.update(told.task_ids[0], completed=commit.seq)
        show_whole(whole.finish(), bounds, found, as_json)


def _settings(config: Path) -> Settings:
    try:
        return load(config)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error


def _trusted(key: str | None, witnesses: Sequence[str], quorum: int, log: AuditLogSettings | None) -> Trusted:
    if key is None:
        if log is None:
            raise Misused("say by --key whose log it is: its public key, or the file that has it", reason="NO_KEY")
        key = str(log.signing_key_file.with_suffix(".vkey"))
    configured = [one.public_key for one in log.witnesses] if log else []
    cosigners = tuple(_key(witness, COSIGNATURE) for witness in witnesses or configured)
    if quorum > len(cosigners):
        raise Misused(f"{quorum} witnesses are wanted, and {len(cosigners)} known", reason="NO_KEY")
    return Trusted(log=_key(key, ED25519), witnesses=cosigners, quorum=quorum)


def _key(text: str, kind: int) -> VerifyingKey:
    """Return a key by its text, or by the name of its file. Raises Misused."""
    try:
        if "+" not in text:
            text = _read(Path(text)).decode("ascii", "replace").strip()
        found = parse_vkey(text)
    except MalformedLog as error:
        raise Misused(f"{text}: {error}", reason="NO_KEY") from error
    if found.kind != kind:
        raise Misused(f"{found.name} is the key of a {'log' if kind != ED25519 else 'witness'}", reason="NO_KEY")
    return found


def _read(path: Path) -> bytes:
    """Return what is in a file, or comes from standard input. Raises Misused."""
    try:
        with click.open_file(str(path), "rb") as stream:
            octets: bytes = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise Misused(f"{path}: {error.strerror}", reason="UNREADABLE") from error
    if len(octets) > _MAX_FILE:
        raise Misused(f"{path} has more than {_MAX_FILE} octets", reason="UNREADABLE")
    return octets


def _verified(receipt: Path, trusted: Trusted, message: Path | None) -> VerifiedReceipt:
    try:
        return verify_receipt(
            _read(receipt),
            log_key=trusted.log.vkey,
            message=None if message is None else _message(message),
            witness_keys=[witness.vkey for witness in trusted.witnesses],
            witnesses=trusted.quorum,
        )
    except ReceiptInvalid as error:
        raise Failure(f"{receipt}: {error}", reason=error.reason) from error


def _message(path: Path) -> Message:
    try:
        document = json.loads(_read(path))
        return Message(**document)
    except (ValueError, TypeError) as error:
        raise Misused(f"{path} is no message: {error}", reason="NO_MESSAGE") from error


def _checkpoints(folder: LogFolder | None, archives: Sequence[Path], trusted: Trusted) -> Found:
    """Return the checkpoints of the log's folder and of the archives. Raises Failure when there is none."""
    with ExitStack() as stack:
        files: list[tuple[Iterable[bytes], str, bool]] = []
        if folder is not None and folder.note:
            files.append((folder.note.splitlines(keepends=True), str(folder.folder / CHECKPOINT_PATH), True))
        files += [(stack.enter_context(_opened(path)), str(path), False) for path in archives]
        found = all_marks(files, trusted)
    if not found.marks and not found.findings:
        raise Failure("there is no checkpoint to verify by: name a folder or an archive", reason="NO_CHECKPOINT")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[bytes]]:
    try:
        with path.open("rb") as stream:
            yield iter(lambda: stream.readline(MAX_LINE + 1), b"")
    except OSError as error:
        raise Misused(f"{path}: {error.strerror}", reason="UNREADABLE") from error


@contextmanager
def _progress(bounds: Bounds, *, hidden: bool) -> Iterator[Progress]:
    """Show how far it is, on a terminal only."""
    out = console(stderr=True)
    with Progress(console=out, transient=True, disable=hidden or not out.is_terminal) as progress:
        progress.add_task("commits", total=bounds.newest, completed=bounds.before_oldest)
        yield progress
