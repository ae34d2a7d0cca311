"""Authorization of calls: the guard that asks the policies, the actions it asks about, and how a denial is told.

Messages of a send are asked about one by one in `gateway.api.sending`, which tells denials in the same words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gateway.admins import PEER_NAME
from gateway.api.methods import METHODS, Method, Permission
from gateway.errors import PermissionDenied
from gateway.policy.authorizer import Authorizer
from gateway.policy.engine import Decision
from gateway.policy.requests import client_address

if TYPE_CHECKING:  # the guard is one of those that it imports
    from gateway.api.interceptors import Call

POLICY_DENIED = "POLICY_DENIED"


def action_of(name: str) -> str:
    """Return the action that policies know a method by: `/smsgw.v1.MessageService/GetMessage` is
    `MessageService.GetMessage`."""
    service, _, method = name.rpartition("/")
    return f"{service.rpartition('.')[2]}.{method}"


def call_actions(table: Mapping[str, Method] = METHODS) -> dict[str, str]:
    """Return the action of each method and the group it belongs to, which is its row's permission.

    Raises ValueError when two methods would be one action.
    """
    actions: dict[str, str] = {}
    for row in table.values():
        action = action_of(row.name)
        if action in actions:
            raise ValueError(f"two methods of the table are the action {action}: name one of their services otherwise")
        actions[action] = str(row.permission)
    return actions


def denial(action: str, decision: Decision) -> PermissionDenied:
    """Return what a caller is told of a denial: which policy, and why it decides so; nothing of its contents."""
    return PermissionDenied(
        decision.text(action),
        reason=POLICY_DENIED,
        metadata={"policy_id": decision.policy_id, "reason": decision.reason.value, "action": action},
    )


def _of_another_sort(call: Call) -> PermissionDenied:
    peer = call.caller.tenant == PEER_NAME
    who = "a node of the site, and may fetch the deny list only" if peer else "no node of the site"
    return PermissionDenied(
        f"{call.caller.spiffe_id} is {who}: revocation.followers names those that are",
        reason="NODE_IDENTITY" if peer else "NOT_A_NODE",
        metadata={"spiffe_id": call.caller.spiffe_id},
    )


class AuthorizationGuard:
    """Asks whether the caller may make this call; for a stream again with every message, since time goes on."""

    def __init__(self, authorizer: Authorizer, clock: Callable[[], dt.datetime]) -> None:
        self._authorizer = authorizer
        self._clock = clock
        self._actions = {name: action_of(name) for name in METHODS}

    def enter(self, call: Call) -> None:
        """Set `call.address`, `call.decision` and `call.asked_at`.

        Raises PermissionDenied, and what an evaluation's price raises.
        """
        if (call.caller.tenant == PEER_NAME) is not (call.method.permission is Permission.PEER_FOLLOW):
            raise _of_another_sort(call)  # no policy can be asked about it
        call.address = client_address(call.peer)
        self._ask(call)

    def message(self, call: Call) -> None:
        """Ask again. Raises like `enter`."""
        self._ask(call)

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do."""

    def _ask(self, call: Call) -> None:
        action = self._actions[call.method.name]
        now = call.asked_at = int(self._clock().timestamp() * 1_000_000)
        decision = call.decision = self._authorizer.call(call.caller, action, call.address, now)
        if not decision.allowed:
            self._authorizer.denied(action, decision)
            raise denial(action, decision)
