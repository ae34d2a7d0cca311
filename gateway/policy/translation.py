"""From a question to Cedar's terms: principal, action, resource, context, and the entities around them.

Names go as structures, never as Cedar syntax: nothing in a SPIFFE ID, a sender or a carrier's name can be taken for
more than a name.
"""

from __future__ import annotations

from typing import Any

from gateway.admins import NO_TENANT_NAME, PEER_NAME
from gateway.policy.requests import SEND_ACTIONS, USE_ROUTE, Question, path_entities
from gateway.states import Category

_NO_TENANT = {NO_TENANT_NAME: "Admin", PEER_NAME: "Peer"}  # who belongs to none: neither can be a tenant's name
_SENDS = frozenset(SEND_ACTIONS.values())


def as_request(question: Question) -> dict[str, Any]:
    """Return a question as cedarpy takes it."""
    return {
        "principal": _uid(_NO_TENANT.get(question.tenant, "Caller"), question.spiffe_id),
        "action": _uid("Action", question.action),
        "resource": _resource(question),
        "context": _context(question),
    }


def as_entities(spiffe_id: str, tenant: str, home: str) -> list[dict[str, Any]]:
    """Return the entities that stand around a caller: itself below its tenant and each prefix of its SPIFFE ID, and the
    message that it is about to send; or, without a tenant, the operator or the other node. `home` is the node's trust
    domain. Raises ValueError for an id that has too many segments."""
    paths = path_entities(spiffe_id)
    domain = paths[0].removeprefix("spiffe://")
    path = spiffe_id.removeprefix(paths[0])
    identity = {"trust_domain": domain, "path": path, "federated": domain != home}
    parents = [_uid("Path", prefix) for prefix in paths]
    kind = _NO_TENANT.get(tenant)
    if kind is not None:
        return [{"uid": _uid(kind, spiffe_id), "attrs": identity, "parents": parents}]
    caller, owner = _uid("Caller", spiffe_id), _uid("Tenant", tenant)
    attributes = {"tenant": {"__entity": owner}, **identity}
    message = {"tenant": {"__entity": owner}, "owner": {"__entity": caller}}
    return [
        {"uid": caller, "attrs": attributes, "parents": [owner, *parents]},
        {"uid": _NEW_MESSAGE, "attrs": message, "parents": [owner]},
    ]


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


_NEW_MESSAGE = _uid("Message", "new")
_NODE = _uid("Node", "this")


def _resource(question: Question) -> dict[str, str]:
    if question.action == USE_ROUTE:
        return _uid("Route", question.carrier)
    if question.tenant in _NO_TENANT:
        return _NODE
    return _NEW_MESSAGE if question.action in _SENDS else _uid("Tenant", question.tenant)


def _context(question: Question) -> dict[str, Any]:
    context: dict[str, Any] = {"weekday": question.weekday, "minute": question.minute}
    if question.address:
        context["address"] = {"__extn": {"fn": "ip", "arg": question.address}}
    sends = question.action in _SENDS
    if sends or question.action == USE_ROUTE:
        context["sender"] = question.sender
        context["category"] = Category(question.category).name
        context["country"] = question.country
        context["sealed"] = question.measure.sealed
        if question.measure.segments:
            context["segments"] = question.measure.segments
    if sends:
        context["batch"] = question.measure.batch
    return context
