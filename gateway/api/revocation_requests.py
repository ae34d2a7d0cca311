"""Entries of the deny list from requests, and back. What a revoked identity's certificates are: `revocation.dating`."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from gateway.errors import FieldViolation, InvalidRequest
from gateway.revocation.dating import Dating, cutoff_of
from gateway.revocation.entries import FOR_GOOD, NEVER, Entry, Queued, What, check
from gateway.revocation.errors import BadEntry
from smsgw.v1 import revocation_service_pb2 as pb

MAX_TARGETS = 1_000
_KNOWN = frozenset(pb.QueuedMessages.values())


def as_entries(request: pb.RevokeRequest, dating: Dating, *, by: str, reason: str, now: int) -> list[Entry]:
    """Return what a request asks for. Raises InvalidRequest for what names nothing, or asks for the impossible."""
    if not 1 <= len(request.targets) <= MAX_TARGETS:
        raise _wrong("targets", f"must name 1 to {MAX_TARGETS}", "TARGETS_INVALID")
    if request.queued not in _KNOWN:
        raise _wrong("queued", "is none that exists", "QUEUED_INVALID")
    entries = []
    for at, target in enumerate(request.targets):
        try:
            entries.append(entry_of(target, int(request.queued), dating, by=by, reason=reason, now=now))
        except BadEntry as error:
            raise _wrong(f"targets[{at}]", str(error), "TARGET_INVALID") from error
    return entries


def entry_of(target: pb.RevocationTarget, queued: int, dating: Dating, *, by: str, reason: str, now: int) -> Entry:
    """Return one entry. Raises BadEntry."""
    kind = target.WhichOneof("target")
    entry = Entry(id=secrets.token_hex(4), what=What.IDENTITY, revoked_at=now, by=by, reason=reason)
    fields: dict[str, Any]
    if kind == "certificate":
        certificate = target.certificate
        fields = {
            "what": What.CERTIFICATE,
            "serial": certificate.serial,
            "authority_key_id": certificate.authority_key_id,
            "spiffe_id": certificate.spiffe_id,
            "ends_at": _end(target.certificate),
        }
    elif kind == "identity":
        fields = _identity(target.identity, dating, now)
    elif kind == "authority":
        fields = {
            "what": What.AUTHORITY,
            "key_hash": target.authority.public_key_sha256,
            "ends_at": _end(target.authority),
        }
    else:
        raise BadEntry("names nothing: a certificate, an identity or an authority")
    whole = check(replace(entry, **fields))
    return replace(whole, queued=_queued(whole, queued))


def _identity(identity: pb.IdentityTarget, dating: Dating, now: int) -> dict[str, Any]:
    fields: dict[str, Any] = {"what": What.IDENTITY, "spiffe_id": identity.spiffe_id, "cutoff": FOR_GOOD}
    if identity.for_good:
        return fields
    dated = dating(identity.spiffe_id.removeprefix("spiffe://").partition("/")[0])
    fields["cutoff"], fields["ends_at"] = cutoff_of(dated, now)
    return fields


def _end(target: pb.CertificateTarget | pb.AuthorityTarget) -> int:
    return max(0, target.not_after.ToMicroseconds()) if target.HasField("not_after") else NEVER


def _queued(entry: Entry, asked: int) -> Queued:
    """Return what becomes of what waits. Raises BadEntry where there is no saying what that is."""
    if not asked:
        return Queued.HOLD if entry.spiffe_id else Queued.KEEP
    queued = Queued(asked)
    if queued is not Queued.KEEP and not entry.spiffe_id:
        raise BadEntry(
            "what waits is found by the SPIFFE ID that sent it, which is not given: name it, or keep what waits "
            "and pause its tenant (`smsgw pause`)"
        )
    return queued


def as_revocation(entry: Entry) -> pb.Revocation:
    """Return an entry as operators see it."""
    told = pb.Revocation(
        id=entry.id,
        target=_target(entry),
        queued=int(entry.queued),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
        revoked_by=entry.by,
        reason=entry.reason,
    )
    told.revoked_at.FromMicroseconds(entry.revoked_at)
    if entry.ends_at != NEVER:
        told.ends_at.FromMicroseconds(entry.ends_at)
    return told


def _target(entry: Entry) -> pb.RevocationTarget:
    if entry.what is What.CERTIFICATE:
        certificate = pb.CertificateTarget(
            serial=entry.serial, authority_key_id=entry.authority_key_id, spiffe_id=entry.spiffe_id
        )
        if entry.ends_at != NEVER:
            certificate.not_after.FromMicroseconds(entry.ends_at)
        return pb.RevocationTarget(certificate=certificate)
    if entry.what is What.AUTHORITY:
        authority = pb.AuthorityTarget(public_key_sha256=entry.key_hash)
        if entry.ends_at != NEVER:
            authority.not_after.FromMicroseconds(entry.ends_at)
        return pb.RevocationTarget(authority=authority)
    identity = pb.IdentityTarget(spiffe_id=entry.spiffe_id, for_good=entry.cutoff == FOR_GOOD)
    if entry.cutoff != FOR_GOOD:
        identity.valid_from_until.FromMicroseconds(entry.cutoff)
    return pb.RevocationTarget(identity=identity)


def _wrong(field: str, text: str, reason: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, text, reason),))
