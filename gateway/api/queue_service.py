"""smsgw.v1.QueueService: messages that wait, by what they have in common. The work is the queues'.

Recipients come in and never go out: a selection by recipient works on keyed hashes, and what is found is masked.
"""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from certs.errors import BadSpiffeId
from certs.spiffe_id import SpiffeId
from gateway.api.finding import Finding
from gateway.api.interceptors import Context, current_call
from gateway.api.operating import Acts, reason_of
from gateway.destinations import is_e164
from gateway.errors import FieldViolation, InvalidRequest
from gateway.masking import mask_number
from gateway.pipeline.queues import Queues, Size
from gateway.records import IndexKeys
from gateway.states import Category
from gateway.store.operating import MessageHold, Selection
from smsgw.v1 import queue_service_pb2 as pb
from smsgw.v1.queue_service_pb2_grpc import QueueServiceServicer

_CATEGORIES = frozenset(int(category) for category in Category)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueServiceParts:
    """What the composition root hands to the service."""

    queues: Queues
    finding: Finding
    keys: IndexKeys
    tenants: Callable[[], Sequence[str]]  # their names, as they are now
    acts: Acts


class QueueService(QueueServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, parts: QueueServiceParts) -> None:
        self._queues = parts.queues
        self._finding = parts.finding
        self._keys = parts.keys
        self._tenants = parts.tenants
        self._acts = parts.acts

    async def GetQueues(self, request: pb.GetQueuesRequest, context: Context) -> pb.GetQueuesResponse:
        """Return what is held back, and how many messages wait where."""
        sizes = [_size(size) for size in await self._queues.sizes()]
        return pb.GetQueuesResponse(pauses=[_pause(hold) for hold in self._queues.holds], sizes=sizes)

    async def PauseMessages(self, request: pb.PauseMessagesRequest, context: Context) -> pb.PauseMessagesResponse:
        """Hold messages back."""
        selection, reason = self._held(request.selection), reason_of(request.reason)
        record = self._acts.record(current_call.get(), "messages paused", selection=selection, reason=reason)
        shown = mask_number(request.selection.recipient) if request.selection.recipient else ""
        hold = MessageHold(selection, shown, record.at, record.by, reason)
        await self._acts.do(record, lambda audit: self._queues.pause(hold, audit))
        return pb.PauseMessagesResponse(pause=_pause(hold))

    async def ResumeMessages(self, request: pb.ResumeMessagesRequest, context: Context) -> pb.ResumeMessagesResponse:
        """Let messages go on."""
        selection, reason = self._held(request.selection), reason_of(request.reason, required=False)
        record = self._acts.record(current_call.get(), "messages resumed", selection=selection, reason=reason)
        await self._acts.do(record, lambda audit: self._queues.resume(selection, audit))
        return pb.ResumeMessagesResponse()

    async def PurgeMessages(self, request: pb.PurgeMessagesRequest, context: Context) -> pb.PurgeMessagesResponse:
        """Cancel messages that have not left, or count them."""
        call, selection, reason = current_call.get(), self._selected(request.selection), reason_of(request.reason)
        record = self._acts.record(call, "messages purged", selection=selection, reason=reason)
        audit = [] if request.dry_run else call.audit.take()
        try:
            purged = await self._queues.purge(selection, record, audit, dry_run=request.dry_run)
        except Exception:
            call.audit.give_back()
            raise
        return pb.PurgeMessagesResponse(cancelled=purged.cancelled, doubtful=purged.doubtful)

    async def FindMessages(self, request: pb.FindMessagesRequest, context: Context) -> pb.FindMessagesResponse:
        """Return messages of a selection; how many were shown is recorded."""
        selection = self._selected(request.selection)
        response = await self._finding.find(selection, request)
        number = len(response.messages)
        record = self._acts.record(current_call.get(), "messages found", selection=selection, number=number)
        await self._acts.tell(record)
        return response

    def _held(self, asked: pb.MessageSelection) -> Selection:
        """Return a selection to hold back. Raises InvalidRequest."""
        if asked.carrier:
            text = "cannot be part of a pause: pause the carrier, or forbid its use by a policy (UseRoute)"
            raise _wrong("selection.carrier", text, "CARRIER_NOT_SELECTABLE")
        return self._selected(asked)

    def _selected(self, asked: pb.MessageSelection) -> Selection:
        """Return a selection. Raises InvalidRequest for none, and for what there is not."""
        if not (asked.tenant or asked.category or asked.carrier or asked.recipient or asked.owner):
            raise _wrong("selection", "must name a tenant, category, carrier, recipient or owner", "SELECTION_EMPTY")
        if asked.tenant and asked.tenant not in self._tenants():
            raise _wrong("selection.tenant", "is no tenant of the configuration", "TENANT_UNKNOWN")
        if asked.category and int(asked.category) not in _CATEGORIES:
            raise _wrong("selection.category", "is none that exists", "CATEGORY_INVALID")
        if asked.recipient and not is_e164(asked.recipient):
            text = "must be a number in E.164, such as +4915112345678"
            raise _wrong("selection.recipient", text, "RECIPIENT_INVALID")
        hashes = self._keys.recipient_hashes(asked.recipient) if asked.recipient else ()
        return Selection(asked.tenant, int(asked.category), asked.carrier, hashes, _owner(asked.owner))


def _wrong(field: str, text: str, reason: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, text, reason),))


def _owner(text: str) -> str:
    """Return a SPIFFE ID, or "" for none. Raises InvalidRequest."""
    try:
        return str(SpiffeId.parse(text)) if text else ""
    except BadSpiffeId as error:
        raise _wrong("selection.owner", str(error), "OWNER_INVALID") from error


def _pause(hold: MessageHold) -> pb.MessagePause:
    selection = pb.MessageSelection(
        tenant=hold.selection.tenant,
        category=hold.selection.category,  # type: ignore[arg-type]  # the stubs' enum is a class of its own
        recipient=hold.shown,
        owner=hold.selection.owner,
    )
    pause = pb.MessagePause(selection=selection, held_by=hold.by, held_because=hold.reason)
    pause.held_at.FromMicroseconds(hold.at)
    if hold.selection.accepted_until:
        pause.accepted_until.FromMicroseconds(hold.selection.accepted_until)
    return pause


def _size(size: Size) -> pb.QueueSize:
    told = pb.QueueSize(
        category=int(size.category),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
        held=size.held,
        waiting=size.waiting,
        in_memory=size.in_memory,
    )
    if size.oldest_due_at is not None:
        told.oldest_due_at.FromMicroseconds(size.oldest_due_at)
    return told
