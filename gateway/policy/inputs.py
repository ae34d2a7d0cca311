"""Which attributes of the context decisions can depend on, for each action.

What no policy about an action can read, no decision about it depends on: the authorizer leaves it out of its questions,
so that a set without a word about the time of day is not asked anew each minute, and a quiet hour for promotions does
not make one-time passwords asked anew. Found in the parsed policies, not in their text; a policy that handles the
context as a whole counts as reading all of it. A policy whose scope does not cover an action is not evaluated beyond
that scope: it can neither decide nor err.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cedarpy import pst

from gateway.policy.vocabulary import ATTRIBUTES, actions_of, attributes_of

CONTEXT = frozenset(attribute.name for attribute in ATTRIBUTES)


def reads_by_action(policies: Sequence[pst.Template], calls: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return, for each action, the attributes of its context that at least one policy about it can read.

    `calls` maps each call's action to its group.
    """
    reads = [(policy, attributes_read([policy])) for policy in policies]
    return {
        action.name: frozenset().union(*(read for policy, read in reads if covers(policy, action.name, action.group)))
        & {attribute.name for attribute in attributes_of(action.subject)}
        for action in actions_of(calls)
    }


def covers(policy: pst.Template, action: str, group: str) -> bool:
    """Say whether a policy's scope covers `action`, which is in `group`."""
    scope = policy.action
    if isinstance(scope, pst.ActionEq):
        return scope.entity.id == action
    if isinstance(scope, pst.ActionIn):
        return any(entity.id in (action, group) for entity in scope.entities)
    return True


def attributes_read(policies: Iterable[pst.Template]) -> frozenset[str]:
    """Return the attributes of the context that at least one of the policies can read."""
    found: set[str] = set()
    for policy in policies:
        for clause in policy.clauses:
            found.update(_reads(clause))
    return frozenset(found)


def _reads(node: object) -> Iterator[str]:
    if isinstance(node, pst.GetAttr) and node.base == pst.Var("context"):
        yield node.attr
    elif isinstance(node, pst.HasAttr) and node.base == pst.Var("context"):
        yield node.attrs[0]
    elif node == pst.Var("context"):
        yield from CONTEXT
    elif dataclasses.is_dataclass(node):
        for field in dataclasses.fields(node):
            yield from _reads(getattr(node, field.name))
    elif isinstance(node, Mapping):
        for inner in node.values():
            yield from _reads(inner)
    elif isinstance(node, Iterable) and not isinstance(node, str):
        for inner in node:
            yield from _reads(inner)
