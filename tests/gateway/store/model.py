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
    Queue,
    Sending,
    Settlement,
    Verdict,
    waiting_queue,
)
from gateway.store.nodes import Recovered
from gateway.store.receipts import UNKNOWN_STAT, Learned, NewReceipt, Oddity, ReceiptVerdict, Source

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
    sending_at: int = 0
    submitted_at: int | None = None
    done_at: int | None = None
    operator_done_at: int | None = None
    reason: str = ""
    reserved: int = 0

    def usable(self, receipt: NewReceipt) -> ReceiptVerdict | None:
        """Say why a receipt cannot be this message's; None when it can."""
        if receipt.recipient_hash not in (b"", self.new.recipient_hash):
            return ReceiptVerdict.MISMATCH
        first_sent = self.sending_at if self.attempts < 2 else 0
        return ReceiptVerdict.IMPOSSIBLE if first_sent > receipt.sent_by else None


@dataclass
class Model:
    """A store in memory."""

    messages: dict[Key, Record] = field(default_factory=dict)
    keys: dict[bytes, tuple[bytes, Key, int]] = field(default_factory=dict)
    # Who has a carrier's id: the newest last.
    refs: dict[tuple[str, str], list[tuple[Key, int]]] = field(default_factory=dict)
    noted: list[tuple[Oddity, NewReceipt]] = field(default_factory=list)
    kept: list[NewReceipt] = field(default_factory=list)
    refused: dict[tuple[object, ...], int] = field(default_factory=dict)  # of those that are kept
    events: list[tuple[str, bytes, State]] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    spent: Counter[str] = field(default_factory=Counter)  # by carrier
    taken: Counter[str] = field(default_factory=Counter)  # parts, by carrier
    committed: Counter[str] = field(default_factory=Counter)  # by tenant
    released: Counter[str] = field(default_factory=Counter)  # by tenant

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
        self.messages[new.tenant, new.id] = Record(new, queue, new.due_at, reserved=new.reserved)
        self.committed[new.tenant] += new.reserved
        self._tell((new.tenant, new.id), State.ACCEPTED)
        return Accepted(Verdict.STORED, new.id, State.ACCEPTED, new.segments)

    def claim(self, category: Category, limit: int, now: int) -> list[bytes]:
        """Claim; returns the ids."""
        due = [
            record
            for record in self.messages.values()
            if record.queue == waiting_queue(category) and record.due_at <= now < record.new.expires_at
        ]
        due.sort(key=lambda record: (record.new.expires_at, record.due_at))
        for record in due[:limit]:
            record.queue = Queue.CLAIMED
        return [record.new.id for record in due[:limit]]

    def sending(self, step: Sending) -> bool:
        """Move one message to SENDING."""
        record = self.messages.get((step.tenant, step.id))
        if record is None or record.queue != Queue.CLAIMED:
            return False
        record.state, record.queue, record.attempts = State.SENDING, Queue.SENDING, record.attempts + 1
        record.sending_at = step.at
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
        meant = not settlement.only_from or settlement.only_from == old
        if meant and (goes_back or may_follow(old, new)):
            self._record(record, settlement, told=goes_back)
        ids = settlement.carrier_ids.split("\n")
        for part, carrier_id in enumerate(ids):
            if carrier_id:
                self._refer((settlement.carrier, carrier_id), (key, part))
        self._match(settlement.carrier, set(ids))
        return record.state

    def _refer(self, carrier_id: tuple[str, str], to: tuple[Key, int]) -> None:
        holders = self.refs.setdefault(carrier_id, [])
        if holders and holders[-1] != to:
            self.counted["carrier_id.reused"] += 1
            if holders[-1][0] == to[0]:
                holders.pop()
        # Which of the older messages is the newest one goes by its id.
        older = sorted({*holders} - {to}, key=lambda holder: (holder[0][1], holder[1]))
        self.refs[carrier_id] = [*older, to]

    def _record(self, record: Record, settlement: Settlement, *, told: bool) -> None:
        key, new = (settlement.tenant, settlement.id), State(settlement.state)
        parts = settlement.part_states
        if record.carrier == settlement.carrier and len(record.parts) == len(parts):
            pairs = zip(record.parts, parts, strict=True)
            parts = "".join(old if old in _ENDED_PARTS else part for old, part in pairs)
        self._bill(record, settlement)
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
        final = aggregate(parts, settlement.parts_rule)
        if final is not None and may_follow(new, final):
            self._end(key, final, settlement.at, _reason(final))

    def _bill(self, record: Record, settlement: Settlement) -> None:
        """Count what a carrier has taken, and give back what was reserved for it."""
        tenant, carrier = settlement.tenant, settlement.carrier
        if settlement.bill is not None:
            had = record.parts if record.carrier == carrier else ""
            taken = sum(part != "-" and had[n : n + 1] in ("", "-") for n, part in enumerate(settlement.part_states))
            cost = taken * settlement.bill.price
            self.taken[carrier] += taken
            self.spent[carrier] += cost
            self.committed[tenant] += cost
        if settlement.state == State.SUBMITTED:
            self.committed[tenant] -= record.reserved
            record.reserved = 0
        elif settlement.state in FINAL:
            self._free(record)

    def _free(self, record: Record) -> None:
        """A message ends by what happened in the gateway: if no carrier can have had it, it costs nothing."""
        if record.state in (State.ACCEPTED, State.SENDING) and record.submitted_at is None:
            self.committed[record.new.tenant] -= record.reserved
            self.released[record.new.tenant] += 1

    def _match(self, carrier: str, carrier_ids: set[str]) -> None:
        mine = [kept for kept in self.kept if kept.carrier == carrier and kept.carrier_id in carrier_ids]
        for receipt in sorted(mine, key=lambda kept: kept.at):
            key, part, why_not = self._meant(receipt, self.refs[carrier, receipt.carrier_id])
            if why_not is None:
                self.kept.remove(receipt)
                del self.refused[_identity(receipt)]
                self._apply(receipt, key, part)

    def _meant(self, receipt: NewReceipt, holders: list[tuple[Key, int]]) -> tuple[Key, int, ReceiptVerdict | None]:
        """Return the part that a receipt means, or the newest with its id and why it cannot be that."""
        for key, part in reversed(holders):
            if self.messages[key].usable(receipt) is None:
                return key, part, None
        key, part = holders[-1]
        return key, part, self.messages[key].usable(receipt)

    def receipt(self, receipt: NewReceipt) -> ReceiptVerdict:
        """Take one receipt."""
        holders = self.refs.get((receipt.carrier, receipt.carrier_id))
        if holders is None:
            return self._keep(receipt)
        key, part, why_not = self._meant(receipt, holders)
        if why_not is not None:
            self._note(Oddity[why_not.name], receipt)
            return why_not
        return self._apply(receipt, key, part)

    def _keep(self, receipt: NewReceipt) -> ReceiptVerdict:
        self.counted["receipt.kept"] += 1
        identity = _identity(receipt)
        known = identity in self.refused
        if not known:
            self.kept.append(receipt)
        before = self.refused.get(identity, 0)
        if not receipt.refusals:
            self.refused[identity] = before
            return ReceiptVerdict.KEPT
        self.refused[identity] = max(before, 1) + 1 if known else 1
        return ReceiptVerdict.REFUSED if self.refused[identity] <= receipt.refusals else ReceiptVerdict.KEPT

    def learned(self, new: Learned) -> int:
        """Take what a carrier said when it was asked."""
        record = self.messages.get((new.tenant, new.message_id))
        if record is None:
            return 0
        told = new.receipt
        self.counted[f"{Source(told.source).name.lower()}.answered"] += 1
        parts = [part for part in new.parts if part < len(record.parts) and record.parts[part] not in _ENDED_PARTS]
        decided = told.part_state and told.part_state in _ENDED_PARTS  # "" is in every string
        if record.carrier != told.carrier or record.state in FINAL or not parts or not decided:
            return record.state
        for part in parts:
            record.parts = record.parts[:part] + told.part_state + record.parts[part + 1 :]
        final = aggregate(record.parts, told.parts_rule)
        if final is not None and may_follow(record.state, final):
            record.operator_done_at = told.operator_done_at
            self._end((new.tenant, new.message_id), final, told.at, _asked(told.source, final, record.parts))
        return record.state

    def _note(self, oddity: Oddity, receipt: NewReceipt) -> None:
        self.counted[f"receipt.{oddity.name.lower()}"] += 1
        self.noted.append((oddity, receipt))

    def _apply(self, receipt: NewReceipt, key: Key, part: int) -> ReceiptVerdict:
        record, new_part = self.messages[key], receipt.part_state
        known = record.carrier == receipt.carrier and part < len(record.parts)
        before = record.parts[part] if known else ""
        if new_part == UNKNOWN_STAT:
            self._note(Oddity.UNKNOWN_STAT, receipt)
        elif not new_part:
            self.counted["receipt.intermediate"] += 1
        elif not known:
            self.counted["receipt.earlier_attempt"] += 1
        elif before == new_part:
            self.counted["receipt.duplicate"] += 1
        elif before in _ENDED_PARTS or (record.state is State.DELIVERED and new_part != "D"):
            self._note(Oddity.CONTRADICTED, receipt)
            return ReceiptVerdict.CONTRADICTED
        elif record.state not in FINAL:
            self._decide(receipt, key, part)
            return ReceiptVerdict.APPLIED
        elif record.state is not State.DELIVERED and not set(_ENDED_PARTS[1:]) & set(record.parts):
            self._note(Oddity.LATE, receipt)
        return ReceiptVerdict.RECORDED

    def _decide(self, receipt: NewReceipt, key: Key, part: int) -> None:
        record = self.messages[key]
        record.parts = record.parts[:part] + receipt.part_state + record.parts[part + 1 :]
        final = aggregate(record.parts, receipt.parts_rule)
        if final is not None and may_follow(record.state, final):
            record.operator_done_at = receipt.operator_done_at
            self._end(key, final, receipt.at, _reason(final))

    def cancel(self, key: Key, now: int) -> bool:
        """Cancel one message."""
        record = self.messages.get(key)
        if record is None or record.state is not State.ACCEPTED:
            return False
        self._free(record)
        self._end(key, State.CANCELLED, now, "")
        return True

    def close_due(self, now: int) -> int:
        """End everything that is due."""
        ended = 0
        for key, record in self.messages.items():
            if record.queue == Queue.AWAITING and record.due_at <= now:
                self._free(record)
                self._end(key, State.EXPIRED, now, "NO_RECEIPT")
                ended += 1
            elif record.queue not in (None, Queue.AWAITING, Queue.SENDING) and record.new.expires_at <= now:
                self._free(record)
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


def _identity(receipt: NewReceipt) -> tuple[object, ...]:
    """Return what makes two unmatched receipts the same."""
    return (receipt.carrier, receipt.carrier_id, receipt.part_state, receipt.stat, receipt.recipient_hash)


def _asked(source: int, state: State, parts: str) -> str:
    if source == Source.QUERY:
        return f"QUERY_{state.name}"
    return "CANCELLED_AT_CARRIER" if set(parts) == {"C"} else "PARTLY_CANCELLED"
