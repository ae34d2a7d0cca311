"""smsgw.v1.AuditService: each RPC in a line or two. The work is in `gateway.api.proving`."""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from typing import Protocol

from gateway.api.interceptors import Context, current_call
from gateway.api.proving import ProofStore, Proving
from gateway.payload import PayloadBox
from gateway.proving.log import Asked, LogStore, StoredLog
from smsgw.v1 import audit_service_pb2 as pb
from smsgw.v1.audit_service_pb2_grpc import AuditServiceServicer


class AuditService(AuditServiceServicer):
    """The servicer. Its methods run behind `gateway.api.serving` only."""

    def __init__(self, proving: Proving) -> None:
        self._proving = proving

    async def GetMessageProof(self, request: pb.GetMessageProofRequest, context: Context) -> pb.GetMessageProofResponse:
        """Return what the log proves of a message of the caller's tenant."""
        tenant = current_call.get().caller.tenant
        receipt = await self._proving.receipt(tenant, request.message_id, including_lists=request.include_sending)
        return pb.GetMessageProofResponse(receipt=receipt)


class AuditedStore(ProofStore, LogStore, Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""


def audit_service(store: AuditedStore, box: PayloadBox, asked: Asked | None) -> AuditService:
    """Return the service of a node; `asked`: what is asked of checkpoints, None for a deployment that keeps no log."""
    log = None if asked is None else StoredLog(store, asked)
    return AuditService(Proving(store=store, box=box, log=log))
