"""The audit of calls: what is recorded of each decision, and when.

    CHANGE   a permission is committed with what the call changes: the handler takes it along (`CallDecision.take`).
             What no change took along is recorded when the call ends, before its answer.
    READ     a permission is recorded, or counted with many like it, before the handler runs
    NONE     permissions leave no record

A denial is recorded or counted before the caller is told. Where no record can be made, the answer is UNAVAILABLE.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.api.authorizing import action_of
from gateway.api.methods import METHODS, AuditClass
from gateway.audit.recorder import Recorder
from gateway.audit.records import Decision
from gateway.errors import GatewayError, Overloaded, PermissionDenied, RateLimited, Unauthenticated
from gateway.identity import presented
from gateway.policy.requests import client_address

if TYPE_CHECKING:  # the guard is one of those that it imports
    from gateway.api.interceptors import Call

_MOST_SERIAL = 80  # characters of what an authority chose
_MOST_POLICY = 256

# Why a message was denied: action, reason, policy.
_Why = tuple[str, str, str]


class CallDecision:
    """The permission of one call, until something takes it into the audit. Belongs to its call."""

    __slots__ = ("_now", "_permission", "_recorder", "_taken")

    def __init__(self, recorder: Recorder, now: Callable[[], int], permission: Decision) -> None:
        self._recorder = recorder
        self._now = now
        self._permission = permission
        self._taken = False

    def take(self, denied: Iterable[GatewayError] = ()) -> list[Decision]:
        """Return what has to be committed with a change: the permission, once, and denials of single messages among
        `denied`, counted by what they have in common. Give it back when the change failed."""
        records = self.left()
        self._taken = True
        return records + self._denials(denied)

    def give_back(self) -> None:
        """The change that took the permission was not made."""
        self._taken = False

    def left(self) -> list[Decision]:
        """Return the permission, unless something has taken it."""
        return [] if self._taken else [self._permission]

    async def record(self, denied: Iterable[GatewayError]) -> None:
        """Record denials of single messages where there is no change to go with. Raises Unavailable."""
        records = self._denials(denied)
        if records:
            await self._recorder.record(records)

    def _denials(self, errors: Iterable[GatewayError]) -> list[Decision]:
        if not errors:  # mostly (hot)
            return []
        reasons = Counter(_why(error, "") for error in errors if isinstance(error, PermissionDenied | RateLimited))
        now = self._now() if reasons else 0
        return [
            self._permission._replace(
                at=now, since=now, allowed=False, action=action, reason=reason, policy=policy, times=times
            )
            for (action, reason, policy), times in reasons.items()
        ]


class AuditGuard:
    """Behind the authorization: takes its decision down, for the handler to take along."""

    def __init__(self, recorder: Recorder, clock: Callable[[], dt.datetime]) -> None:
        self._recorder = recorder
        self._clock = clock
        self._actions = {name: action_of(name) for name in METHODS}

    def enter(self, call: Call) -> None:
        """Set `call.audit`."""
        caller, decision, now = call.caller, call.decision, call.asked_at
        permission = Decision(
            now,
            True,
            caller.spiffe_id,
            caller.tenant,
            caller.serial[:_MOST_SERIAL],
            caller.authority_key_id[:_MOST_SERIAL],
            call.address,
            call.name,
            self._actions[call.name],
            decision.reason.value,
            decision.policy_id[:_MOST_POLICY],
            now,
            1,
        )
        call.audit = CallDecision(self._recorder, self._now, permission)

    def message(self, call: Call) -> None:
        """Nothing to do: what a stream's messages change is recorded with it."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do."""

    def _now(self) -> int:
        return int(self._clock().timestamp() * 1_000_000)


class CallAudit:
    """What waits for the audit, around a call: the part of it that a guard cannot do."""

    def __init__(self, recorder: Recorder, clock: Callable[[], dt.datetime]) -> None:
        self._recorder = recorder
        self._clock = clock

    async def admitted(self, call: Call) -> None:
        """The guards have let the call in. Raises Unavailable."""
        if call.method.audit is AuditClass.READ:
            await self._recorder.record(call.audit.left())

    async def answered(self, call: Call) -> None:
        """The handler is done. Raises Unavailable: then its answer is not given."""
        left = self._left(call)
        if left:
            await self._recorder.record(left)

    async def refused(self, call: Call, error: Exception) -> Exception:
        """The call failed; return what the caller is to be told."""
        records = self._left(call) + self._denial(call, error)
        if not records:
            return error
        try:
            await self._recorder.record(records)
        except GatewayError as unrecorded:
            return unrecorded
        return error

    def abandoned(self, call: Call) -> None:
        """The caller is gone, or the server ends."""
        left = self._left(call)
        if left:
            self._recorder.note(left)

    def _left(self, call: Call) -> list[Decision]:
        if call.let_in and call.method.audit is AuditClass.CHANGE:
            return call.audit.left()
        return []

    def _denial(self, call: Call, error: Exception) -> list[Decision]:
        """Return the record of a refusal: of who somebody is, of what he may do, and by guards, how often."""
        told = Unauthenticated | PermissionDenied | RateLimited
        if isinstance(error, told) or (isinstance(error, Overloaded) and not call.let_in):
            now = int(self._clock().timestamp() * 1_000_000)
            decision = _decision(call, now, False, _why(error, action_of(call.name)))
            if not decision.caller and isinstance(error, PermissionDenied):  # recognised, and of no tenant
                decision = decision._replace(caller=error.metadata.get("spiffe_id", ""))
            if not decision.serial and isinstance(error, Unauthenticated | PermissionDenied):
                serial, key_id = presented(call.context.auth_context())
                serial, key_id = serial[:_MOST_SERIAL], key_id[:_MOST_SERIAL]
                decision = decision._replace(serial=serial, authority_key_id=key_id)
            return [decision]
        return []


def _why(error: GatewayError, action: str) -> _Why:
    details = error.metadata if isinstance(error, PermissionDenied) else {}
    return details.get("action", action), details.get("reason", error.reason), details.get("policy_id", "")


def _decision(call: Call, now: int, allowed: bool, why: _Why) -> Decision:
    """Return the record of a decision about a call, with what is known of its caller."""
    caller = getattr(call, "caller", None)
    address = getattr(call, "address", None)
    action, reason, policy = why
    return Decision(
        now,
        allowed,
        caller.spiffe_id if caller else "",
        caller.tenant if caller else "",
        caller.serial[:_MOST_SERIAL] if caller else "",
        caller.authority_key_id[:_MOST_SERIAL] if caller else "",
        client_address(call.peer) if address is None else address,
        call.name,
        action,
        reason,
        policy[:_MOST_POLICY],
        now,
        1,
    )
