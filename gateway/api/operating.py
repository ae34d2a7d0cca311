"""What operators do, on its way into the audit: why they do it, and the record of it beside their permission."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from gateway.api.interceptors import Call, current_call
from gateway.audit.records import OperatorActed, Record, RevocationChanged
from gateway.errors import FieldViolation, InvalidRequest
from gateway.masking import escape_controls
from gateway.revocation.entries import Entry
from gateway.revocation.recording import revocation_record
from gateway.store.operating import Selection

T = TypeVar("T")
MAX_REASON = 200  # characters
_MAX_RECORDED = 1_000  # octets of a record's reason


def reason_of(text: str, *, required: bool = True) -> str:
    """Return what an operator gives as the reason. Raises InvalidRequest for none, where one is required, and for a
    long one."""
    reason = escape_controls(" ".join(text.split()))
    if len(reason) > MAX_REASON:
        why = f"must have at most {MAX_REASON} characters"
    elif required and not reason:
        why = "must say why, for those who come after: it is recorded"
    else:
        return reason
    raise InvalidRequest((FieldViolation("reason", why, "REASON_REQUIRED" if not reason else "REASON_TOO_LONG"),))


def _with_owner(reason: str, owner: str) -> str:
    """Return a reason together with whose messages it is about, which a record has no field for."""
    if not owner:
        return reason
    whole = f"{reason} (sent by {owner})" if reason else f"sent by {owner}"
    return whole.encode()[:_MAX_RECORDED].decode(errors="ignore")


class ActStore(Protocol):
    """The part of the store that is needed here."""

    async def audit(self, batch: Sequence[Record]) -> None:
        """Commit records."""


class ActJournal(Protocol):
    """The part of the journal that is needed here."""

    def acted(self, record: OperatorActed) -> None:
        """Note how something ended that was recorded when it began."""


class Acts:
    """Makes the records of one node."""

    def __init__(self, node: str, now: Callable[[], int], store: ActStore, journal: ActJournal) -> None:
        self._node = node
        self.now = now
        self._store = store
        self._journal = journal

    async def tell(self, record: OperatorActed) -> None:
        """Commit the permission of the call and `record`, where there is no change to go with. Raises what the store
        raises: then nothing is to be done, nor told."""
        await self.do(record, self._store.audit)

    async def tell_all(self, records: Sequence[Record]) -> None:
        """The same for several records. Raises likewise."""
        audit = current_call.get().audit
        try:
            await self._store.audit([*audit.take(), *records])
        except Exception:
            audit.give_back()
            raise

    def revocation(self, call: Call, entry: Entry, *, restored: str = "") -> RevocationChanged:
        """Return the record of a revocation, or, with the reason for that, of its being taken back."""
        return revocation_record(entry, at=self.now(), node=self._node, by=call.caller.spiffe_id, restored=restored)

    def ended(self, record: OperatorActed) -> None:
        """Note how something ended that was told when it began: also when its caller has gone away meanwhile."""
        self._journal.acted(record._replace(at=self.now()))

    def record(
        self,
        call: Call,
        what: str,
        *,
        reason: str = "",
        carrier: str = "",
        selection: Selection | None = None,
        number: int = 0,
    ) -> OperatorActed:
        """Return the record of an act that `call` asks for: on a carrier, or on the messages of a selection."""
        selected = selection or Selection(carrier=carrier)
        return OperatorActed(
            at=self.now(),
            node=self._node,
            by=call.caller.spiffe_id,
            what=what,
            carrier=selected.carrier,
            tenant=selected.tenant,
            category=selected.category,
            by_recipient=bool(selected.recipient_hashes),
            number=number,
            reason=_with_owner(reason, selected.owner),
        )

    async def do(self, record: OperatorActed, work: Callable[[Sequence[Record]], Awaitable[T]]) -> T:
        """Do `work` with the records that have to be committed with it: the permission of the call, and `record`."""
        audit = current_call.get().audit
        try:
            return await work([*audit.take(), record])
        except Exception:
            audit.give_back()
            raise
