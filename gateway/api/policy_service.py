"""smsgw.v1.PolicyService: which policies decide, and what a candidate would decide otherwise."""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.api.interceptors import Context
from gateway.policy.shadow import Difference, Shadow
from smsgw.v1 import policy_service_pb2 as pb
from smsgw.v1.policy_service_pb2_grpc import PolicyServiceServicer

_OUTCOMES = {
    "allow": pb.POLICY_OUTCOME_ALLOW,
    "deny": pb.POLICY_OUTCOME_DENY,
    "error": pb.POLICY_OUTCOME_ERROR,
}


class InForce(Protocol):
    """What is needed of `gateway.policy.authorizer.Authorizer`."""

    @property
    def epoch(self) -> str:
        """The digest of the set in force."""

    @property
    def policies(self) -> int:
        """How many policies it has."""


class Compared(Protocol):
    """What is needed of `gateway.policy.shadowing.Shadowing`."""

    @property
    def shadow(self) -> Shadow | None:
        """The comparison under way."""

    @property
    def problem(self) -> str:
        """Why the candidate that is configured is not used."""


class PolicyService(PolicyServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, in_force: InForce, compared: Compared) -> None:
        self._in_force = in_force
        self._compared = compared

    async def GetPolicies(self, request: pb.GetPoliciesRequest, context: Context) -> pb.GetPoliciesResponse:
        """Return the set in force, and how the candidate compares with it."""
        in_force = pb.PolicySet(digest=self._in_force.epoch, policies=self._in_force.policies)
        return pb.GetPoliciesResponse(in_force=in_force, shadow=_shadow(self._compared))


def _shadow(compared: Compared) -> pb.PolicyShadow | None:
    shadow = compared.shadow
    if shadow is None:
        return pb.PolicyShadow(problem=compared.problem) if compared.problem else None
    return pb.PolicyShadow(
        candidate=pb.PolicySet(digest=shadow.epoch, policies=shadow.policies),
        since=_time(shadow.since),
        counts=[
            pb.PolicyCount(action=action, live=_OUTCOMES[live], shadow=_OUTCOMES[other], count=count)
            for (action, live, other), count in sorted(shadow.counts.items())
        ],
        not_compared=shadow.not_compared,
        differences=[_difference(row) for row in shadow.differences],
        unlisted=shadow.unlisted,
    )


def _difference(row: Difference) -> pb.PolicyDifference:
    return pb.PolicyDifference(
        action=row.action,
        live=_OUTCOMES[row.live],
        live_policies=row.live_policies,
        shadow=_OUTCOMES[row.shadow],
        shadow_policies=row.shadow_policies,
        count=row.count,
        first_at=_time(row.first_at),
        last_at=_time(row.last_at),
        spiffe_id=row.spiffe_id,
        tenant=row.tenant,
        country=row.country,
        carrier=row.carrier,
    )


def _time(at: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(at)
    return stamp
