"""Reads one YAML file into a tree of nodes that know their lines, and refuses what a configuration has no use for.

Sizes are bounded before anything is built: octets, nesting, number of values. Anchors, aliases, tags, merge keys and
several documents are refused: they only make a configuration hard to read. Scalars stay text: the schema decides what
they are (see `gateway.config.kinds`).
"""

from __future__ import annotations

from pathlib import Path

import yaml

from gateway.config.errors import ConfigError, ConfigProblem

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 16
_MAX_EVENTS = 200_000


def read_tree(file: Path) -> yaml.MappingNode:
    """Return the top mapping of `file`. Raises ConfigError."""
    text = _read_text(file)
    try:
        _check_events(file, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refusal(
            file, mark.line + 1 if mark else 0, f"this is no YAML: {error.problem or error.context}"
        ) from None
    except yaml.YAMLError as error:
        raise _refusal(file, 0, f"this is no YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        line = 0 if node is None or node.start_mark is None else int(node.start_mark.line) + 1
        raise _refusal(
            file, line, "wants sections such as `node:` and `api:`; `smsgw init` writes a file to start from"
        )
    return node


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            octets = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refusal(file, 0, "there is no such file; `smsgw init` writes one") from None
    except OSError as error:
        raise _refusal(file, 0, f"cannot be read: {error.strerror}") from None
    if len(octets) > _MAX_BYTES:
        raise _refusal(file, 0, f"is larger than {_MAX_BYTES >> 20} MiB")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise _refusal(file, octets.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None


def _check_events(file: Path, text: str) -> None:
    """Walk the parser's events, which are made one by one, before a tree is built of them."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > _MAX_DEPTH or count > _MAX_EVENTS:
            raise _refusal(file, line, "is nested too deeply or has too many values")
        if documents > 1:
            raise _refusal(file, line, "wants one document; remove the `---`")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refusal(file, line, "anchors (&) and aliases (*) are not accepted; write the value out")
        if getattr(event, "tag", None):
            raise _refusal(file, line, "tags (!) are not accepted; write the plain value")


def _refusal(file: Path, line: int, text: str) -> ConfigError:
    return ConfigError((ConfigProblem(file, line, "", text),))
