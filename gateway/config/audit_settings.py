"""The settings of the audit: its transparency log."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.carrier_rules import is_loopback
from gateway.config.definitions import setting
from gateway.config.kinds import NAME, Address, Duration, FileName, Flag, HostPort, Integer, Items, Section, Text
from gateway.config.secret_kinds import SecretFile

ORIGIN = Text(
    meaning="a name as example.org/smsgw, without space or plus sign", pattern=r"[^\s+\x00-\x1f]+", low=1, high=255
)


_URL = Text(
    meaning="an address as https://logs.example.org/smsgw",
    pattern=r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?",
    low=8,
    high=1024,
)
_VKEY = Text(
    meaning="a public key as witness.example/w1+12ab34cd+BASE64",
    pattern=r"[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+={0,2}",
    low=16,
    high=512,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSettings:
    """A place where checkpoints are kept, out of reach of who can write the database: one of file, url and syslog."""

    name: str = setting(NAME, doc="How it is called in alerts and metrics.", example="siem")
    file: Path | None = setting(
        FileName(),
        optional=True,
        doc="A file that gets a line of JSON for each checkpoint. It is of use on another disk, or when something "
        "takes it away. The node looks at its end when it starts. It can be moved away while the node runs.",
    )
    url: str | None = setting(
        _URL,
        optional=True,
        doc="An HTTPS endpoint that gets each checkpoint as the body of a POST, and answers 2xx.",
        example="https://logs.example.org/smsgw",
    )
    syslog: Address | None = setting(
        HostPort(),
        optional=True,
        doc="A syslog server over TLS (RFC 5425), as HOST:6514.",
        example="syslog.example.org:6514",
    )
    ca_file: Path | None = setting(
        FileName(), optional=True, doc="Root certificates for the server, PEM. Left out: those of the system."
    )
    certificate_file: Path | None = setting(
        FileName(), optional=True, doc="Our client certificate, PEM, if the server asks for one."
    )
    key_file: Path | None = setting(SecretFile(), optional=True, doc="Its private key, PEM.")
    token_file: Path | None = setting(
        SecretFile(), optional=True, doc="A bearer token for url, alone in its file, which nobody else may read."
    )
    insecure: bool = setting(
        Flag(), default="false", doc="Plain text instead of TLS. Accepted for a server on loopback only."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """A witness, which cosigns a checkpoint when the log has only grown since it last saw it (C2SP tlog-witness)."""

    public_key: str = setting(
        _VKEY,
        doc="Its public key, as its operator gives it: name, key id and key.",
        example="witness.example/w1+12ab34cd+BASE64",
    )
    url: str = setting(
        _URL, doc="Its submission prefix; /add-checkpoint is added.", example="https://witness.example/w1"
    )
    ca_file: Path | None = setting(
        FileName(), optional=True, doc="Root certificates for the server, PEM. Left out: those of the system."
    )
    insecure: bool = setting(
        Flag(), default="false", doc="Plain text instead of TLS. Accepted for a server on loopback only."
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
    scrub_pass_s: float = setting(
        Duration(low="1m", high="365d"),
        default="1d",
        doc="In what time the node that signs goes through the whole log, round and round, beside everything else: "
        "every commit against what was signed.",
    )
    scrub_bytes_per_second: int = setting(
        Integer(low=1 << 16, high=1 << 30, unit="bytes"),
        default="2097152",
        doc="How much of the audit it reads in a second at most, and takes longer than scrub_pass if need be.",
    )
    archives: tuple[ArchiveSettings, ...] = setting(
        Items(Section(ArchiveSettings), high=8),
        doc="Where checkpoints are kept. Without any, whoever has the database and the signing key can rewrite both.",
    )
    witnesses: tuple[WitnessSettings, ...] = setting(
        Items(Section(WitnessSettings), high=16), doc="Who cosigns checkpoints."
    )
    witnesses_required: int = setting(
        Integer(low=0, high=16, unit="witnesses"),
        default="0",
        doc="How many of them have to cosign a checkpoint before it is published in dir. Archives get it without.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """The audit, which is written whatever is set here."""

    reserve_bytes: int = setting(
        Integer(low=1 << 20, high=1 << 40, unit="bytes"),
        default="67108864",
        doc="Room on the disk of store.file that denials may not use: with less of it free they are counted into one "
        "record, while messages are accepted. With PostgreSQL so much is held on the server's disk (docs/audit.md).",
    )
    least_bytes: int = setting(
        Integer(low=1 << 20, high=1 << 40, unit="bytes"),
        default="16777216",
        doc="With less than this free nothing new is accepted (AUDIT_UNAVAILABLE), and the node is not ready; outcomes "
        "of what was accepted are still recorded. With PostgreSQL: so much of reserve_bytes is held for outcomes.",
    )
    keep_s: float | None = setting(
        Duration(low="1d", high="36500d"),
        optional=True,
        doc="For how long records are kept; the log keeps an entry of each commit for good. Needs the section log. "
        "Left out: they are never deleted.",
        example="730d",
    )
    log: AuditLogSettings | None = setting(
        Section(AuditLogSettings, optional=True),
        doc="A log that proves what was recorded, and that nothing of it was changed or left out since. Left out: the "
        "audit is written, and whoever can write the database can change it unseen.",
    )


def audit_findings(audit: AuditSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between these settings."""
    log = audit.log
    if audit.least_bytes > audit.reserve_bytes:
        yield "least_bytes", "is more than reserve_bytes: denials would go on while nothing is accepted"
    if log is None:
        if audit.keep_s is not None:
            yield "keep", "wants the section log: without it nothing would be left of records that are deleted"
        return
    names: set[str] = set()
    for index, archive in enumerate(log.archives):
        where = f"log.archives[{index}]"
        if archive.name in names:
            yield f"{where}.name", f"{archive.name} stands here a second time"
        names.add(archive.name)
        for key, text in _archive(archive):
            yield f"{where}.{key}", text
    for index, witness in enumerate(log.witnesses):
        where = f"log.witnesses[{index}]"
        yield from _url(f"{where}.url", witness.url, insecure=witness.insecure)
    if log.witnesses_required > len(log.witnesses):
        yield "log.witnesses_required", f"is more than there are witnesses: {len(log.witnesses)}"


def _archive(archive: ArchiveSettings) -> Iterator[tuple[str, str]]:
    chosen = [name for name in ("file", "url", "syslog") if getattr(archive, name) is not None]
    if len(chosen) != 1:
        yield "name", f"{archive.name} wants one of file, url and syslog"
        return
    tls = archive.ca_file or archive.certificate_file or archive.key_file
    if (archive.certificate_file is None) != (archive.key_file is None):
        yield "key_file", "wants certificate_file and key_file together, or neither"
    if archive.token_file is not None and archive.url is None:
        yield "token_file", "is for url"
    if archive.file is not None and (tls or archive.insecure):
        yield "file", "has no use for TLS or insecure: remove them"
    if archive.insecure and tls:
        yield "insecure", "turns TLS off, yet there are settings for it; remove one of the two"
    if archive.url is not None:
        yield from _url("url", archive.url, insecure=archive.insecure)
    if archive.syslog is not None and archive.insecure and not is_loopback(archive.syslog.host):
        yield "insecure", f"{archive.syslog.host} is not on loopback: anybody on the way could change checkpoints"


def _url(key: str, url: str, *, insecure: bool) -> Iterator[tuple[str, str]]:
    found = urlsplit(url)
    try:
        port = found.port
    except ValueError:
        yield key, "has a port beyond 65535"
        return
    if port == 0 or not found.hostname:
        yield key, "names no host and port"
    elif (found.scheme == "http") != insecure:
        yield key, "is http:// with insecure: true, or https:// without"
    elif insecure and not is_loopback(found.hostname):
        yield key, f"{found.hostname} is not on loopback: anybody on the way could change checkpoints"
