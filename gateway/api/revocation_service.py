"""smsgw.v1.RevocationService: operators change the deny list, other nodes follow it. The list itself is
`gateway.revocation`'s."""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from gateway.api.interceptors import Call, Context, current_call
from gateway.api.operating import Acts, reason_of
from gateway.api.revocation_requests import as_entries, as_revocation
from gateway.errors import FieldViolation, InvalidRequest, NotFound, Overloaded, ShuttingDown, Unavailable, WrongState
from gateway.revocation.dating import Dating
from gateway.revocation.entries import Denials, DenyList, Entry
from gateway.revocation.errors import BadEntry, DenyListError, DenyListFull, UnknownEntry
from gateway.revocation.publishing import Publisher
from gateway.revocation.standing import Standing
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceServicer

DEFAULT_PAGE = 100
MAX_PAGE = 500
_FULL_RETRY_S = 3600.0  # until an operator has made room
_LOOK_S = 15.0  # an idle stream looks at its caller's certificate this often


class RevocationService(RevocationServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, standing: Standing, dating: Dating, acts: Acts) -> None:
        self._standing = standing
        self._publisher = standing.publisher
        self._status = standing.status
        self._dating = dating
        self._acts = acts
        self._followers: Counter[str] = Counter()  # by SPIFFE ID: bounded by the configuration
        self._closed = asyncio.Event()

    def close(self) -> None:
        """The node is going down: the streams end."""
        self._closed.set()

    async def Revoke(self, request: pb.RevokeRequest, context: Context) -> pb.RevokeResponse:
        """Refuse what is named, from now on."""
        publisher, call, reason = self._signing(), current_call.get(), reason_of(request.reason)
        entries = as_entries(request, self._dating, by=call.caller.spiffe_id, reason=reason, now=self._acts.now())
        if not request.including_me:
            _spare(call, entries)
        await self._acts.tell_all([self._acts.revocation(call, entry) for entry in entries])
        self._standing.spare(call)  # it is to be told how this ended, also when it refuses itself
        deny = await _changed(publisher, entries, ())
        ids = {entry.id for entry in entries}
        revoked = [as_revocation(entry) for entry in deny.entries if entry.id in ids]
        return pb.RevokeResponse(revocations=revoked, version=deny.version)

    async def Restore(self, request: pb.RestoreRequest, context: Context) -> pb.RestoreResponse:
        """Take a revocation back."""
        publisher, call, reason = self._signing(), current_call.get(), reason_of(request.reason)
        entry = next((entry for entry in publisher.deny.entries if entry.id == request.id), None)
        if entry is None:
            raise NotFound("there is no such revocation: see the list", reason="REVOCATION_NOT_FOUND")
        await self._acts.tell_all([self._acts.revocation(call, entry, restored=reason)])
        return pb.RestoreResponse(version=(await _changed(publisher, (), [entry.id])).version)

    async def ListRevocations(self, request: pb.ListRevocationsRequest, context: Context) -> pb.ListRevocationsResponse:
        """Return a page of what is revoked."""
        size = request.page_size or DEFAULT_PAGE
        if size > MAX_PAGE:
            raise _wrong("page_size", f"must be 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}", "PAGE_SIZE_INVALID")
        entries = self._status.deny.entries
        first = _after(entries, request.page_token)
        page = entries[first : first + size]
        response = pb.ListRevocationsResponse(revocations=map(as_revocation, page), status=self._told())
        if first + size < len(entries):
            response.next_page_token = page[-1].id
        return response

    async def WatchDenyList(
        self, request: pb.WatchDenyListRequest, context: Context
    ) -> AsyncIterator[pb.WatchDenyListResponse]:
        """Yield the signed list, its changes, and each fresh signature."""
        publisher, call, known = self._signing(), current_call.get(), request.known_version
        self._followers[call.caller.spiffe_id] += 1
        try:
            while True:
                changed = publisher.changed()
                version, signed = publisher.deny.version, publisher.signed
                yield pb.WatchDenyListResponse(head=signed.head, entries=None if version == known else signed.body)
                known = version
                while not changed.is_set():
                    await self._sleep(changed)
                    call.message()
        finally:
            self._followers[call.caller.spiffe_id] -= 1

    async def _sleep(self, changed: asyncio.Event) -> None:
        """Return when there is something new, or when it is time to look at the caller again. Raises Unavailable when
        the node goes down."""
        waits = [asyncio.ensure_future(event.wait()) for event in (changed, self._closed)]
        try:
            await asyncio.wait(waits, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._closed.is_set():
            raise ShuttingDown(retry_after_s=1.0)

    async def GetDenyList(self, request: pb.GetDenyListRequest, context: Context) -> pb.GetDenyListResponse:
        """Return the signed list."""
        publisher = self._signing()
        known = request.known_version == publisher.deny.version
        signed = publisher.signed
        return pb.GetDenyListResponse(head=signed.head, entries=None if known else signed.body)

    def _signing(self) -> Publisher:
        """Return who signs. Raises WrongState on a node that follows."""
        if self._publisher is None:
            text = f"this node follows the deny list of {self._status.source}: ask that one"
            raise WrongState(text, reason="NOT_THE_PUBLISHER")
        return self._publisher

    def _told(self) -> pb.DenyListStatus:
        status = self._status
        told = pb.DenyListStatus(
            version=status.deny.version,
            entries=len(status.deny.entries),
            digest=status.digest,
            publisher=self._publisher is not None,
            stale=status.stale,
            followers=sorted(name for name, streams in self._followers.items() if streams > 0),
        )
        if status.signed_at:
            told.signed_at.FromMicroseconds(status.signed_at)
        return told


async def _changed(publisher: Publisher, added: list[Entry] | tuple[()], removed: list[str] | tuple[()]) -> DenyList:
    """Change the list. Raises what a caller is told."""
    try:
        return await publisher.change(added, removed)
    except BadEntry as error:
        raise _wrong("targets", str(error), "TARGET_INVALID") from error
    except UnknownEntry as error:
        raise NotFound(str(error), reason="REVOCATION_NOT_FOUND") from error
    except DenyListFull as error:
        raise Overloaded(str(error), retry_after_s=_FULL_RETRY_S, reason="DENY_LIST_FULL") from error
    except DenyListError as error:
        raise Unavailable(str(error), reason="DENY_LIST_UNAVAILABLE") from error


def _spare(call: Call, entries: list[Entry]) -> None:
    """Raise WrongState (WOULD_REFUSE_YOU) for entries that refuse whoever asks for them."""
    if Denials(DenyList(entries=tuple(entries))).deny(call.caller):
        raise WrongState(
            f"this would refuse you, {call.caller.spiffe_id}, and you could not take it back; say that you mean it "
            "(including_me, `smsgw revoke --including-me`)",
            reason="WOULD_REFUSE_YOU",
        )


def _after(entries: tuple[Entry, ...], token: str) -> int:
    if not token:
        return 0
    for at, entry in enumerate(entries):
        if entry.id == token:
            return at + 1
    raise _wrong("page_token", "is not that of a page before, or its entry is gone: begin again", "PAGE_TOKEN_INVALID")


def _wrong(field: str, text: str, reason: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, text, reason),))
