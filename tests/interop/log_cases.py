"""Cases for judges of the log: whole logs and receipts, as they are, and with anything in them altered."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.audit.codec import split
from gateway.store.contract import AuditCommit
from tests.client.receipt_samples import DOCUMENT, LIFE
from tests.client.receipt_samples import LOG as WITNESSED
from tests.client.test_receipts_tampered import altered, leaves, put
from tests.gateway.proving.logs import MemoryLog


def encoded(octets: bytes) -> str:
    """Return octets as JSON has them."""
    return base64.b64encode(octets).decode()


def as_commits(commits: Sequence[AuditCommit]) -> list[dict[str, Any]]:
    """Return the audit as the judge reads it."""
    return [
        {"Seq": commit.seq, "At": commit.at, "Records": list(map(encoded, split(commit.records)))} for commit in commits
    ]


def case_of(
    key: str, files: Mapping[str, bytes], checkpoints: Sequence[bytes], commits: Sequence[AuditCommit]
) -> dict[str, Any]:
    """Return a whole log as a case."""
    return {
        "Key": key,
        "Files": {path: encoded(octets) for path, octets in files.items()},
        "Checkpoints": list(map(encoded, checkpoints)),
        "Commits": as_commits(commits),
    }


def grown(sizes: Sequence[int], commits: Sequence[AuditCommit] = LIFE) -> MemoryLog:
    """Return a log with a checkpoint at each of these sizes."""
    log, done = MemoryLog(), 0
    for size in sizes:
        log.append(commits[done:size])
        done = size
    return log


LOG = grown([1, 2, 17, 255, 256, 270])
FILES = LOG.files()
COMMITS = LIFE[:270]


def plain() -> dict[str, Any]:
    """Return the log as it is."""
    return case_of(LOG.vkey, FILES, LOG.notes, COMMITS)


def altered_logs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield logs in which something is not as it was."""
    for path, octets in FILES.items():
        for bit in range(0, len(octets) * 8, max(1, len(octets) // 40) * 8 + 1):
            flipped = bytearray(octets)
            flipped[bit // 8] ^= 1 << bit % 8
            yield f"{path} bit {bit}", case_of(LOG.vkey, {**FILES, path: bytes(flipped)}, LOG.notes, COMMITS)
        yield f"{path} cut", case_of(LOG.vkey, {**FILES, path: octets[:-1]}, LOG.notes, COMMITS)
        yield f"{path} longer", case_of(LOG.vkey, {**FILES, path: octets + b"\0"}, LOG.notes, COMMITS)
        left = {other: each for other, each in FILES.items() if other != path}
        yield f"{path} missing", case_of(LOG.vkey, left, LOG.notes, COMMITS)
    hashes, entries = FILES["tile/0/000"], FILES["tile/entries/000"]
    yield "hashes in another order", _with("tile/0/000", hashes[32:64] + hashes[:32] + hashes[64:])
    yield "entries in another order", _with("tile/entries/000", entries[55:110] + entries[:55] + entries[110:])
    yield "a tile of another place", _with("tile/0/000", FILES["tile/0/001.p/14"] * 19)
    yield from altered_audits()
    yield from altered_history()


def _with(path: str, octets: bytes) -> dict[str, Any]:
    return case_of(LOG.vkey, {**FILES, path: octets[: len(FILES[path])]}, LOG.notes, COMMITS)


def altered_audits() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield logs whose audit is not the one that they were made of."""
    for index in (0, 4, 100, 269):
        commit = COMMITS[index]
        for at in range(2, len(commit.records), 11):
            other = bytearray(commit.records)
            other[at] ^= 1
            try:
                list(split(bytes(other)))
            except Exception:  # noqa: S112 -- a length: what is left is no commit, and no case
                continue
            yield f"octet {at} of commit {index + 1}", _audit(index, commit._replace(records=bytes(other)))
        yield f"the time of commit {index + 1}", _audit(index, commit._replace(at=commit.at + 1))
        records = list(split(commit.records))
        framed = [len(record).to_bytes(2, "big") + record for record in records]
        yield f"a record more in {index + 1}", _audit(index, commit._replace(records=b"".join([*framed, framed[0]])))
        if len(framed) > 1 and framed[0] != framed[1]:
            swapped = b"".join([framed[1], framed[0], *framed[2:]])
            yield f"records of {index + 1} in another order", _audit(index, commit._replace(records=swapped))
    yield "commits in another order", case_of(LOG.vkey, FILES, LOG.notes, [COMMITS[1], COMMITS[0], *COMMITS[2:]])
    yield "a commit left out", case_of(LOG.vkey, FILES, LOG.notes, COMMITS[:9] + COMMITS[10:])
    yield "the end left out", case_of(LOG.vkey, FILES, LOG.notes, COMMITS[:-1])


def _audit(index: int, commit: AuditCommit) -> dict[str, Any]:
    return case_of(LOG.vkey, FILES, LOG.notes, [*COMMITS[:index], commit, *COMMITS[index + 1 :]])


def altered_history() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield logs that are not what they were, and keys that are not theirs."""
    edited = LIFE[20]._replace(at=LIFE[20].at + 1)
    fork = grown([1, 2, 17, 255, 256, 270], [*LIFE[:20], edited, *LIFE[21:]])
    forked = [*COMMITS[:20], edited, *COMMITS[21:]]
    yield "a fork", case_of(LOG.vkey, fork.files(), LOG.notes, forked)
    yield "one checkpoint of a fork", case_of(LOG.vkey, FILES, [*LOG.notes[:4], fork.notes[4]], COMMITS)
    shorter = grown([1, 2, 17, 255, 256])
    yield "a log that was cut", case_of(LOG.vkey, shorter.files(), LOG.notes, COMMITS[:256])
    yield "another key", case_of(MemoryLog(key=2).vkey, FILES, LOG.notes, COMMITS)
    yield "another name", case_of(MemoryLog(origin="other.example.org").vkey, FILES, LOG.notes, COMMITS)
    forged = MemoryLog(key=2)
    forged.append(COMMITS)
    yield "signed by another key", case_of(LOG.vkey, forged.files(), [], COMMITS)
    checkpoint = FILES["checkpoint"].replace(b"\n270\n", b"\n269\n")
    yield "another size", case_of(LOG.vkey, {**FILES, "checkpoint": checkpoint}, [], COMMITS[:269])


def receipt_case(document: Any, key: str = WITNESSED.vkey) -> dict[str, Any]:
    """Return a receipt as a case."""
    return {"Key": key, "Receipt": document}


def same(other: object, value: object) -> bool:
    """Say whether two values are one: a number may be written with zeros before it."""
    return other == value or (isinstance(other, str) and other.isdigit() and str(int(other)) == value)


def altered_receipts() -> list[dict[str, Any]]:
    """Return receipts in which something that is proven is not as it was, and one with another key."""
    cases: list[dict[str, Any]] = []
    for part in ("commits", "checkpoint"):
        for path, value in leaves(DOCUMENT[part], (part,)):
            if path == ("commits",) or path[-1] == "records":
                continue  # what is left of whole records and commits is proven still
            others = [other for other in altered(path, value) if not same(other, value)]
            cases += [receipt_case(put(DOCUMENT, path, other)) for other in others]
    return [*cases, receipt_case(DOCUMENT, MemoryLog(key=2).vkey)]
