"""The log as PyPI's `aics-tlog` reads it: a case of JSON a line, answered by "accepted", or by what it refuses.

The cases are those of tests/interop/log_cases.py. It needs Python 3.12, and knows nothing of the gateway.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from typing import Any

import aics_tlog as tlog
from aics_tlog.checkpoint import checkpoint_from_note
from aics_tlog.hashing import leaf_hash, node_hash

ENTRY = struct.Struct(">BQQI32s")
WIDTH = 256


class Refused(Exception):
    """What is wrong."""


def octets(text: str) -> bytes:
    """Return what base64 says."""
    return base64.b64decode(text, validate=True)


def opened(note: bytes, case: dict[str, Any]) -> tlog.Checkpoint:
    """Return a checkpoint that the log has signed, and the witnesses of the case."""
    key = tlog.parse_vkey(case["Key"])
    checkpoint, parsed = checkpoint_from_note(note)
    witnesses = [tlog.parse_vkey(witness) for witness in case.get("Witnesses", ())]
    verified = tlog.verify_checkpoint(parsed, key, witnesses, len(witnesses), expected_origin=key.name)
    if not verified.ok:
        raise Refused(verified.error)
    return checkpoint


def judge_log(case: dict[str, Any]) -> None:
    """Verify every tile, entry, older checkpoint and commit."""
    files = {path: octets(text) for path, text in case["Files"].items()}
    checkpoint = opened(files.pop("checkpoint"), case)
    size, root = checkpoint.size, checkpoint.root
    stored = tlog.MemoryTileReader(files)
    tlog.audit_tiles(stored, size, root)
    reader = tlog.VerifiedTileReader(stored, size, root)
    entries = [reader.entry(index) for index in range(size)]
    for index in {0, size // 2, size - 1}:
        proof = tlog.inclusion_proof_from_tiles(reader, index, size)
        if not tlog.verify_leaf_inclusion(entries[index], index, size, proof, root):
            raise Refused(f"entry {index} is not in the log")
    for note in map(octets, case["Checkpoints"]):
        older = opened(note, case)
        if older.size > size:
            raise Refused(f"there was a checkpoint of {older.size}")
        proof = tlog.consistency_proof_from_tiles(reader, older.size, size)
        if not tlog.verify_consistency(older.size, size, older.root, root, proof):
            raise Refused(f"the checkpoint of {older.size} is of another history")
    commits = [entry_of(commit) for commit in case["Commits"]]
    if commits != entries:
        raise Refused("the audit is not what the log has of it")


def entry_of(commit: dict[str, Any]) -> bytes:
    """Return the entry of a commit."""
    records = list(map(octets, commit["Records"]))
    return ENTRY.pack(1, commit["Seq"], commit["At"], len(records), tlog.MerkleTree(records).root())


def judge_receipt(case: dict[str, Any]) -> None:
    """Verify every record of a receipt."""
    receipt = case["Receipt"]
    checkpoint = opened(receipt["checkpoint"].encode(), case)
    if receipt["format"] != "smsgw-receipt-1" or not receipt["commits"]:
        raise Refused("no receipt")
    for commit in receipt["commits"]:
        number, at, count = number_of(commit["seq"]), number_of(commit["committed_at"]), commit["record_count"]
        root = b""
        for record in commit["records"]:
            leaf, path = leaf_hash(octets(record["record"])), list(map(octets, record.get("path", ())))
            index = record.get("number", 0)
            root = root or root_of(leaf, index, count, path)
            if not tlog.verify_inclusion(leaf, index, count, path, root):
                raise Refused(f"a record is not in commit {number}")
        leaf = leaf_hash(ENTRY.pack(1, number, at, count, root))
        inclusion = list(map(octets, commit.get("inclusion", ())))
        if not tlog.verify_inclusion(leaf, number - 1, checkpoint.size, inclusion, checkpoint.root):
            raise Refused(f"commit {number} is not in the log")


def number_of(text: object) -> int:
    """Return a number of 64 bits: protobuf's JSON has it as text."""
    if not isinstance(text, str):
        raise Refused("a number is no text")
    return int(text)


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return where a path leads: the package only says whether it leads to a root that is known."""
    right = []
    while size > 1:
        half = 1 << (size - 1).bit_length() - 1
        right.append(index >= half)
        index, size = (index - half, size - half) if index >= half else (index, half)
    if len(right) != len(path):
        raise Refused("a path of another length")
    for is_right, beside in zip(reversed(right), path, strict=True):
        leaf = node_hash(beside, leaf) if is_right else node_hash(leaf, beside)
    return leaf


def verdict(line: str) -> str:
    """Return what is to be said of a case."""
    case = json.loads(line)
    try:
        (judge_receipt if "Receipt" in case else judge_log)(case)
    except (Refused, ValueError, KeyError, TypeError, AttributeError, OSError, struct.error) as error:
        return f"refused: {type(error).__name__}: {error}".replace("\n", " ")
    return "accepted"


for one in sys.stdin:
    print(verdict(one), flush=True)
