"""YAML read strictly: each refusal names file, line and key. What the values mean is for the caller.

It composes nodes and never builds objects, so that every value keeps its place in the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import yaml

from certs.errors import AuthorityError
from certs.svid import read_bounded


def compose(path: Path, at_most_bytes: int) -> yaml.Node | None:
    """Return the file's root node, None for an empty file. Raises AuthorityError, SvidFileError."""
    try:
        return yaml.compose(read_bounded(path, at_most_bytes).decode(), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as refused:
        raise AuthorityError(f"{path}: not readable as YAML: {refused}") from refused


def place(path: Path, node: yaml.Node) -> str:
    """Return where a node is."""
    return f"{path}, line {node.start_mark.line + 1}"


def mapping(path: Path, node: yaml.Node, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, yaml.Node]:
    """Return the values of a mapping by key. Raises AuthorityError for unknown, repeated and missing keys."""
    if not isinstance(node, yaml.MappingNode):
        raise AuthorityError(f"{place(path, node)}: a mapping with {', '.join(known)} was expected")
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"
            raise AuthorityError(f"{place(path, key)}: unknown key `{name}`{hint}")
        if name in found:
            raise AuthorityError(f"{place(path, key)}: `{name}` is given twice")
        found[name] = value
    for name in required:
        if name not in found:
            raise AuthorityError(f"{place(path, node)}: `{name}` is missing")
    return found


def sequence(path: Path, node: yaml.Node | None, name: str, at_most: int) -> list[yaml.Node]:
    """Return the items of a list; none when there is no node. Raises AuthorityError."""
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise AuthorityError(f"{place(path, node)}: `{name}` must be a list")
    if len(node.value) > at_most:
        raise AuthorityError(f"{place(path, node)}: `{name}` has {len(node.value)} items; {at_most} at most")
    return list(node.value)


def text(path: Path, node: yaml.Node, name: str) -> str:
    """Return a scalar's text, which is not empty. Raises AuthorityError."""
    if not isinstance(node, yaml.ScalarNode) or not isinstance(node.value, str) or not node.value:
        raise AuthorityError(f"{place(path, node)}: `{name}` must be one text")
    return node.value


def number(path: Path, node: yaml.Node, name: str, at_most: int) -> int:
    """Return a whole number of at least 0. Raises AuthorityError."""
    found = text(path, node, name)
    if not (found.isascii() and found.isdecimal() and len(found) <= 20 and int(found) <= at_most):
        raise AuthorityError(f"{place(path, node)}: `{name}` must be a whole number from 0 to {at_most}")
    return int(found)
