"""A message's life in a log of 307 commits, and its receipt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gateway.audit.codec import frames
from gateway.audit.records import MessagesSending, MessageStored, Record, StateChanged
from gateway.proving.history import Told
from gateway.proving.receipts import receipt_of, tiles_for
from gateway.proving.way import places_of
from gateway.states import State
from gateway.store.contract import AuditCommit
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.cosignatures import Cosigner
from gateway.tlog.notes import parse
from smsgw.client import Message, VerifiedReceipt, verify_receipt
from smsgw.client import convert as client_convert
from smsgw.client.commitments import commitment as client_commitment
from tests.gateway.audit.samples import AT, CALLER, ID, OTHER_ID, decision
from tests.gateway.proving.logs import MemoryLog, private_key

SALT = bytes(range(16))
MESSAGE = Message(to="+4915112345678", sender="ACME", category="OTP", text="Your code is 123456", labels={"team": "a"})
SECOND = 1_000_000


def stored(message_id: bytes = ID) -> MessageStored:
    """Return the record of the message's acceptance."""
    made = client_commitment(MESSAGE, salt=SALT, tenant="acme")
    return MessageStored(AT, message_id, "acme", CALLER, 1, "ACME", "DE", 1, made)


def changed(before: State, state: State, at: int, message_id: bytes = ID) -> StateChanged:
    """Return the record of a change."""
    return StateChanged(at, message_id, "acme", before, state, "carrier-1", "", None, "")


def commits(*batches: Sequence[Record]) -> list[AuditCommit]:
    """Return commits of these records."""
    return [AuditCommit(seq, AT + seq * SECOND, len(batch), frames(batch)) for seq, batch in enumerate(batches, 1)]


LIFE = commits(
    [decision(), stored(), stored(OTHER_ID), decision(), decision()],
    [decision()],
    [MessagesSending(AT + SECOND, "acme", "carrier-1", "any-route", (ID, OTHER_ID))],
    [decision()] * 3,
    [changed(State.SENDING, State.SUBMITTED, AT + 2 * SECOND), changed(State.SENDING, State.SUBMITTED, AT, OTHER_ID)],
    *[[decision()] for _ in range(300)],
    [decision(), changed(State.SUBMITTED, State.DELIVERED, AT + 9 * SECOND)],
    [decision()],
)
WITNESSES = [Cosigner(f"witness-{n}.example.org", private_key(10 + n)) for n in range(3)]
LOG = MemoryLog(witnesses=WITNESSES[:2])
NOTE = LOG.append(LIFE)


def receipt_json(log: MemoryLog, note: bytes, life: list[AuditCommit], message_id: bytes = ID) -> str:
    """Return the receipt of a message, with every record of it."""
    history = [Told(commit, places) for commit in life if (places := tuple(places_of(message_id, commit.records)))]
    checkpoint = parse_text(parse(note).text)
    tiles = {
        tile: log._tiles[tile.level, tile.number][: tile.width * 32] for tile in tiles_for(history, checkpoint.size)
    }
    return client_convert.receipt(receipt_of(message_id, history, checkpoint, note, tiles, SALT))


TEXT = receipt_json(LOG, NOTE, LIFE)
KEYS = [witness.key.vkey for witness in WITNESSES]


def verify(text: str | bytes = TEXT, **options: Any) -> VerifiedReceipt:
    """Verify a receipt by the log's key."""
    return verify_receipt(text, **{"log_key": LOG.vkey, "message": MESSAGE, **options})


DOCUMENT = json.loads(TEXT)
