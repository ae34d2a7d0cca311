"""Writes a commented smsgw.yaml from the definitions: what `smsgw init` and `smsgw dev` leave for the operator to edit.

Every setting stands in the file with its meaning. One that has a default or a chosen value is live; one that may stay
away is commented out; a list of sections of which none is chosen shows one as a comment, ready to be uncommented.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from gateway.config.definitions import Definition, definitions
from gateway.config.kinds import Choice, Duration, Integer, Items, Number, Scalar, Section, Table
from gateway.config.schema import Document

Chosen = Mapping[str, str | Sequence[str] | Mapping[str, str]]

_WIDTH = 100
_STEP = "  "


def commented_file(chosen: Chosen) -> str:
    """Return the text of a configuration file.

    `chosen` maps key paths (`node.trust_domain`, `carriers[0].host`) to texts, lists of texts, or tables of them; what
    it does not name has its default. Examples may use {TRUST_DOMAIN}, which is the chosen one.
    """
    head = [
        "# The configuration of an smsgw node. Relative paths are taken from the folder of this file.",
        "# Every setting is explained in docs/configuration.md; `smsgw check` says what is wrong with this file.",
    ]
    return "\n".join([*head, *_section(Document, "", "", _Values(chosen))]) + "\n"


class _Values:
    """What was chosen, and the words that examples may use."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._domain = str(chosen.get("node.trust_domain", "example.org"))

    def get(self, path: str) -> str | Sequence[str] | Mapping[str, str] | None:
        return self._chosen.get(path)

    def any(self, path: str) -> bool:
        """Return whether a setting of the section at `path` was chosen."""
        return any(key.startswith(f"{path}.") for key in self._chosen)

    def items(self, path: str) -> int:
        """Return how many sections of the list at `path` were chosen."""
        count = 0
        while any(key.startswith(f"{path}[{count}].") for key in self._chosen):
            count += 1
        return count

    def example(self, definition: Definition) -> str:
        return definition.example.replace("{TRUST_DOMAIN}", self._domain)


def _section(schema: type, path: str, indent: str, values: _Values) -> Iterator[str]:
    for definition in definitions(schema):
        where = f"{path}.{definition.key}" if path else definition.key
        if not indent:
            yield ""
        yield from _comment(definition, indent)
        yield from _setting(definition, where, indent, values)


def _comment(definition: Definition, indent: str) -> Iterator[str]:
    kind = definition.kind
    range_text = f" [{kind.describe()}]" if isinstance(kind, Integer | Number | Duration | Choice) else ""
    for line in textwrap.wrap(definition.doc + range_text, _WIDTH - len(indent)):
        yield f"{indent}# {line}"


def _setting(definition: Definition, path: str, indent: str, values: _Values) -> Iterator[str]:
    kind, key = definition.kind, definition.key
    if isinstance(kind, Section) and kind.optional and not values.any(path):
        yield f"{indent}# {key}:"
        yield from (f"{indent}# {line}" for line in _section(kind.schema, path, _STEP, values))
    elif isinstance(kind, Section):
        yield f"{indent}{key}:"
        yield from _section(kind.schema, path, indent + _STEP, values)
    elif isinstance(kind, Items):
        yield from _items(definition, kind, path, indent, values)
    elif isinstance(kind, Table) and values.get(path) == {}:
        yield f"{indent}{key}: {{}}"
    elif isinstance(kind, Table):
        yield f"{indent}{key}:"
        yield from _table(definition, kind, path, indent + _STEP, values)
    else:
        yield _scalar(definition, kind, path, indent, values)


def _scalar(definition: Definition, kind: Scalar, path: str, indent: str, values: _Values) -> str:
    text = values.get(path)
    if text is None:
        text = values.example(definition) if definition.default is None else definition.default
        if definition.default is None and not definition.required:
            return f"{indent}# {definition.key}: {text}".rstrip()
    return f"{indent}{definition.key}: {kind.show(kind.read(str(text)))}"


def _table(definition: Definition, kind: Table, path: str, indent: str, values: _Values) -> Iterator[str]:
    chosen = values.get(path)
    if not isinstance(chosen, Mapping):
        key, _, value = values.example(definition).partition(": ")
        chosen = {key: value}
    for key, value in chosen.items():
        yield f"{indent}{kind.key.show(key)}: {kind.value.show(value)}"


def _items(definition: Definition, kind: Items, path: str, indent: str, values: _Values) -> Iterator[str]:
    inner = kind.kind
    if isinstance(inner, Section):
        yield from _sections(definition, inner.schema, kind.low, path, indent, values)
    elif not isinstance(inner, Items | Table):
        chosen = values.get(path)
        if chosen is None:
            example = values.example(definition)
            chosen = [example] if example else []
        yield f"{indent}{definition.key}: [{', '.join(inner.show(item) for item in chosen)}]"


def _sections(
    definition: Definition, schema: type, least: int, path: str, indent: str, values: _Values
) -> Iterator[str]:
    count = max(values.items(path), least)
    if count:
        yield f"{indent}{definition.key}:"
        for index in range(count):
            yield from _item(schema, f"{path}[{index}]", indent + _STEP, values)
        return
    yield f"{indent}{definition.key}: []"
    yield f"{indent}# Uncomment and edit, instead of the line above:"
    yield f"{indent}# {definition.key}:"
    for line in _item(schema, f"{path}[0]", indent + _STEP, values):
        yield f"{indent}# {line}"


def _item(schema: type, path: str, indent: str, values: _Values) -> Iterator[str]:
    """Yield a section as an item of a list: its first key carries the dash, its comment stands above."""
    dashed = False
    for line in _section(schema, path, indent + _STEP, values):
        if not dashed and not line.lstrip().startswith("#"):
            dashed = True
            yield f"{indent}- {line.lstrip()}"
        elif not dashed:
            yield indent + line.lstrip()
        else:
            yield line
