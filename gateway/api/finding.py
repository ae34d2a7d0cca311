"""Finding messages for operators: by recipient or tenant, over all tenants in one order, in bounded steps.

A message's own id says when it was accepted, so the newest of several tenants are the greatest ids of all. A page is
bounded by the rows that are looked at: it may be short, and have a next one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from gateway.api.cursors import Cursors
from gateway.errors import FieldViolation, InvalidRequest
from gateway.ids import to_text
from gateway.states import State
from gateway.store.contract import ListFilter, MessageRow, Store
from gateway.store.operating import Selection
from smsgw.v1 import queue_service_pb2 as pb

DEFAULT_PAGE = 100
MAX_PAGE = 500
MAX_ROWS = 5_000  # that one page looks at
_STEP = 500
LOOK_ROWS = 50_000  # that one step looks at for states, in the database
_STATES = frozenset(int(state) for state in State)


class Finding:
    """Reads the store on behalf of operators, across tenants."""

    def __init__(self, store: Store, cursors: Cursors, tenants: Callable[[], Sequence[str]]) -> None:
        self._store = store
        self._cursors = cursors
        self._tenants = tenants

    async def find(self, selection: Selection, request: pb.FindMessagesRequest) -> pb.FindMessagesResponse:
        """Return a page, newest first. Raises InvalidRequest."""
        size, where = _page_size(request.page_size), ListFilter(_states(request), selection.recipient_hashes)
        if not (selection.tenant or selection.recipient_hashes):
            raise _wrong("selection", "must name a tenant or a recipient", "SELECTION_TOO_WIDE")
        filters = _filters(selection, where)
        before = self._cursors.page_before("", filters, request.page_token) if request.page_token else None
        tenants = (selection.tenant,) if selection.tenant else self._tenants()
        found = pb.FindMessagesResponse()
        for _ in range(MAX_ROWS // _STEP):
            reach = await self._reach(tenants, where, before)
            rows = await self._step(tenants, where._replace(down_to=reach or b""), before)
            for row in rows:
                before = row.id
                if selection.covers(
                    row.tenant, row.category, row.carrier, (*where.recipient_hashes, b"")[0], row.owner, row.id
                ):
                    found.messages.append(_found(row))
                if len(found.messages) == size:
                    found.next_page_token = self._cursors.page_token("", filters, before)
                    return found
            if len(rows) < _STEP:
                if reach is None:
                    return found
                before = reach
        found.next_page_token = self._cursors.page_token("", filters, before or b"")
        return found

    async def _reach(self, tenants: Sequence[str], where: ListFilter, before: bytes | None) -> bytes | None:
        """Return how far one step looks where states are asked for, which may be in none of millions; None for to the
        end. There is one tenant then: see `find`."""
        if not where.states or where.recipient_hashes:
            return None
        return await self._store.list_reach(tenants[0], before, LOOK_ROWS)

    async def _step(self, tenants: Sequence[str], where: ListFilter, before: bytes | None) -> list[MessageRow]:
        lists = [await self._store.list_messages(tenant, where, before, _STEP) for tenant in tenants]
        return list(heapq.merge(*lists, key=lambda row: row.id, reverse=True))[:_STEP]


def _filters(selection: Selection, where: ListFilter) -> list[bytes]:
    """Return what a page token is bound to."""
    fields = [selection.tenant.encode(), bytes([selection.category]), selection.carrier.encode(), bytes(where.states)]
    return [*fields, selection.owner.encode(), *where.recipient_hashes]


def _states(request: pb.FindMessagesRequest) -> tuple[int, ...]:
    states = tuple(sorted({int(state) for state in request.states}))
    if not _STATES.issuperset(states):
        raise _wrong("states", "has a state that does not exist", "STATE_INVALID")
    return states


def _page_size(asked: int) -> int:
    if asked > MAX_PAGE:
        raise _wrong("page_size", f"must be 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}", "PAGE_SIZE_INVALID")
    return asked or DEFAULT_PAGE


def _wrong(field: str, text: str, reason: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, text, reason),))


def _found(row: MessageRow) -> pb.FoundMessage:
    message = pb.FoundMessage(
        message_id=to_text(row.id),
        tenant=row.tenant,
        owner=row.owner,
        category=row.category,  # type: ignore[arg-type]  # the stubs' enum is a class of its own
        state=row.state,  # type: ignore[arg-type]  # as above
        sender=row.sender,
        masked_recipient=row.masked_recipient,
        carrier=row.carrier,
        attempts=row.attempts,
        reason_code=row.reason_code,
        reason_text=row.reason_text,
    )
    message.accepted_at.FromMicroseconds(row.accepted_at)
    if row.done_at is not None:
        message.done_at.FromMicroseconds(row.done_at)
    return message
