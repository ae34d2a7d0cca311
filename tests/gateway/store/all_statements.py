"""Every statement that an engine brings, by its place: what is added to the port is found here, and so is tested."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from gateway.store.engine.statements import Statements


def every(statements: Statements) -> dict[str, Any]:
    """Return all statements by name: "claiming.due", "closing.purge_expired.0"."""
    return dict(_below(statements, ""))


def _below(part: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner: list[tuple[str, Any]] = []
    if dataclasses.is_dataclass(part):
        inner = [(field.name, getattr(part, field.name)) for field in dataclasses.fields(part)]
    elif isinstance(part, tuple):
        inner = [(str(number), one) for number, one in enumerate(part)]
    elif part is not None:  # what only nodes that share a database ask for
        yield name, part
    for key, one in inner:
        yield from _below(one, f"{name}.{key}".lstrip("."))
