"""What the intake gives the store beside the message: its commitment."""

from __future__ import annotations

from pathlib import Path

from gateway.audit.records import MessageAccepted, MessageStored
from gateway.commitments import commitment
from gateway.records import SALT_BYTES, decode_envelope, encode_envelope
from smsgw.v1.message_pb2 import Content
from tests.gateway.audit.agreement import records_of
from tests.gateway.pipeline.rig import running
from tests.gateway.sealing.boxes import memory_box


async def test_the_audit_has_a_commitment(tmp_path: Path) -> None:
    """With the salt in its own sealed envelope, each message gives the commitment that the audit has of it; equal
    messages have others; a replay has none, and salts do not keep an idempotency key from being recognised."""
    box = memory_box()
    async with running(tmp_path, box=box) as rig:
        answers = [*await rig.send(3), *await rig.send(key="k"), *await rig.send(key="k")]
        records = await records_of(rig.store)
        stored = [record for record in records if isinstance(record, MessageStored)]
        assert [record.message_id for record in stored] == [answer.id for answer in answers[:4]]
        assert [record.message_id for record in records if isinstance(record, MessageAccepted)] == [answers[4].id]
        assert answers[4].id == answers[3].id
        envelope, content = encode_envelope("+4915112345678", "", {}), Content(text="hello").SerializeToString()
        salts = set()
        for record in stored:
            row = await rig.store.get_message("demo", record.message_id)
            assert row is not None
            salt = decode_envelope(box.take("demo", row.id, "envelope", row.envelope)).salt
            assert commitment(salt, "demo", "ACME", 1, envelope, content) == record.commitment
            salts.add(salt)
        assert {len(salt) for salt in salts} == {SALT_BYTES}
        assert len(salts) == len({record.commitment for record in stored}) == 4
