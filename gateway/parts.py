"""Groups of parts of a node that others are built with, and its clock.

Only what several assemblies need; who gets what is `gateway.composition`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from certs.bundle import JoinedTrust
from certs.federation.federation import Federation
from gateway import key_assembly
from gateway.api.cursors import Cursors
from gateway.api.limiting import CallLimits
from gateway.own_identity import OwnIdentity
from gateway.policy.authorizer import Authorizer
from gateway.records import IndexKeys
from gateway.revocation.calls import RevokedCalls
from gateway.sealing.box import SealingBox
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.upkeep import KeyUpkeep


def now_us() -> int:
    """Return the time: microseconds since the Unix epoch."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What payloads are sealed with, and what rows are found by."""

    sealing: key_assembly.SealingKeys
    data: DataKeys
    upkeep: KeyUpkeep
    box: SealingBox
    index: IndexKeys
    cursors: Cursors


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """What decides about callers, and who they are."""

    identity: OwnIdentity
    federation: Federation
    trust: JoinedTrust  # of both: whom the node believes
    limits: CallLimits
    authorizer: Authorizer
    revoked: RevokedCalls
