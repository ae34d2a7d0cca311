"""A message that is being cancelled at its carrier: what was asked, what was answered, and what that comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from carrier.contract import Outcome, RequestResult
from carrier.smpp.constants import Status, status_name
from gateway.audit.records import CancelAnswered
from gateway.errors import GatewayError, Unavailable, WrongState
from gateway.states import PartState
from gateway.store.contract import MessageRow
from gateway.store.receipts import Learned, NewReceipt, Source


class Cancel:
    """The wish to cancel a message, until the carrier has answered for each part (mutable)."""

    def __init__(self, row: MessageRow, parts: Sequence[int], by: str) -> None:
        self.row = row
        self.parts = parts
        self.by = by
        self.results: dict[int, RequestResult] = {}
        self.recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        """Tell those who wait; nobody may."""
        self.recorded.set_exception(error)
        self.recorded.exception()

    @property
    def confirmed(self) -> tuple[int, ...]:
        """The parts that the carrier said it cancelled."""
        results = self.results.items()
        return tuple(part for part, each in results if each.outcome is Outcome.ANSWERED and not each.status)

    @property
    def unanswered(self) -> int:
        """Of how many parts nobody knows."""
        return sum(each.outcome is Outcome.IN_DOUBT for each in self.results.values())

    @property
    def refusal(self) -> int | None:
        """The first status that was no success."""
        statuses = (each.status for each in self.results.values() if each.outcome is Outcome.ANSWERED)
        return next((status for status in statuses if status), None)


def learned_by(cancel: Cancel, now: int) -> Learned:
    row, state = cancel.row, PartState.CANCELLED.value
    told = NewReceipt(row.carrier, "", b"", state, now, None, "", "", source=Source.CANCEL, by=cancel.by)
    return Learned(row.tenant, row.id, cancel.confirmed, told)


def on_record(cancel: Cancel, now: int) -> CancelAnswered:
    row = cancel.row
    return CancelAnswered(
        now, row.id, row.tenant, row.carrier, len(cancel.confirmed), cancel.unanswered, cancel.refusal
    )


def not_cancelled(cancel: Cancel) -> GatewayError:
    """Return what to tell the caller of a message of which no part was cancelled."""
    carrier = cancel.row.carrier
    if cancel.unanswered:
        text = f"the carrier {carrier} gave no answer: the message may be cancelled or not, its receipt will tell"
        return Unavailable(text, reason="CANCEL_UNANSWERED")
    if cancel.refusal is None:
        return Unavailable(f"the link to the carrier {carrier} went down first", reason="CARRIER_UNAVAILABLE")
    if cancel.refusal == Status.ESME_RINVCMDID:
        return WrongState(f"the carrier {carrier} takes no cancel_sm", reason="CANCEL_UNSUPPORTED")
    text = f"the carrier {carrier} does not cancel it: {status_name(cancel.refusal)}"
    return WrongState(text, reason="CARRIER_REFUSED_CANCEL")
