"""Turns a tree of YAML nodes into the frozen dataclasses of a schema, and gathers every problem on the way.

What is wrong becomes a `ConfigProblem` with the line of the value (or of the section that lacks it) and its key; the
reading goes on, so that the operator sees all of it at once. Checks that concern several settings are not made here
(see `gateway.config.rules`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import yaml

from gateway.config.definitions import Definition, definitions
from gateway.config.errors import ConfigProblem
from gateway.config.held_secrets import HeldSecrets
from gateway.config.kinds import FileName, Items, Kind, Scalar, Section, Table, clip
from gateway.config.secret_kinds import (
    WANTED,
    Credential,
    SecretFile,
    VaultField,
    credential_file,
    is_path_like,
    refusal_of,
)

T = TypeVar("T")

_NULLS = frozenset({"", "~", "null"})


class Wrong(Exception):
    """A value that could not be read; its problem has been noted."""


class Reader:
    """Reads one file. `problems` and `lines` (of each key path) are complete after the last call."""

    def __init__(self, file: Path, *, credentials: str | None = None, held: HeldSecrets | None = None) -> None:
        """`credentials` is the folder of systemd's credentials, the value of CREDENTIALS_DIRECTORY; None without.

        `held` has the places of secrets from Vault, which are named in `vault_fields`; None where there are none."""
        self._file = file
        self._credentials = credentials
        self._held = held
        self.vault_fields: set[VaultField] = set()
        self.problems: list[ConfigProblem] = []
        self.lines: dict[str, int] = {}

    def note(self, key: str, text: str) -> None:
        """Note a problem with the setting `key`, or with the nearest section above it that is in the file."""
        place = key
        while place and place not in self.lines:
            place = place.rpartition(".")[0] if "." in place else ""
        self.problems.append(ConfigProblem(self._file, self.lines.get(place, 0), key, text))

    def section(self, schema: type[T], node: yaml.Node, path: str) -> T:
        """Return the section at `node`. Raises Wrong when anything in it is."""
        if _is_null(node):
            node = yaml.MappingNode("", [], node.start_mark)
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(path, node, "wants settings, one `key: value` a line")
        entries, misspelt = self._entries(schema, node, path)
        values: dict[str, object] = {}
        failed = False
        for definition in definitions(schema):
            if definition.key in misspelt and definition.key not in entries:
                failed = True  # said already: not to be called missing as well
                continue
            try:
                values[definition.attribute] = self._setting(definition, entries.get(definition.key), node, path)
            except Wrong:
                failed = True
        if failed:
            raise Wrong
        build: Callable[..., T] = schema
        return build(**values)

    def _entries(self, schema: type, node: yaml.MappingNode, path: str) -> tuple[dict[str, yaml.Node], set[str]]:
        """Return the known keys with their nodes, and the known keys that unknown ones were probably meant to be."""
        known = [definition.key for definition in definitions(schema)]
        entries: dict[str, yaml.Node] = {}
        misspelt: set[str] = set()
        for key, key_node, value in self._pairs(node, path):
            where = _join(path, key)
            if key in known:
                entries[key] = value
            elif refused := refusal_of(key, schema):
                self._wrong(where, key_node, refused)
            else:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
                misspelt.update(near)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                self._wrong(where, key_node, f"is no setting; {hint}")
        return entries, misspelt

    def _pairs(self, node: yaml.MappingNode, path: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """Return key, its node and its value for each entry; an entry that stands twice is a problem."""
        pairs: list[tuple[str, yaml.Node, yaml.Node]] = []
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._wrong(path, key_node, "wants plain names as keys")
                continue
            key = key_node.value
            where = _join(path, key)
            if any(key == earlier for earlier, _, _ in pairs):
                self._wrong(where, key_node, f"stands here a second time; the first is in line {self.lines[where]}")
                continue
            self.lines[where] = _line(key_node)
            pairs.append((key, key_node, value))
        return pairs

    def _setting(self, definition: Definition, node: yaml.Node | None, parent: yaml.Node, path: str) -> object:
        where = _join(path, definition.key)
        if node is not None and not _is_null(node):
            return self._value(definition.kind, node, where)
        if definition.required:
            raise self._wrong(where, parent if node is None else node, f"is missing: {definition.doc}")
        return self._left_out(definition, parent if node is None else node, where)

    def _left_out(self, definition: Definition, near: yaml.Node, where: str) -> object:
        kind = definition.kind
        if isinstance(kind, Section):
            return None if kind.optional else self.section(kind.schema, _empty(near), where)
        if isinstance(kind, Items):
            return ()
        if isinstance(kind, Table):
            return MappingProxyType({})
        return None if definition.default is None else self._located(kind, kind.read(definition.default))

    def _value(self, kind: Kind, node: yaml.Node, path: str) -> object:
        if isinstance(kind, Section):
            return self.section(kind.schema, node, path)
        if isinstance(kind, Items):
            return self._items(kind, node, path)
        if isinstance(kind, Table):
            return self._table(kind, node, path)
        return self._scalar(kind, node, path)

    def _scalar(self, kind: Scalar, node: yaml.Node, path: str) -> object:
        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong(path, node, f"wants one value ({kind.describe()}), not a list or a section")
        if node.style in {"'", '"'} and not kind.quotable:
            raise self._wrong(path, node, f"wants {kind.describe()}; remove the quotes")
        try:
            return self._located(kind, kind.read(node.value))
        except ValueError as error:
            raise self._wrong(path, node, str(error)) from None

    def _items(self, kind: Items, node: yaml.Node, path: str) -> tuple[object, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._wrong(path, node, "wants a list: [a, b], or one `- ` a line")
        if not kind.low <= len(node.value) <= kind.high:
            raise self._wrong(path, node, f"wants {kind.low} to {kind.high} entries; this has {len(node.value)}")
        values, failed = [], False
        for index, item in enumerate(node.value):
            where = f"{path}[{index}]"
            self.lines[where] = _line(item)
            try:
                values.append(self._value(kind.kind, item, where))
            except Wrong:
                failed = True
        if failed:
            raise Wrong
        return tuple(values)

    def _table(self, kind: Table, node: yaml.Node, path: str) -> MappingProxyType[object, object]:
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(path, node, "wants entries, one `name: value` a line")
        if not kind.low <= len(node.value) <= kind.high:
            raise self._wrong(path, node, f"wants {kind.low} to {kind.high} entries; this has {len(node.value)}")
        values: dict[object, object] = {}
        failed = False
        for key, key_node, value in self._pairs(node, path):
            try:
                values[self._scalar(kind.key, key_node, _join(path, key))] = self._scalar(
                    kind.value, value, _join(path, key)
                )
            except Wrong:
                failed = True
        if failed:
            raise Wrong
        return MappingProxyType(values)

    def _located(self, kind: Scalar, value: object) -> object:
        if isinstance(kind, SecretFile):
            return self._secret_file(value)
        if isinstance(kind, FileName) and isinstance(value, Path) and not kind.in_data_dir:
            return self._file.parent / value
        return value

    def _secret_file(self, value: object) -> Path:
        """Return the file of a secret; a word that is neither path nor file is not repeated. Raises ValueError."""
        if isinstance(value, Credential):
            return credential_file(value, self._credentials)
        if isinstance(value, VaultField):
            return self._held_secret(value)
        path = Path(str(value))
        file = self._file.parent / path
        if not is_path_like(path) and not os.path.lexists(file):
            raise ValueError(f"{WANTED}; no file has this name. If it is the secret itself, replace it")
        return file

    def _held_secret(self, field: VaultField) -> Path:
        if self._held is None:
            raise ValueError("secrets from Vault are for smsgw.yaml alone: name a file")
        self.vault_fields.add(field)
        return self._held.place(str(field))

    def _wrong(self, path: str, node: yaml.Node, text: str) -> Wrong:
        self.problems.append(ConfigProblem(self._file, _line(node), path, text))
        return Wrong()


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULLS


def _empty(near: yaml.Node) -> yaml.MappingNode:
    return yaml.MappingNode("", [], near.start_mark)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _join(path: str, key: str) -> str:
    shown = key if len(key) <= 64 and key.isprintable() else clip(key)
    return f"{path}.{shown}" if path else shown
