"""The Cedar schema of this version, made from the vocabulary and the method table: nobody writes or keeps it.

A set of policies is validated against it when it is loaded, so that a method without its action, or a set written for
another version, cannot be. `smsgw policy schema` prints it, for editors.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from gateway.policy.vocabulary import (
    ENTITIES,
    Action,
    Entity,
    Subject,
    actions_of,
    attributes_of,
    groups_of,
    subject_doc,
)

_WIDTH = 117
_HEAD = (
    "What policies can be asked, by this version of smsgw: printed by `smsgw policy schema`, for editors and other "
    "tools. A node has it built in, and reads no such file. docs/policy.md explains it."
)


def cedar_schema(calls: Mapping[str, str]) -> str:
    """Return the schema in Cedar's syntax. `calls` maps each call's action to the group that it is in.

    Raises ValueError for a name that Cedar could take for more than a name.
    """
    for name in (*calls, *calls.values()):
        if not name.isascii() or not name.isprintable():
            raise ValueError(f"{name!a} cannot be the name of an action")
    lines = [*_comment(_HEAD), ""]
    for entity in ENTITIES:
        lines += [*_entity(entity), ""]
    for subject in Subject:
        lines += [*_context(subject), ""]
    lines += [*_comment("The groups that actions lie in, for `action in`.")]
    lines += [f"action {_names(list(groups_of(calls)))};", ""]
    lines += _actions(list(actions_of(calls)))
    return "\n".join(lines) + "\n"


def _comment(text: str) -> Iterator[str]:
    return (f"// {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False))


def _entity(entity: Entity) -> Iterator[str]:
    yield from _comment(entity.doc)
    parents = f" in [{', '.join(entity.parents)}]" if entity.parents else ""
    if not entity.attributes:
        yield f"entity {entity.name}{parents};"
        return
    yield f"entity {entity.name}{parents} {{"
    yield from (f"  {name}: {kind}," for name, kind in entity.attributes.items())
    yield "};"


def _context(subject: Subject) -> Iterator[str]:
    yield from _comment(subject_doc(subject))
    yield f"type {subject.value} = {{"
    for attribute in attributes_of(subject):
        yield from (f"  {line}" for line in _comment(attribute.doc))
        yield f"  {attribute.name}{'?' if attribute.optional else ''}: {attribute.type},"
    yield "};"


def _actions(actions: Sequence[Action]) -> Iterator[str]:
    """Yield the actions, those together that differ in their name alone."""
    alike: dict[Action, list[str]] = {}
    for action in actions:
        alike.setdefault(action._replace(name=""), []).append(action.name)
    for kind, names in alike.items():
        group = f" in [{_name(kind.group)}]" if kind.group else ""
        asked = f"principal: {kind.principal}, resource: {kind.resource}, context: {kind.subject.value}"
        yield f"action {_names(names)}"
        yield f" {group} appliesTo {{ {asked} }};"


def _names(names: Sequence[str]) -> str:
    return ",\n  ".join(_name(name) for name in names)


def _name(name: str) -> str:
    return json.dumps(name)  # ASCII alone, which Cedar's strings escape alike
