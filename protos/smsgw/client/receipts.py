"""A receipt of the audit log, verified offline: what became of a message, and which message it was.

    verified = verify_receipt(text, log_key="audit.example.org+1a2b3c4d+AfR...", message=message)

A receipt is the JSON form of smsgw.v1.MessageReceipt. It holds records, the way of each into the log's tree, a signed
checkpoint, and the salt of the message's commitment; its form is in docs/audit.md. Nothing is asked of anybody here:
who has the log's public key, from where it is trusted, needs neither the gateway nor a network.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from smsgw.client.commitments import EPOCH, MICROSECOND, SALT_BYTES, commitment
from smsgw.client.errors import ReceiptInvalid
from smsgw.client.log_proofs import (
    HASH_BYTES,
    LOG_KEY,
    WITNESS_KEY,
    Checkpoint,
    leaf_hash,
    parse_checkpoint,
    parse_key,
    require_log,
    root_of_path,
    witnessed,
)
from smsgw.client.log_records import LogRecord, Value, is_about, read_record
from smsgw.client.messages import Message, State
from smsgw.client.receipt_form import hashes_of, malformed, number_of, objects_of, octets_of, parse, text_of

_MAX_COMMITS = 1_000
_MAX_RECORDS = 1_000
_MAX_COUNT = 1 << 20  # records of a commit
_MAX_NUMBER = (1 << 63) - 1
_ENTRY = struct.Struct(f">BQQI{HASH_BYTES}s")
_ENTRY_VERSION = 1
_LAST_MOMENT = (dt.datetime.max.replace(tzinfo=dt.UTC) - EPOCH) // MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One record about the message.

    Attributes:
        kind: MESSAGE_STORED, STATE_CHANGED ...; docs/audit.md has them all.
        at: when it was.
        committed_at: when it was on the gateway's disk.
        seq: which commit of the log it is in.
        fields: what it says, by the names of docs/audit.md.
    """

    kind: str
    at: dt.datetime
    committed_at: dt.datetime
    seq: int
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """What a receipt proves.

    Attributes:
        message_id: the message.
        tenant: whose it is.
        state: the last that the steps lead to.
        steps: in the order of the log.
        gapless: whether they lead from acceptance to `state` without one that is missing.
        content_shown: whether the message that was given is the one that was accepted.
        origin: the log.
        size: how many commits its checkpoint covers.
        witnesses: who has cosigned the checkpoint, of those that were given, and when.
    """

    message_id: str
    tenant: str
    state: State
    steps: tuple[Step, ...]
    gapless: bool
    content_shown: bool
    origin: str
    size: int
    witnesses: Mapping[str, dt.datetime]


def verify_receipt(
    receipt: str | bytes,
    *,
    log_key: str,
    message: Message | None = None,
    witness_keys: Sequence[str] = (),
    witnesses: int = 0,
) -> VerifiedReceipt:
    """Return what a receipt proves, everything in it being verified.

    Args:
        receipt: its JSON.
        log_key: the log's public key, name+id+base64. Take it from whom you trust, not from the receipt's bearer.
        message: to show that the receipt is of this message: as it was sent, but for the key and the validity.
        witness_keys: the public keys of witnesses.
        witnesses: how many of these must have cosigned the checkpoint.

    Raises ReceiptInvalid, whose `reason` says what is wrong; ValueError for a key that is none.
    """
    log, cosigners = parse_key(log_key, LOG_KEY), [parse_key(key, WITNESS_KEY) for key in witness_keys]
    document = parse(receipt)
    checkpoint = parse_checkpoint(text_of(document, "checkpoint"))
    require_log(checkpoint, log)
    cosigned = witnessed(checkpoint, cosigners)
    if len(cosigned) < witnesses:
        text = f"{len(cosigned)} of the witnesses have cosigned the checkpoint, and {witnesses} are asked for"
        raise ReceiptInvalid(text, reason="WITNESSES")
    message_id = text_of(document, "message_id")
    steps = _steps(document, checkpoint, message_id)
    state, gapless = _way(steps)
    return VerifiedReceipt(
        message_id=message_id,
        tenant=str(steps[0].fields["tenant"]),
        state=state,
        steps=steps,
        gapless=gapless,
        content_shown=message is not None and _require_message(message, octets_of(document, "salt", SALT_BYTES), steps),
        origin=checkpoint.origin,
        size=checkpoint.size,
        witnesses={name: EPOCH + dt.timedelta(seconds=at) for name, at in cosigned},
    )


class _Commit(NamedTuple):
    """One commit of a receipt, as it stands there."""

    seq: int
    at: int
    number: int  # of all its records, here or not
    inclusion: list[bytes]
    records: list[Mapping[str, object]]


def _steps(document: Mapping[str, object], checkpoint: Checkpoint, message_id: str) -> tuple[Step, ...]:
    """Return the records, each of them proven to be in the log and about the message."""
    steps: list[Step] = []
    place = (0, -1)
    for commit in map(_commit, objects_of(document, "commits", _MAX_COMMITS)):
        root = b""
        for entry in commit.records:
            octets, number = octets_of(entry, "record"), number_of(entry, "number", commit.number - 1)
            led = root_of_path(leaf_hash(octets), number, commit.number, hashes_of(entry, "path"))
            if root not in (b"", led) or (commit.seq, number) <= place:
                raise ReceiptInvalid(f"the records of commit {commit.seq} are not of one commit", reason="NOT_PROVEN")
            root, place = led, (commit.seq, number)
            steps.append(_step(read_record(octets), commit, message_id))
        leaf = leaf_hash(_ENTRY.pack(_ENTRY_VERSION, commit.seq, commit.at, commit.number, root))
        if root_of_path(leaf, commit.seq - 1, checkpoint.size, commit.inclusion) != checkpoint.root:
            raise ReceiptInvalid(f"commit {commit.seq} is not in the log that was signed", reason="NOT_PROVEN")
    if not steps or len({step.fields["tenant"] for step in steps}) > 1 or len(steps) > _MAX_RECORDS:
        raise ReceiptInvalid("there is no record, or they are of several tenants", reason="OTHER_MESSAGE")
    return tuple(steps)


def _commit(entry: Mapping[str, object]) -> _Commit:
    seq = number_of(entry, "seq", _MAX_NUMBER)
    records = objects_of(entry, "records", _MAX_RECORDS)
    count = number_of(entry, "record_count", _MAX_COUNT)
    if not seq or not records or not count:
        raise malformed("seq, record_count or records")
    return _Commit(seq, number_of(entry, "committed_at", _MAX_NUMBER), count, hashes_of(entry, "inclusion"), records)


def _step(record: LogRecord, commit: _Commit, message_id: str) -> Step:
    if not is_about(record, message_id):
        raise ReceiptInvalid(f"a record of commit {commit.seq} is about another message", reason="OTHER_MESSAGE")
    at = EPOCH + min(commit.at, _LAST_MOMENT) * MICROSECOND
    return Step(kind=record.kind, at=record.at, committed_at=at, seq=commit.seq, fields=record.fields)


def _way(steps: Sequence[Step]) -> tuple[State, bool]:
    """Return where the records lead, and whether none is missing on the way: each change begins where the one before
    it ended. Records that list several messages (SENDING) may be left out of a receipt."""
    state, gapless = State.UNRECOGNISED, True
    for step in steps:
        if step.kind == "MESSAGE_STORED" or (step.kind == "MESSAGE_ACCEPTED" and not step.fields["replayed"]):
            gapless = gapless and state is State.UNRECOGNISED
            state = State.ACCEPTED
        elif step.kind in ("MESSAGES_SENDING", "MESSAGES_ROUTED"):
            gapless = gapless and state in (State.ACCEPTED, State.UNKNOWN)
            state = State.SENDING
        elif step.kind == "STATE_CHANGED":
            before = State(str(step.fields["before"]))
            left_out = before is State.SENDING and state in (State.ACCEPTED, State.UNKNOWN)
            gapless = gapless and (before is state or left_out)
            state = State(str(step.fields["state"]))
    return state, gapless and state is not State.UNRECOGNISED


def _require_message(message: Message, salt: bytes, steps: Sequence[Step]) -> bool:
    """Return True when the message, with this salt, is the one that the log is committed to. Raises ReceiptInvalid."""
    stored = [step for step in steps if step.kind == "MESSAGE_STORED"]
    if not stored or not salt:
        text = "the receipt does not say which message it was: it was erased, or is from before commitments"
        raise ReceiptInvalid(text, reason="NO_COMMITMENT")
    made = commitment(message, salt=salt, tenant=str(stored[0].fields["tenant"]))
    if any(step.fields["commitment"] != made for step in stored):
        raise ReceiptInvalid("the message that was accepted is another one", reason="OTHER_CONTENT")
    return True
