"""The method table: what each RPC needs and costs, and how it is audited.

A method of a registered service that has no row stops the server from starting; a call of a method without a row is
refused. Policies, limits and the audit read their part of the row from here, and nowhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple


class Permission(enum.StrEnum):
    """What a caller must be allowed to do: the actions that policies name."""

    SEND = "message:send"
    ESTIMATE = "message:estimate"
    READ = "message:read"
    CANCEL = "message:cancel"
    PROVE = "message:prove"
    WATCH = "event:watch"
    USAGE = "usage:read"
    HEALTH = "node:health"
    # On the administrative address:
    ADMIN_READ = "admin:read"
    ADMIN_OPERATE = "admin:operate"
    ADMIN_TRACE = "admin:trace"
    ADMIN_RELOAD = "admin:reload"
    ADMIN_KEYS = "admin:keys"
    ADMIN_PURGE = "admin:purge"
    ADMIN_FIND = "admin:find"
    ADMIN_USAGE = "admin:usage"
    ADMIN_EXPORT = "admin:export"
    ADMIN_ERASE = "admin:erase"
    ADMIN_REVOKE = "admin:revoke"
    # On the same one, of other nodes:
    PEER_FOLLOW = "peer:follow"


class AuditClass(enum.StrEnum):
    """How the audit treats the decision about a call."""

    CHANGE = "change"  # every decision is recorded
    READ = "read"  # denials are recorded, permissions are counted
    NONE = "none"  # only denials are recorded


class Method(NamedTuple):
    """One row. A NamedTuple: it is read on every call."""

    name: str  # /package.Service/Method
    permission: Permission
    cost: int  # tokens of the caller's bucket for the call itself; messages in it are counted apart
    audit: AuditClass
    request_stream: bool = False
    response_stream: bool = False


class MethodShape(NamedTuple):
    """What a registered handler is."""

    request_stream: bool
    response_stream: bool


_MESSAGES = "/smsgw.v1.MessageService/"
_AUDIT = "/smsgw.v1.AuditService/"
_CARRIERS = "/smsgw.v1.CarrierService/"
_QUEUES = "/smsgw.v1.QueueService/"
_POLICIES = "/smsgw.v1.PolicyService/"
_NODE = "/smsgw.v1.NodeService/"
_KEYS = "/smsgw.v1.KeyService/"
_REVOCATIONS = "/smsgw.v1.RevocationService/"
_USAGE = "/smsgw.v1.UsageService/"
_REPORTS = "/smsgw.v1.UsageReportService/"
_PRIVACY = "/smsgw.v1.PrivacyService/"
_HEALTH = "/grpc.health.v1.Health/"

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(_MESSAGES + "SendMessage", Permission.SEND, 1, AuditClass.CHANGE),
        Method(_MESSAGES + "SendMessages", Permission.SEND, 1, AuditClass.CHANGE),
        Method(_MESSAGES + "StreamMessages", Permission.SEND, 1, AuditClass.CHANGE, True, True),
        Method(_MESSAGES + "EstimateMessage", Permission.ESTIMATE, 1, AuditClass.NONE),
        Method(_MESSAGES + "GetPayloadKeys", Permission.SEND, 1, AuditClass.NONE),
        Method(_MESSAGES + "GetMessage", Permission.READ, 1, AuditClass.READ),
        Method(_MESSAGES + "ListMessages", Permission.READ, 10, AuditClass.READ),
        Method(_MESSAGES + "CancelMessage", Permission.CANCEL, 1, AuditClass.CHANGE),
        Method(_MESSAGES + "WatchEvents", Permission.WATCH, 10, AuditClass.READ, False, True),
        Method(_AUDIT + "GetMessageProof", Permission.PROVE, 10, AuditClass.READ),
        Method(_USAGE + "GetUsage", Permission.USAGE, 10, AuditClass.READ),
        Method(_CARRIERS + "GetCarriers", Permission.ADMIN_READ, 1, AuditClass.READ),
        Method(_CARRIERS + "PauseCarrier", Permission.ADMIN_OPERATE, 1, AuditClass.CHANGE),
        Method(_CARRIERS + "DrainCarrier", Permission.ADMIN_OPERATE, 1, AuditClass.CHANGE),
        Method(_CARRIERS + "ResumeCarrier", Permission.ADMIN_OPERATE, 1, AuditClass.CHANGE),
        Method(_CARRIERS + "RebindCarrier", Permission.ADMIN_OPERATE, 1, AuditClass.CHANGE),
        Method(_CARRIERS + "TraceCarrier", Permission.ADMIN_TRACE, 10, AuditClass.CHANGE, False, True),
        Method(_QUEUES + "GetQueues", Permission.ADMIN_READ, 1, AuditClass.READ),
        Method(_QUEUES + "PauseMessages", Permission.ADMIN_OPERATE, 1, AuditClass.CHANGE),
        Method(_QUEUES + "ResumeMessages", Permission.ADMIN_OPERATE, 1, AuditClass.CHANGE),
        Method(_QUEUES + "PurgeMessages", Permission.ADMIN_PURGE, 10, AuditClass.CHANGE),
        Method(_QUEUES + "FindMessages", Permission.ADMIN_FIND, 10, AuditClass.CHANGE),
        Method(_REPORTS + "ReportUsage", Permission.ADMIN_USAGE, 10, AuditClass.READ),
        Method(_POLICIES + "GetPolicies", Permission.ADMIN_READ, 1, AuditClass.READ),
        Method(_NODE + "ReloadConfiguration", Permission.ADMIN_RELOAD, 10, AuditClass.CHANGE),
        Method(_KEYS + "ListKeys", Permission.ADMIN_READ, 10, AuditClass.READ),
        Method(_KEYS + "RotateKeys", Permission.ADMIN_KEYS, 10, AuditClass.CHANGE),
        Method(_KEYS + "RewrapKeys", Permission.ADMIN_KEYS, 10, AuditClass.CHANGE),
        Method(_KEYS + "DestroyKeys", Permission.ADMIN_KEYS, 10, AuditClass.CHANGE),
        Method(_REVOCATIONS + "Revoke", Permission.ADMIN_REVOKE, 1, AuditClass.CHANGE),
        Method(_REVOCATIONS + "Restore", Permission.ADMIN_REVOKE, 1, AuditClass.CHANGE),
        Method(_REVOCATIONS + "ListRevocations", Permission.ADMIN_READ, 1, AuditClass.READ),
        Method(_REVOCATIONS + "WatchDenyList", Permission.PEER_FOLLOW, 10, AuditClass.READ, False, True),
        Method(_REVOCATIONS + "GetDenyList", Permission.PEER_FOLLOW, 1, AuditClass.READ),
        Method(_PRIVACY + "ExportRecipient", Permission.ADMIN_EXPORT, 10, AuditClass.CHANGE, False, True),
        Method(_PRIVACY + "EraseRecipient", Permission.ADMIN_ERASE, 10, AuditClass.CHANGE),
        Method(_PRIVACY + "GetPrivacyStatus", Permission.ADMIN_READ, 1, AuditClass.READ),
        Method(_HEALTH + "Check", Permission.HEALTH, 1, AuditClass.NONE),
        Method(_HEALTH + "List", Permission.HEALTH, 1, AuditClass.NONE),
        Method(_HEALTH + "Watch", Permission.HEALTH, 1, AuditClass.NONE, False, True),
    )
}


def check_complete(registered: Mapping[str, MethodShape], table: Mapping[str, Method] = METHODS) -> None:
    """Check that every registered method has its row, and that the row has the handler's shape.

    `registered` maps full method names to what was registered. Raises ValueError that names each method at fault.
    """
    faults = []
    for name, shape in sorted(registered.items()):
        row = table.get(name)
        if row is None:
            faults.append(f"{name} has no row in the method table")
        elif (row.request_stream, row.response_stream) != shape:
            faults.append(f"{name} streams otherwise than its row says")
    if faults:
        raise ValueError("the server cannot start: " + "; ".join(faults))
