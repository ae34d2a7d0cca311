"""What two configurations differ in, by key, and whether a running node may take it over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gateway.config.definitions import definitions
from gateway.config.kinds import Section
from gateway.config.schema import Document, Settings


class Difference(NamedTuple):
    """One setting that differs: `messages.max_segments`. Lists of sections (`carriers`) are one setting."""

    key: str
    reloadable: bool


def differences(old: Settings, new: Settings) -> list[Difference]:
    """Return every setting that differs, in the order of the file."""
    found = list(_walk(Document, old, new, ""))
    if old.breakers != new.breakers and not any(each.key == "carriers" for each in found):
        found.append(Difference("carriers", reloadable=True))  # they stand there, and are kept apart from the profiles
    return found


def _walk(schema: type, old: object, new: object, path: str) -> Iterator[Difference]:
    for definition in definitions(schema):
        before, after = getattr(old, definition.attribute), getattr(new, definition.attribute)
        key = f"{path}.{definition.key}" if path else definition.key
        kind = definition.kind
        if isinstance(kind, Section) and not kind.whole and before is not None and after is not None:
            yield from _walk(kind.schema, before, after, key)
        elif before != after:
            yield Difference(key, definition.reloadable)
