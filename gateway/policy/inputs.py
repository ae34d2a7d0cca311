"""Which attributes of the context the policies can read.

What none of them can read, no decision depends on: the authorizer leaves it out of its questions, so that a set without
a word about the time of day is not asked anew each minute. Found in the parsed policies, not in their text; a policy
that handles the context as a whole counts as reading all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from cedarpy import pst

from gateway.policy.vocabulary import ATTRIBUTES

CONTEXT = frozenset(attribute.name for attribute in ATTRIBUTES)


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
