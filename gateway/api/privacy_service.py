"""smsgw.v1.PrivacyService: what one person may ask for. The work is `gateway.privacy`'s.

A number comes in, and goes out to nobody but the operator who named it. The record of an export or erasure, with the
permission of the call, is on disk before anything is sent or changed.
"""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from carrier.errors import TextError
from carrier.inbound import assemble
from gateway.api.convert import opened_message, timestamp
from gateway.api.interceptors import Context, current_call
from gateway.api.operating import Acts, reason_of
from gateway.api.unreadable import Damage
from gateway.audit.records import PrivacyActed
from gateway.destinations import is_e164
from gateway.errors import FieldViolation, InvalidRequest, Unsupported
from gateway.ids import to_text
from gateway.privacy.person import Found, FoundInbound, FoundMessage, Kept, Persons, unfinished
from gateway.privacy.rekeying import KeyStanding, Rekeying
from gateway.privacy.retiring import Standing
from gateway.records import content_of
from gateway.store.erasure import KeptEvent, KeptReceipt
from smsgw.v1 import message_pb2
from smsgw.v1 import privacy_service_pb2 as pb
from smsgw.v1.privacy_service_pb2_grpc import PrivacyServiceServicer

_ITEMS = 50  # of one response
_DIGITS = 5  # in a row: a reason that has more of them may hold a number


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyServiceParts:
    """What the composition root hands to the service."""

    persons: Persons
    rekeying: Rekeying
    acts: Acts
    node: str
    late_s: Callable[[], float]  # of the retention
    opens: bool  # whether this node opens what is sealed
    damage: Damage


class PrivacyService(PrivacyServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, parts: PrivacyServiceParts) -> None:
        self._parts = parts
        self._persons = parts.persons

    async def ExportRecipient(
        self, request: pb.ExportRecipientRequest, context: Context
    ) -> AsyncIterator[pb.ExportRecipientResponse]:
        """Send all that is kept of a recipient."""
        number, tenant, reason = self._asked(request.recipient, request.tenant, request.reason)
        await self._record("exported", await self._persons.find(number, tenant), tenant, reason)
        response = pb.ExportRecipientResponse()
        async for found in self._persons.tell(number, tenant):
            response.items.append(_item(found, self._parts.damage))
            if len(response.items) == _ITEMS:
                yield response
                response = pb.ExportRecipientResponse()
        yield response

    async def EraseRecipient(self, request: pb.EraseRecipientRequest, context: Context) -> pb.EraseRecipientResponse:
        """Erase what is kept of a recipient, or count it."""
        number, tenant, reason = self._asked(request.recipient, request.tenant, request.reason)
        kept = await self._persons.find(number, tenant)
        if request.dry_run:
            return pb.EraseRecipientResponse(
                messages=kept.number - kept.unfinished, inbound_parts=len(kept.parts), unfinished=kept.unfinished
            )
        if kept.unfinished and not request.cancel_unfinished:
            raise unfinished(kept.unfinished)
        by = await self._record("erased", kept, tenant, reason)
        done = await self._persons.erase(
            number, tenant, cancel=request.cancel_unfinished, compact=request.compact, by=by
        )
        response = pb.EraseRecipientResponse(
            messages=done.messages,
            inbound_parts=done.inbound,
            receipts=done.receipts,
            cancelled=done.cancelled,
            unfinished=done.unfinished,
            keys=map(_key, done.keys),
            holds=done.holds,
            remains=[pb.Remainder(what=left.what, where=left.where, until=left.until) for left in done.remains],
            backups_unreadable=not done.unfinished and all(key.destroyed for key in done.keys),
        )
        if done.unfinished_until:
            response.unfinished_until.CopyFrom(timestamp(done.unfinished_until))
        if done.hashes_until:
            response.hashes_until.CopyFrom(timestamp(done.hashes_until))
        return response

    async def GetPrivacyStatus(
        self, request: pb.GetPrivacyStatusRequest, context: Context
    ) -> pb.GetPrivacyStatusResponse:
        """Return how it stands with what is to go."""
        keys = await self._persons.standing()
        index_keys = await self._parts.rekeying.standing()
        return pb.GetPrivacyStatusResponse(
            retention_late_s=self._parts.late_s(), keys=map(_key, keys), index_keys=map(_index_key, index_keys)
        )

    def _asked(self, recipient: str, tenant: str, why: str) -> tuple[str, str, str]:
        """Return number, tenant and reason. Raises InvalidRequest, and Unsupported on a node that only accepts."""
        if not self._parts.opens:
            text = "this node only accepts, and opens nothing that is stored: ask one that relays"
            raise Unsupported(text, reason="NODE_ONLY_ACCEPTS")
        if not is_e164(recipient):
            raise _wrong("recipient", "must be a number in E.164, such as +4915112345678", "RECIPIENT_INVALID")
        reason = reason_of(why)
        if recipient.removeprefix("+") in "".join(c for c in reason if c.isdigit()):
            raise _wrong("reason", "holds the number, and is recorded for good: name a ticket", "REASON_PERSONAL")
        return recipient, tenant, reason

    async def _record(self, what: str, kept: Kept, tenant: str, reason: str) -> str:
        """Put it on record; the SPIFFE ID of who does it."""
        call, acts = current_call.get(), self._parts.acts
        record = PrivacyActed(
            acts.now(),
            self._parts.node,
            call.caller.spiffe_id,
            what,
            tenant,
            kept.number,
            kept.unfinished,
            len(kept.parts),
            reason,
        )
        await acts.tell_all([record])
        return call.caller.spiffe_id


def _wrong(field: str, text: str, reason: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, text, reason),))


def _key(standing: Standing) -> pb.RetiringKey:
    key = pb.RetiringKey(key_id=standing.key_id.hex(), destroyed=standing.destroyed, why=standing.why)
    if standing.until:
        key.until.CopyFrom(timestamp(standing.until))
    return key


def _index_key(standing: KeyStanding) -> pb.IndexKey:
    use = standing.use
    key = pb.IndexKey(
        version=standing.version.hex(),
        newest=standing.newest,
        configured=standing.configured,
        messages=use.messages,
        unrecoverable=use.unrecoverable,
        others=use.keys + use.receipts + use.holds,
        removable=standing.removable,
        why=standing.why,
    )
    if standing.removable_at:
        key.removable_at.CopyFrom(timestamp(standing.removable_at))
    return key


def _item(found: Found, damage: Damage) -> pb.PersonalItem:
    if isinstance(found, FoundMessage):
        return pb.PersonalItem(message=_message(found, damage))
    if isinstance(found, FoundInbound):
        return pb.PersonalItem(inbound=_inbound(found))
    if isinstance(found, KeptReceipt):
        return pb.PersonalItem(
            receipt=pb.PersonalReceipt(
                time=timestamp(found.at),
                carrier=found.carrier,
                carrier_message_id=found.carrier_id,
                status=found.stat,
                network_error=found.network_error,
                message_id=to_text(found.message_id) if found.message_id else "",
            )
        )
    return pb.PersonalItem(
        hold=pb.PersonalHold(
            tenant=found.selection.tenant,
            held_at=timestamp(found.at),
            held_by=found.by,
            held_because=found.reason,
        )
    )


def _message(found: FoundMessage, damage: Damage) -> pb.PersonalMessage:
    message = pb.PersonalMessage(
        tenant=found.row.tenant,
        owner=found.row.owner,
        recipient="" if found.envelope is None else found.envelope.recipient,
        message=opened_message(found.row, found.envelope),
        events=map(_event, found.events),
    )
    if found.closed is not None:
        message.unreadable = damage.why(to_text(found.row.id), found.closed)
        if found.envelope is None and found.row.envelope:
            message.message.unreadable = message.unreadable
            message.message.recipient_removed = True
    if found.content is not None:
        message.content.CopyFrom(message_pb2.Content.FromString(content_of(found.content)))
    return message


def _event(event: KeptEvent) -> pb.PersonalEvent:
    told = pb.PersonalEvent(
        time=timestamp(event.at),
        state=event.state,  # type: ignore[arg-type]  # the stubs' enum is a class of its own
        carrier=event.carrier,
    )
    if event.reason_code or event.smpp_status is not None or event.network_error:
        told.reason.CopyFrom(
            message_pb2.Reason(code=event.reason_code, smpp_status=event.smpp_status, network_error=event.network_error)
        )
    return told


def _inbound(found: FoundInbound) -> pb.PersonalInbound:
    message = pb.PersonalInbound(tenant=found.tenant, inbound_id=to_text(found.id), complete=found.complete)
    if found.parts:
        message.sender, message.recipient = found.parts[0].sender, found.parts[0].recipient
        try:
            content = assemble(found.parts)
        except TextError:
            return message
        if isinstance(content, str):
            message.text = content
        else:
            message.binary.data = content.data
            message.binary.data_coding = content.data_coding
            message.binary.user_data_header = content.udh
    return message
