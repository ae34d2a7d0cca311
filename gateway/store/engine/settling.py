"""Recording what became of an attempt, and matching receipts that came before its response.

The usual settlement finds its message SENDING with no part answered before; for a batch of those, one query finds
nothing unusual, and one statement each writes messages, carrier ids and events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.audit.records import RouteDenied
from gateway.states import FINAL, TRANSITIONS, PartState, State, may_follow
from gateway.store.contract import Queue, Settlement
from gateway.store.engine.claiming import runs_of_distinct
from gateway.store.engine.receiving import ending, match_kept, reason_of
from gateway.store.engine.statements import Row
from gateway.store.engine.submitted import settle_submitted
from gateway.store.engine.tally import COUNTRIES, Facts, facts_of
from gateway.store.engine.transaction import Transaction

_ACCEPTED, _SENDING, _SUBMITTED = int(State.ACCEPTED), int(State.SENDING), int(State.SUBMITTED)
_UNKNOWN = int(State.UNKNOWN)
_FINAL = frozenset(map(int, FINAL))
_FROM_SENDING = frozenset(map(int, TRANSITIONS[State.SENDING]))
_GOES_BACK = (State.ACCEPTED, State.UNKNOWN)
_UNSENT = PartState.UNSENT.value
_OPEN_PARTS = (_UNSENT, PartState.SUBMITTED.value)
_CLAIMED = int(Queue.CLAIMED)


class _Found(NamedTuple):
    """A message that is not simply SENDING."""

    state: int
    queue: int | None
    part_states: str | None
    carrier_no: int
    category: int
    ours: bool  # where it is claimed or SENDING: by this node


def settle(tx: Transaction, batch: Sequence[Settlement]) -> list[int]:
    """Record outcomes; the state of each message afterwards, 0 for one that is not stored."""
    states: list[int] = []
    for run in runs_of_distinct(batch):
        states += _settle(tx, run)
    return states


def _settle(tx: Transaction, batch: Sequence[Settlement]) -> list[int]:
    known = tx.tenants.known
    keys = [(known(settlement[0]), settlement[1]) for settlement in batch]
    unusual = {n: _Found._make(rest) for n, *rest in tx.sql.settling.unusual.find(tx.db, keys)}
    changes = None if unusual else settle_submitted(tx, batch, keys)
    if changes is None:
        return _settle_any(tx, batch, keys, unusual)
    states, refs = [_SUBMITTED] * len(batch), list[Row]()
    for settlement, key, change in zip(batch, keys, changes, strict=True):
        if settlement[5]:
            refs += _parts_answered(settlement, key, change[3])
    _learn_refs(tx, refs, keys, states)
    return states


def _settle_any(
    tx: Transaction, batch: Sequence[Settlement], keys: Sequence[tuple[int, bytes]], unusual: dict[int, _Found]
) -> list[int]:
    known_facts = _facts(tx, batch, keys, unusual)
    states: list[int] = []
    updates: list[Row] = []
    refs: list[Row] = []
    for n, settlement in enumerate(batch):
        carrier_no = tx.carriers.number(tx.db, settlement.carrier)
        found = unusual.get(n)
        if found is None and settlement.state in _FROM_SENDING and not settlement.only_from:
            parts = settlement.part_states
            after = _record(tx, settlement, keys[n], carrier_no, parts, settlement.state, updates)
            _count(tx, settlement, keys[n], carrier_no, None, after, known_facts.get(n))
        else:
            after = _settle_unusual(tx, settlement, keys[n], carrier_no, found, updates, known_facts.get(n))
        if settlement.carrier_ids and after:
            refs += _parts_answered(settlement, keys[n], carrier_no)
        if settlement.cause:
            tx.counted[settlement.cause] += 1
        states.append(after)
    tx.sql.settling.settle.run(tx.db, updates)
    _learn_refs(tx, refs, keys, states)
    return states


def _learn_refs(tx: Transaction, refs: list[Row], keys: Sequence[tuple[int, bytes]], states: list[int]) -> None:
    """Store the carrier ids of a batch, and apply the receipts that came before them to `states`."""
    if refs:
        _remember(tx, refs)
        _match_kept(tx, refs, keys, states)


def _settle_unusual(
    tx: Transaction,
    settlement: Settlement,
    key: tuple[int, bytes],
    carrier_no: int,
    found: _Found | None,
    updates: list[Row],
    facts: Facts | None,
) -> int:
    """Settle a message that is not simply SENDING, if the table of transitions has it; returns the state after it."""
    if found is None:
        return _SENDING
    legal, after = _judge(found, settlement)
    if not legal:
        if settlement.state == _SUBMITTED and found.state == _SENDING and not found.ours:
            tx.counted["duplicate.taken_over"] += 1
        return after
    if settlement.denied is not None:  # of a message that was only claimed: it never comes the usual way
        tx.records.add([RouteDenied(settlement.at, settlement.id, settlement.tenant, *settlement.denied)])
    parts = _merge(found, settlement, carrier_no)
    end = ending(after, parts, settlement.parts_rule)
    if end:
        tx.ended.append((settlement.carrier, found.category, end, 0))
    _count(tx, settlement, key, carrier_no, found, end or after, facts)
    return _record(tx, settlement, key, carrier_no, parts, end or after, updates, told=found.state)


def _facts(
    tx: Transaction, batch: Sequence[Settlement], keys: Sequence[Row], unusual: dict[int, _Found]
) -> dict[int, Facts]:
    """Return what is stored of those that do not bring all that has to be known of them for the usage, by number."""
    asked = [n for n, each in enumerate(batch) if each.state != _SUBMITTED or each.bill is None or n in unusual]
    if not asked:
        return {}
    return {asked[n]: facts for n, facts in facts_of(tx.db, tx.sql.usage, [keys[n] for n in asked]).items()}


def _count(
    tx: Transaction,
    settlement: Settlement,
    key: tuple[int, bytes],
    carrier_no: int,
    found: _Found | None,
    after: int,
    facts: Facts | None,
) -> None:
    """Add a settlement to the usage. `after` is the state of the message behind it, `facts` what is stored of it where
    that was looked up, and `found` as well when it is not simply SENDING."""
    state, at, parts, bill = settlement.state, settlement.at, settlement.part_states, settlement.bill
    if facts is None:
        if bill is not None:  # the usual one (hot)
            category, name, reserved, price = bill
            taken = len(parts) - parts.count(_UNSENT)
            tx.tally.took(key, at, (category, COUNTRIES[name], carrier_no), 1, taken, price, reserved)
        return
    before = _SENDING if found is None else found.state
    ends_free = after in _FINAL and state != _SUBMITTED and facts.is_free(before)
    freed = facts.reserved if ends_free or state == _SUBMITTED else 0
    submitted = int(state == _SUBMITTED and before != _SUBMITTED)
    taken, price = (0, 0) if bill is None else (_taken(parts, found, carrier_no), bill.price)
    kind = facts.category, facts.country, carrier_no
    if taken or submitted or freed:
        tx.tally.took(key, at, kind, submitted, taken, price, freed)
    if after in _FINAL:
        tx.tally.ended(key[0], at, kind, after, facts.segments or len(parts))
    if ends_free:
        tx.tally.release(key, facts)


def _taken(parts: str, found: _Found | None, carrier_no: int) -> int:
    """Return how many parts the carrier has taken that it had not before (hot)."""
    if found is None or not found.part_states or found.carrier_no != carrier_no:
        return len(parts) - parts.count(_UNSENT)
    earlier = found.part_states.ljust(len(parts), _UNSENT)
    return sum(new != _UNSENT and old == _UNSENT for new, old in zip(parts, earlier, strict=False))


def _judge(found: _Found, settlement: Settlement) -> tuple[bool, int]:
    """Say whether the settlement is to be recorded, and the state that the message has after it or keeps."""
    if not found.state:
        return False, 0
    if settlement.only_from and found.state != settlement.only_from:
        return False, found.state
    if (
        found.queue == _CLAIMED and not found.ours and not (found.state == _UNKNOWN and settlement.state == _SUBMITTED)
    ):  # another node has taken it over; that a carrier has it, after all, is worth knowing until it is sent again
        return False, found.state
    if found.state == settlement.state:  # not sent after all: a claimed message goes back as it was
        return found.queue == _CLAIMED and found.state in _GOES_BACK, found.state
    legal = may_follow(State(found.state), State(settlement.state))
    return legal, settlement.state if legal else found.state


def _merge(found: _Found, settlement: Settlement, carrier_no: int) -> str:
    """Return the parts as they stand: what a receipt has already said of one stays."""
    parts = settlement.part_states
    earlier = found.part_states
    if not earlier or found.carrier_no != carrier_no or len(earlier) != len(parts):
        return parts
    return "".join(old if old not in _OPEN_PARTS else new for old, new in zip(earlier, parts, strict=True))


def _record(
    tx: Transaction,
    settlement: Settlement,
    key: tuple[int, bytes],
    carrier_no: int,
    parts: str,
    after: int,
    updates: list[Row],
    told: int = _SENDING,
) -> int:
    """Add row and events of one settlement (hot); returns `after`.

    `after` is another state than the settlement's when receipts had decided already: then both are told. `told` is the
    state before: going back to it is no event.
    """
    _, _, state, at, _, carrier_ids, _, queue, due_at, code, text, smpp_status, *_ = settlement
    if state == _SUBMITTED and not code:
        tx.plain_event(*key, at, told, state, carrier_no)
    elif state not in (_ACCEPTED, told):
        tx.event(*key, at, told, state, carrier_no, (code, text, smpp_status, "", None))
    elif state != told:
        tx.went_back(*key, at, carrier_no, code, smpp_status)
    if after != state:
        code, text = reason_of(after, "")
        smpp_status = None
        tx.event(*key, at, state, after, carrier_no, (code, text, None, "", None))
    submitted_at = at if state == _SUBMITTED else None
    if after in _FINAL:
        where: Row = (None, due_at, submitted_at, at)
    else:
        where = (queue, due_at, submitted_at, None)
    updates.append((*key, after, *where, carrier_no, carrier_ids, parts, code, text, smpp_status))
    return after


def _parts_answered(settlement: Settlement, key: tuple[int, bytes], carrier_no: int) -> list[Row]:
    ids = settlement.refs or settlement.carrier_ids
    if "\n" not in ids:
        return [(carrier_no, ids, *key, 0)]
    return [(carrier_no, carrier_id, *key, part) for part, carrier_id in enumerate(ids.split("\n")) if carrier_id]


def _remember(tx: Transaction, refs: list[Row]) -> None:
    """Store carrier ids. A carrier that uses an id again is counted, and its newest message wins."""
    if tx.sql.settling.new_refs.count(tx.db, refs) == len(refs):
        return
    found = tx.sql.settling.holders.find(tx.db, [ref[:2] for ref in refs])
    holders: dict[Row, Row] = {refs[n][:2]: tuple(holder) for n, *holder in found}
    for ref in refs:
        holder = holders[ref[:2]]
        if holder != ref[2:]:
            tx.counted["carrier_id.reused"] += 1
            if holder[:2] != ref[2:4]:
                tx.sql.settling.older_ref.change(tx.db, (*ref[:2], *holder))
                tx.sql.settling.drop_older_refs.change(tx.db, ref[:2])
            holders[ref[:2]] = ref[2:]
    tx.sql.settling.newest_refs.run(tx.db, [(*key, *holder) for key, holder in holders.items()])


def _match_kept(tx: Transaction, refs: list[Row], keys: Sequence[tuple[int, bytes]], states: list[int]) -> None:
    """Apply receipts that were kept for these ids."""
    # Once each: the same id twice would find its receipts twice.
    wanted = list(dict.fromkeys(ref[:2] for ref in refs if tx.may_be_kept(ref[0])))  # type: ignore[arg-type]  # a number
    changed = match_kept(tx, wanted) if wanted else {}
    for n, key in enumerate(keys):
        if key in changed:
            states[n] = changed[key]
