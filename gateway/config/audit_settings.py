"""The settings of the audit: its transparency log."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kinds import Duration, FileName, Section, Text
from gateway.config.secret_kinds import SecretFile

ORIGIN = Text(
    meaning="a name as example.org/smsgw, without space or plus sign", pattern=r"[^\s+\x00-\x1f]+", low=1, high=255
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLogSettings:
    """The transparency log over the audit."""

    origin: str = setting(
        ORIGIN,
        doc="The name of the log, and of the key that signs it: one for all nodes that share a database, and of no "
        "other log. It never changes; a log that has to begin anew gets another one.",
        example="{TRUST_DOMAIN}/smsgw",
    )
    signing_key_file: Path = setting(
        SecretFile(),
        default="keys/audit-log.key",
        doc="The Ed25519 key (PEM) that signs the log's checkpoints, on every node that may be the one that signs. "
        "Nobody else may read it. Keep a copy: a log cannot go on under another key.",
    )
    dir: Path = setting(
        FileName(in_data_dir=True),
        default="audit-log",
        doc="The folder of checkpoint, tiles and entries, in the form of C2SP tlog-tiles, for any web server to serve. "
        "It holds hashes, times and numbers of records. What is missing in it is written again.",
    )
    checkpoint_interval_s: float = setting(
        Duration(low="200ms", high="1m"),
        default="1s",
        doc="How often a checkpoint is signed while the log grows; the log takes up commits twice as often.",
    )
    checkpoint_renewal_s: float = setting(
        Duration(low="10s", high="1d"),
        default="10m",
        doc="How often the newest checkpoint is published again while the log does not grow.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """The audit, which is written whatever is set here."""

    log: AuditLogSettings | None = setting(
        Section(AuditLogSettings, optional=True),
        doc="A log that proves what was recorded, and that nothing of it was changed or left out since. Left out: the "
        "audit is written, and whoever can write the database can change it unseen.",
    )
