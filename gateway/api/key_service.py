"""smsgw.v1.KeyService: the keys under which messages are sealed. The work is `gateway.sealing.custody`'s."""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from gateway.api.interceptors import Context, current_call
from gateway.api.operating import Acts, reason_of
from gateway.errors import FieldViolation, InvalidRequest
from gateway.sealing.custody import Custody
from gateway.sealing.keyring import Selection, Tombstone
from smsgw.v1 import key_service_pb2 as pb
from smsgw.v1.key_service_pb2_grpc import KeyServiceServicer


class KeyService(KeyServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, custody: Custody, acts: Acts, tenants: Callable[[], Sequence[str]]) -> None:
        """`tenants` gives their names, as they are now."""
        self._custody = custody
        self._acts = acts
        self._tenants = tenants

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        """Return what there is."""
        found = await self._custody.list(_selection(request.selection))
        keks = [
            pb.KeyEncryptionKey(id=kek.kek_id, newest=kek.newest, configured=kek.configured, keys=kek.keys)
            for kek in found.keks
        ]
        days = [
            pb.DayOfKeys(
                day=day.day,
                tenant=day.tenant,
                keys=day.keys,
                destroyed=day.destroyed,
                destroyed_last="" if day.last is None else str(day.last),
            )
            for day in found.days
        ]
        return pb.ListKeysResponse(home=found.home, key_encryption_keys=keks, days=days, more=found.more)

    async def RotateKeys(self, request: pb.RotateKeysRequest, context: Context) -> pb.RotateKeysResponse:
        """Have new keys seal from now on."""
        record = self._acts.record(current_call.get(), "keys rotated", reason=reason_of(request.reason))
        await self._acts.tell(record)
        newest, made = await self._custody.rotate(self._tenants())
        return pb.RotateKeysResponse(newest=newest, made=made)

    async def RewrapKeys(self, request: pb.RewrapKeysRequest, context: Context) -> pb.RewrapKeysResponse:
        """Wrap all keys by the newest key-encryption key; the end is recorded with the number."""
        record = self._acts.record(current_call.get(), "keys rewrapped", reason=reason_of(request.reason))
        await self._acts.tell(record)
        done = await self._custody.rewrap()
        self._acts.ended(record._replace(what="keys rewrapped, done", number=done.rewrapped))
        return pb.RewrapKeysResponse(newest=done.newest, rewrapped=done.rewrapped, failed=done.failed, why=done.why)

    async def DestroyKeys(self, request: pb.DestroyKeysRequest, context: Context) -> pb.DestroyKeysResponse:
        """Destroy keys, or count them. That it is about to be done is on record before the first is gone."""
        call, reason = current_call.get(), reason_of(request.reason)
        which = _selection(request.selection)
        if which == Selection():
            raise _wrong("selection", "must name a tenant, days, a node, or several of them", "SELECTION_EMPTY")
        chosen = await self._custody.choose(which)
        if request.dry_run:
            return pb.DestroyKeysResponse(destroyed=len(chosen.key_ids), already=chosen.already)
        await self._custody.end(chosen)
        record = self._acts.record(
            call, "keys destroyed", reason=f"{reason} ({_text(which)})", number=len(chosen.key_ids)
        )._replace(tenant=which.tenant or "")
        await self._acts.tell(record)
        stone = Tombstone(record.at // 1_000_000, call.caller.spiffe_id, reason)
        destroyed = await self._custody.destroy(chosen.key_ids, stone)
        self._acts.ended(record._replace(what="keys destroyed, done", number=destroyed))
        return pb.DestroyKeysResponse(destroyed=destroyed, already=chosen.already)


def _selection(asked: pb.KeySelection) -> Selection:
    """Return a selection. Raises InvalidRequest."""
    return Selection(
        tenant=asked.tenant or None,
        first_day=_day("selection.first_day", asked.first_day),
        last_day=_day("selection.last_day", asked.last_day),
        node=asked.node or None,
    )


def _day(field: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _wrong(field, "must be a day, such as 2026-11-27", "DAY_INVALID") from None


def _text(which: Selection) -> str:
    of = f", of node {which.node}" if which.node else ""
    return f"days {which.first_day or '...'} to {which.last_day or '...'}{of}"


def _wrong(field: str, text: str, reason: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, text, reason),))
