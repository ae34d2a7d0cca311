"""How a setting is defined: a dataclass field whose metadata says everything about it, once.

The loader, docs/configuration.md and the file that `smsgw init` writes all read these definitions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from gateway.config.kinds import Duration, Items, Kind, Section, Table

_METADATA = "smsgw.setting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One setting. `default` is the text in the file, None when there is none; see `setting` for the rest."""

    key: str
    attribute: str
    kind: Kind
    doc: str
    default: str | None
    required: bool
    reloadable: bool
    example: str


def setting(
    kind: Kind,
    *,
    doc: str,
    default: str | None = None,
    reloadable: bool = False,
    optional: bool = False,
    example: str = "",
) -> Any:
    """Return a dataclass field for one setting.

    `default` is written as in the file; `optional` without a default gives None. A list or table that may be empty is
    empty when it is left out, a section that needs nothing is a section of defaults. `reloadable` marks what a running
    node may take over. `example` stands in the file that `smsgw init` writes where there is no default.
    """
    return field(metadata={_METADATA: (kind, doc, default, reloadable, optional, example)})


def definitions(schema: type) -> tuple[Definition, ...]:
    """Return the settings of a section, in the order of its fields.

    The key is the attribute's name; a duration's attribute ends in `_s`, which the key leaves out.
    """
    return tuple(_definition(item) for item in dataclasses.fields(schema))


def _definition(item: dataclasses.Field[Any]) -> Definition:
    kind, doc, default, reloadable, optional, example = item.metadata[_METADATA]
    return Definition(
        key=item.name.removesuffix("_s") if isinstance(kind, Duration) else item.name,
        attribute=item.name,
        kind=kind,
        doc=doc,
        default=default,
        required=not optional and default is None and not _may_be_left_out(kind),
        reloadable=reloadable,
        example=example,
    )


def _may_be_left_out(kind: Kind) -> bool:
    if isinstance(kind, Items | Table):
        return kind.low == 0
    if isinstance(kind, Section):
        return kind.optional or not any(definition.required for definition in definitions(kind.schema))
    return False
