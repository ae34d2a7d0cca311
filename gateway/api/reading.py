"""What became of messages: one, a list, and withdrawing one. Everything within the caller's tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from gateway.api.auditing import CallDecision
from gateway.api.convert import to_message
from gateway.api.cursors import Cursors
from gateway.api.unreadable import LOGGED, Damage
from gateway.audit.records import Record
from gateway.destinations import is_e164
from gateway.errors import FieldViolation, GatewayError, InvalidRequest, NotFound, WrongState
from gateway.identity import Caller
from gateway.ids import from_text
from gateway.payload import PayloadBox
from gateway.records import IndexKeys
from gateway.states import FINAL, State
from gateway.store.contract import ListFilter, MessageRow
from smsgw.v1 import message_pb2, message_service_pb2

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_ROWS = 50_000  # that one page looks at, where states are asked for: that is 10 ms
_MAX_PAGE_BYTES = 3 << 20  # below the 4 MiB that clients receive by default

_HAVE_LEFT = (State.SUBMITTED, State.UNKNOWN)
_STATES = frozenset(int(state) for state in State)


class RowReader(Protocol):
    """What one message is looked up in."""

    async def get_message(self, tenant: str, message_id: bytes) -> MessageRow | None:
        """Return one message of the tenant."""


class MessageReader(RowReader, Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def list_messages(self, tenant: str, where: ListFilter, before: bytes | None, limit: int) -> list[MessageRow]:
        """Return messages of the tenant with ids below `before`, newest first."""

    async def list_reach(self, tenant: str, before: bytes | None, rows: int) -> bytes | None:
        """Return the id that is `rows` places below `before`, None when there are not so many."""

    async def cancel(
        self, tenant: str, message_id: bytes, now: int, by: str = "", audit: Sequence[Record] = ()
    ) -> tuple[bool, MessageRow | None]:
        """Cancel a message that has not been sent; `audit` is committed with it."""


# Asks the carrier of a message that has left to cancel it, for the caller with this SPIFFE ID; returns when what the
# carrier said is on disk. Raises WrongState or Unavailable.
CancelAtCarrier: TypeAlias = Callable[[MessageRow, str], Awaitable[None]]


async def too_late(row: MessageRow, by: str) -> None:
    """Ask no carrier. Raises WrongState."""
    del by
    raise _too_late(State(row.state))


class Reading:
    """Looks messages up and withdraws them. `now` gives microseconds since the Unix epoch."""

    def __init__(
        self,
        *,
        store: MessageReader,
        box: PayloadBox,
        keys: IndexKeys,
        cursors: Cursors,
        now: Callable[[], int],
        cancel_at_carrier: CancelAtCarrier = too_late,
        damage: Damage = LOGGED,
    ) -> None:
        self._damage = damage
        self._cancel_at_carrier = cancel_at_carrier
        self._store = store
        self._box = box
        self._keys = keys
        self._cursors = cursors
        self._now = now

    async def get(self, tenant: str, message_id: str) -> message_pb2.Message:
        """Return one message. Raises NotFound, also for another tenant's."""
        return await self._opened(await find_row(self._store, tenant, message_id))

    async def cancel(self, caller: Caller, message_id: str, audit: CallDecision) -> message_pb2.Message:
        """Withdraw a message; one that is withdrawn already is returned as it is. One that has left is withdrawn at its
        carrier. Raises NotFound, WrongState or Unavailable.

        The permission that `audit` holds is committed with it.
        """
        wanted, now = _parse_id(message_id), self._now()
        try:
            done, row = await self._store.cancel(caller.tenant, wanted, now, caller.spiffe_id, audit.take())
        except GatewayError:
            audit.give_back()
            raise
        if row is None:
            raise _not_found()
        if not done and row.state in _HAVE_LEFT:
            await self._cancel_at_carrier(row, caller.spiffe_id)
            row = await self._store.get_message(caller.tenant, wanted) or row
        if row.state != State.CANCELLED:
            raise _too_late(State(row.state))
        return await self._opened(row)

    async def page(
        self, tenant: str, request: message_service_pb2.ListMessagesRequest
    ) -> message_service_pb2.ListMessagesResponse:
        """Return a page of messages, newest first. It is bounded by the rows that are looked at, too: it may be short,
        and have a next one. Raises InvalidRequest."""
        size = _page_size(request.page_size)
        where = self._filter(request)
        filters = (bytes(where.states), *where.recipient_hashes)
        before = self._cursors.page_before(tenant, filters, request.page_token) if request.page_token else None
        reach = None
        if where.states and not where.recipient_hashes:  # which may be in none of millions
            reach = await self._store.list_reach(tenant, before, MAX_ROWS)
        rows = await self._store.list_messages(tenant, where._replace(down_to=reach or b""), before, size + 1)
        if self._box.opens:
            await self._box.ready(row.envelope for row in rows[:size])
        response = message_service_pb2.ListMessagesResponse()
        octets = 0
        for row in rows[:size]:
            message = to_message(row, self._box, self._damage)
            octets += message.ByteSize()
            if octets > _MAX_PAGE_BYTES:
                break
            response.messages.append(message)
        shown = len(response.messages)
        if shown < len(rows):
            response.next_page_token = self._cursors.page_token(tenant, filters, rows[shown - 1].id)
        elif reach is not None:
            response.next_page_token = self._cursors.page_token(tenant, filters, reach)
        return response

    async def _opened(self, row: MessageRow) -> message_pb2.Message:
        if self._box.opens:
            await self._box.ready((row.envelope,))
        return to_message(row, self._box, self._damage)

    def _filter(self, request: message_service_pb2.ListMessagesRequest) -> ListFilter:
        states = tuple(sorted({int(state) for state in request.states}))
        if not _STATES.issuperset(states):
            raise InvalidRequest((FieldViolation("states", "has a state that does not exist", "STATE_INVALID"),))
        if not request.recipient:
            return ListFilter(states, ())
        if not is_e164(request.recipient):
            text = "must be a number in E.164, such as +4915112345678, or empty"
            raise InvalidRequest((FieldViolation("recipient", text, "RECIPIENT_INVALID"),))
        return ListFilter(states, self._keys.recipient_hashes(request.recipient))


async def find_row(store: RowReader, tenant: str, message_id: str) -> MessageRow:
    """Return one message. Raises NotFound, also for another tenant's, and InvalidRequest for what is no id."""
    row = await store.get_message(tenant, _parse_id(message_id))
    if row is None:
        raise _not_found()
    return row


def _page_size(asked: int) -> int:
    if asked > MAX_PAGE:
        text = f"must be 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}"
        raise InvalidRequest((FieldViolation("page_size", text, "PAGE_SIZE_INVALID"),))
    return asked or DEFAULT_PAGE


def _parse_id(text: str) -> bytes:
    try:
        return from_text(text)
    except ValueError:
        violation = FieldViolation("message_id", "must be the id as it was returned: a UUID", "MESSAGE_ID_INVALID")
        raise InvalidRequest((violation,)) from None


def _not_found() -> NotFound:
    return NotFound("there is no such message", reason="MESSAGE_NOT_FOUND")


def _too_late(state: State) -> WrongState:
    if state in FINAL:
        return WrongState(f"the message is {state.name}, which is final", reason="ALREADY_FINAL")
    return WrongState(f"the message is {state.name}: it has left, or may have left", reason="ALREADY_SENT")
