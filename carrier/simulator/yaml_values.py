"""Reads the values of a YAML tree, each with its check; what is wrong is told with file, line and key.

A reader takes where we are and a node, and returns a value; it raises ScriptError. Knows nothing of scripts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import yaml

from carrier.simulator.errors import ScriptError

MAX_LIST = 10_000
MAX_OCTETS = 65_535

Reader = Callable[["At", yaml.Node], Any]


class At:
    """Where we are in the file, for errors."""

    def __init__(self, file: str, path: str = "") -> None:
        self.file = file
        self.path = path

    def below(self, key: str) -> At:
        """Return the place of `key` in this one."""
        return At(self.file, f"{self.path}{key}" if key.startswith("[") or not self.path else f"{self.path}.{key}")

    def fail(self, node: yaml.Node, what: str) -> NoReturn:
        """Raise the ScriptError that says what is wrong here."""
        raise ScriptError(f"{self.file}:{node.start_mark.line + 1}: {self.path or 'the script'}: {what}")


def read_mapping(at: At, node: yaml.Node, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Read a mapping whose keys are those of `readers`."""
    if not isinstance(node, yaml.MappingNode):
        at.fail(node, f"a mapping is wanted, with keys among {', '.join(readers)}")
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        reader = readers.get(key)
        if reader is None:
            near = difflib.get_close_matches(key, readers, n=1)
            at.below(key).fail(key_node, f"unknown key; {f'did you mean {near[0]}?' if near else _known(readers)}")
        if key in found:
            at.below(key).fail(key_node, "this key is here twice")
        found[key] = reader(at.below(key), value_node)
    return found


def _known(readers: Mapping[str, Reader]) -> str:
    return f"known here: {', '.join(readers)}"


def read_value(at: At, node: yaml.Node) -> Any:
    """Read a scalar by YAML's own types."""
    if not isinstance(node, yaml.ScalarNode):
        at.fail(node, "a single value is wanted")
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, yaml.YAMLError):
        at.fail(node, f"{node.value!a} cannot be read")


def read_text(at: At, node: yaml.Node) -> str:
    """Read a text; a number has to be in quotes."""
    value = read_value(at, node)
    if not isinstance(value, str):
        at.fail(node, f"a text is wanted; put {node.value!a} in quotes")
    return value


def read_digits(at: At, node: yaml.Node) -> str:
    """Read digits in quotes."""
    value = read_text(at, node)
    if not (value.isascii() and value.isdigit()):
        at.fail(node, "digits are wanted, without a plus sign")
    return value


def read_octets(at: At, node: yaml.Node) -> bytes:
    """Read octets in hex, in quotes; spaces between them are allowed."""
    value = read_text(at, node)
    try:
        octets = bytes.fromhex(value)
    except ValueError:
        at.fail(node, 'octets are wanted in hex, in quotes: "05 00 03"')
    if len(octets) > MAX_OCTETS:
        at.fail(node, f"at most {MAX_OCTETS} octets")
    return octets


def read_truth(at: At, node: yaml.Node) -> bool:
    """Read true or false."""
    value = read_value(at, node)
    if not isinstance(value, bool):
        at.fail(node, "true or false is wanted")
    return value


def count_from(least: int, most: int = 1_000_000_000) -> Reader:
    """Return a reader of whole numbers."""

    def read(at: At, node: yaml.Node) -> int:
        value = read_value(at, node)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            at.fail(node, f"a whole number from {least} to {most} is wanted")
        return value

    return read


def number_from(least: float, most: float) -> Reader:
    """Return a reader of numbers."""

    def read(at: At, node: yaml.Node) -> float:
        value = read_value(at, node)
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            at.fail(node, f"a number from {least:g} to {most:g} is wanted")
        return float(value)

    return read


def one_of(*choices: str) -> Reader:
    """Return a reader of one of these words."""

    def read(at: At, node: yaml.Node) -> str:
        value = read_text(at, node)
        if value not in choices:
            at.fail(node, f"{value!a} is none of {', '.join(choices)}")
        return value

    return read


def list_of(reader: Reader) -> Reader:
    """Return a reader of a list, as a tuple."""

    def read(at: At, node: yaml.Node) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            at.fail(node, "a list is wanted")
        if len(node.value) > MAX_LIST:
            at.fail(node, f"a list has at most {MAX_LIST} entries")
        return tuple(reader(at.below(f"[{index}]"), item) for index, item in enumerate(node.value))

    return read


def part_of(
    build: Callable[..., Any], readers: Mapping[str, Reader], *needed: str, renamed: Mapping[str, str] | None = None
) -> Reader:
    """Return a reader of a mapping into `build`, whose parameters are its keys, `renamed` ones aside."""
    names = renamed or {}

    def read(at: At, node: yaml.Node) -> Any:
        found = read_mapping(at, node, readers)
        for key in needed:
            if key not in found:
                at.below(key).fail(node, "this key is needed")
        return build(**{names.get(key, key): value for key, value in found.items()})

    return read
