"""Whether a schema knows what this version asks: each action is tried, with and without what may be left out.

A schema of an older version lacks actions, and every call of theirs would be denied at run time; one that demands more
than is sent would deny everything. Both are found here, before the node starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import cedarpy
from cedarpy import Entities, PolicySet, Schema

from gateway.policy.requests import ADMIN_GROUPS, SEND_ACTIONS, SEND_GROUP, USE_ROUTE, Question
from gateway.policy.translation import as_entities, as_request

_SPIFFE_ID, _TENANT = "spiffe://example.org/team/service", "tenant"
_ADVICE = "`smsgw policy schema` prints the schema of this version"


def unfit_actions(schema: Schema, actions: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing that this version asks and the schema does not know.

    `actions` maps each call's action to the group it has to be in.
    """
    try:
        callers, admins = (
            Entities.from_json_str(json.dumps(as_entities(_SPIFFE_ID, tenant)), schema) for tenant in (_TENANT, "")
        )
    except ValueError as error:
        return [f"does not know the entities that are asked about ({error}); {_ADVICE}"]
    wanted = {**actions, **dict.fromkeys(SEND_ACTIONS.values(), SEND_GROUP), USE_ROUTE: USE_ROUTE}
    found = [
        _unfit(schema, admins if group.startswith(ADMIN_GROUPS) else callers, action, group)
        for action, group in wanted.items()
    ]
    return [text for text in found if text]


def _unfit(schema: Schema, entities: Entities, action: str, group: str) -> str:
    """Return what is wrong with one action, "" for nothing: it is asked of a policy that permits its group."""
    policies = PolicySet.from_str(f"permit(principal, action in Action::{json.dumps(group)}, resource);")
    for question in _questions(action, group):
        result = cedarpy.is_authorized(as_request(question), policies, entities, schema)
        if result.diagnostics.errors:
            return f"cannot be asked about {action} ({result.diagnostics.errors[0]}); {_ADVICE}"
        if not result.allowed:
            return f"does not have {action} in the group {group}; {_ADVICE}"
    return ""


def _questions(action: str, group: str) -> Iterator[Question]:
    tenant = "" if group.startswith(ADMIN_GROUPS) else _TENANT
    question = Question(action, _SPIFFE_ID, tenant, "carrier", "ACME", 1, "DE")
    yield question
    if action != USE_ROUTE:  # an address belongs to a call, and is gone when the message is routed
        yield question._replace(address="2001:db8::1")
