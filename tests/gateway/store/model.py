"""What a store has to do, written again as plainly as possible: dictionaries, one item at a time, nothing clever.

It is compared with the engines, step by step. It shares with them only the table of transitions and `aggregate`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gateway.states import FINAL, Category, State, aggregate, may_follow
from gateway.store.contract import (
    Accepted,
    NewMessage,
    NewReceipt,
    Queue,
    ReceiptVerdict,
    Recovered,
    Sending,
    Settlement,
    Verdict,
    waiting_queue,
)

Key = tuple[str, bytes]
_ENDED_PARTS = "DUECR"


@dataclass
class Record:
    """A message."""

    new: NewMessage
    queue: int | None
    due_at: int
    state: State = State.ACCEPTED
    attempts: int = 0
    carrier: str = ""
    carrier_ids: str = ""
    parts: str = ""
    submitted_at: int | None = None
    done_at: int | None = None
    reason: str = ""


@dataclass
class Model:
    """A store in memory."""

    messages: dict[Key, Record] = field(default_factory=dict)
    keys: dict[bytes, tuple[bytes, Key, int]] = field(default_factory=dict)
    refs: dict[tuple[str, str], tuple[Key, int]] = field(default_factory=dict)
    kept: list[NewReceipt] = field(default_factory=list)
    events: list[tuple[str, bytes, State]] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def _tell(self, key: Key, state: State) -> None:
        self.events.append((*key, state))

    def _end(self, key: Key, state: State, at: int, reason: str) -> None:
        record = self.messages[key]
        record.state, record.queue, record.done_at, record.reason = state, None, at, reason
        self._tell(key, state)

    def accept(self, new: NewMessage) -> Accepted:
        """Accept one message."""
        if new.idempotency is not None:
            holder = self.keys.get(new.idempotency.key_hash)
            if holder is not None and holder[2] > new.accepted_at:
                first = self.messages[holder[1]]
                same = holder[0] == new.idempotency.content_hash
                verdict = Verdict.REPLAYED if same else Verdict.CONFLICT
                return Accepted(verdict, first.new.id, first.state, first.new.segments)
            value = (new.idempotency.content_hash, (new.tenant, new.id), new.idempotency.expires_at)
            self.keys[new.idempotency.key_hash] = value
        queue = Queue.CLAIMED if new.claimed else waiting_queue(new.category)
        self.messages[new.tenant, new.id] = Record(new, queue, new.due_at)
        self._tell((new.tenant, new.id), State.ACCEPTED)
        return Accepted(Verdict.STORED, new.id, State.ACCEPTED, new.segments)

    def claim(self, category: Category, limit: int, now: int) -> list[bytes]:
        """Claim; returns the ids."""
        due = [
            record
            for record in self.messages.values()
            if record.queue == waiting_queue(category) and record.due_at <= now < record.new.expires_at
        ]
        due.sort(key=lambda record: record.due_at)
        for record in due[:limit]:
            record.queue = Queue.CLAIMED
        return [record.new.id for record in due[:limit]]

    def sending(self, step: Sending) -> bool:
        """Move one message to SENDING."""
        record = self.messages.get((step.tenant, step.id))
        if record is None or record.queue != Queue.CLAIMED:
            return False
        record.state, record.queue, record.attempts = State.SENDING, Queue.SENDING, record.attempts + 1
        if record.carrier != step.carrier:
            record.carrier, record.parts, record.carrier_ids = step.carrier, "", ""
        return True

    def settle(self, settlement: Settlement) -> int:
        """Settle one message, with the receipts that were kept for it."""
        if settlement.cause:
            self.counted[settlement.cause] += 1
        key = (settlement.tenant, settlement.id)
        record = self.messages.get(key)
        if record is None:
            return 0
        new, old = State(settlement.state), record.state
        goes_back = old == new and new in (State.ACCEPTED, State.UNKNOWN) and record.queue == Queue.CLAIMED
        if goes_back or may_follow(old, new):
            self._record(record, settlement, told=goes_back)
        ids = settlement.carrier_ids.split("\n")
        for part, carrier_id in enumerate(ids):
            if carrier_id:
                held = self.refs.get((settlement.carrier, carrier_id), (key, part))
                self.counted["carrier_id.reused"] += held != (key, part)
                self.refs[settlement.carrier, carrier_id] = (key, part)
        self._match(settlement.carrier, set(ids))
        return record.state

    def _record(self, record: Record, settlement: Settlement, *, told: bool) -> None:
        key, new = (settlement.tenant, settlement.id), State(settlement.state)
        parts = settlement.part_states
        if record.carrier == settlement.carrier and len(record.parts) == len(parts):
            pairs = zip(record.parts, parts, strict=True)
            parts = "".join(old if old in _ENDED_PARTS else part for old, part in pairs)
        record.state, record.queue, record.due_at = new, settlement.queue, settlement.due_at
        record.carrier, record.carrier_ids, record.parts = settlement.carrier, settlement.carrier_ids, parts
        record.reason = settlement.reason_code
        if new is State.SUBMITTED:
            record.submitted_at = settlement.at
        if new is not State.ACCEPTED and not told:
            self._tell(key, new)
        if new in FINAL:
            record.queue, record.done_at = None, settlement.at
            return
        final = aggregate(parts)
        if final is not None and may_follow(new, final):
            self._end(key, final, settlement.at, _reason(final))

    def _match(self, carrier: str, carrier_ids: set[str]) -> None:
        mine = [kept for kept in self.kept if kept.carrier == carrier and kept.carrier_id in carrier_ids]
        self.kept = [kept for kept in self.kept if kept not in mine]
        for receipt in sorted(mine, key=lambda kept: kept.at):
            self.receipt(receipt)

    def receipt(self, receipt: NewReceipt) -> ReceiptVerdict:
        """Apply one receipt."""
        ref = self.refs.get((receipt.carrier, receipt.carrier_id))
        if ref is None:
            self.counted["receipt.kept"] += 1
            identity = receipt._replace(at=0, network_error="", operator_done_at=None)
            if identity not in [kept._replace(at=0, network_error="", operator_done_at=None) for kept in self.kept]:
                self.kept.append(receipt)
            return ReceiptVerdict.KEPT
        key, part = ref
        record = self.messages[key]
        if receipt.recipient_hash not in (b"", record.new.recipient_hash):
            self.counted["receipt.mismatch"] += 1
            return ReceiptVerdict.MISMATCH
        known = record.carrier == receipt.carrier and part < len(record.parts)
        if not known or not receipt.part_state or record.state in FINAL or record.parts[part] in _ENDED_PARTS:
            return ReceiptVerdict.RECORDED
        record.parts = record.parts[:part] + receipt.part_state + record.parts[part + 1 :]
        final = aggregate(record.parts)
        if final is not None and may_follow(record.state, final):
            self._end(key, final, receipt.at, _reason(final))
        return ReceiptVerdict.APPLIED

    def cancel(self, key: Key, now: int) -> bool:
        """Cancel one message."""
        record = self.messages.get(key)
        if record is None or record.state is not State.ACCEPTED:
            return False
        self._end(key, State.CANCELLED, now, "")
        return True

    def close_due(self, now: int) -> int:
        """End everything that is due."""
        ended = 0
        for key, record in self.messages.items():
            if record.queue == Queue.AWAITING and record.due_at <= now:
                self._end(key, State.EXPIRED, now, "NO_RECEIPT")
                ended += 1
            elif record.queue not in (None, Queue.AWAITING, Queue.SENDING) and record.new.expires_at <= now:
                self._end(key, State.EXPIRED, now, "VALIDITY_ENDED")
                ended += 1
        return ended

    def recover(self, now: int, resend: frozenset[Category], grace: int) -> Recovered:
        """Take over after a crash."""
        reclaimed = in_doubt = 0
        for key, record in self.messages.items():
            category = Category(record.new.category)
            if record.queue == Queue.CLAIMED:
                record.queue = waiting_queue(category)
                reclaimed += 1
            elif record.queue == Queue.SENDING:
                again = category in resend and now < record.new.expires_at
                record.state, record.reason = State.UNKNOWN, "NODE_RESTARTED"
                record.queue = waiting_queue(category) if again else Queue.AWAITING
                record.due_at = now if again else record.new.expires_at + grace
                self.counted["resend.restart" if again else "doubt.restart"] += 1
                self._tell(key, State.UNKNOWN)
                in_doubt += 1
        return Recovered(reclaimed, in_doubt)


def _reason(state: State) -> str:
    return "" if state is State.DELIVERED else f"RECEIPT_{state.name}"
