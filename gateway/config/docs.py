"""Writes docs/configuration.md from the definitions: `python -m gateway.config.docs --write`, or `--check` in CI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.config.definitions import Definition, definitions
from gateway.config.kinds import Items, Kind, Section, Table
from gateway.config.schema import Document

TARGET = Path(__file__).parents[2] / "docs" / "configuration.md"

_HEAD = """\
# Configuration

<!-- Written by `python -m gateway.config.docs --write` from gateway/config/schema.py. Do not edit. -->

A node reads one YAML file when it starts: `smsgw serve --config smsgw.yaml`. What is marked *Reloadable* a running node
takes over by `smsgw reload`, or by SIGHUP; anything else needs a restart, and a reload that finds it changed is
refused. `smsgw init` writes a file with every setting and its meaning, and `smsgw check --config smsgw.yaml` says
what is wrong with one, and with the keys and certificates it names, without starting anything.

- **Paths** are relative to the folder of the file.
- **Durations** carry their unit: `500ms`, `30s`, `5m`, `1h30m`, `7d`.
- **Secrets** never stand in the file. It names where they are: a path, `credential:NAME` for one that systemd hands
  over, or `vault:PATH#FIELD` ([operating.md](operating.md#secrets)). A secret file is refused when others can use it
  (`chmod 600`), or put another in its place.
- **An unknown key**, a wrong value or a missing one stops the node from starting. All problems are reported at once,
  each with file, line, key and, for an unknown key, the nearest known one.
- **YAML** is taken plainly: no anchors, aliases or tags, no key twice, one document of at most 1 MiB. What a value is
  depends on the setting, not on how YAML would guess it: `+4915112345678` and `0123` are texts where a text is wanted.

The smallest file that works, with everything else at its default:

```yaml
node:
  trust_domain: example.org
identity:
  bundles:
    example.org: pki/bundle.pem
tenants:
  - name: demo
    spiffe_ids: [spiffe://example.org/demo]
```
"""


def markdown() -> str:
    """Return the whole document."""
    return "\n".join([_HEAD, *_section(Document, "")]).rstrip() + "\n"


def _section(schema: type, path: str) -> Iterator[str]:
    plain = [d for d in definitions(schema) if _inner(d.kind) is None]
    if plain:
        yield "| Key | Value | Default | Meaning |"
        yield "|---|---|---|---|"
        yield from map(_row, plain)
        yield ""
    for definition in definitions(schema):
        inner = _inner(definition.kind)
        if inner is not None:
            where = f"{path}.{definition.key}" if path else definition.key
            shown = f"{where}[]" if isinstance(definition.kind, Items) else where
            yield f"{'##' if not path else '###'} `{shown}`"
            yield ""
            yield _meaning(definition)
            yield ""
            yield from _section(inner.schema, shown)


def _inner(kind: Kind) -> Section | None:
    """Return the section that a kind holds, directly or as items."""
    if isinstance(kind, Items):
        kind = kind.kind
    return kind if isinstance(kind, Section) else None


def _row(definition: Definition) -> str:
    default = "*required*" if definition.required else f"`{definition.default}`" if definition.default else ""
    cells = (f"`{definition.key}`", describe(definition.kind), default, _meaning(definition))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _meaning(definition: Definition) -> str:
    return f"{definition.doc} *Reloadable.*" if definition.reloadable else definition.doc


def describe(kind: Kind) -> str:
    """Return kind and range of a value for people."""
    if isinstance(kind, Items):
        return f"list of at most {kind.high}: {describe(kind.kind)}"
    if isinstance(kind, Table):
        return f"table: {describe(kind.key)} → {describe(kind.value)}"
    if isinstance(kind, Section):
        return "section"
    return kind.describe()


def main(arguments: list[str]) -> int:
    """Write the document, or say whether it is up to date; returns the exit code."""
    if arguments == ["--write"]:
        TARGET.write_text(markdown(), encoding="utf-8")
        return 0
    if arguments == ["--check"]:
        if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == markdown():
            return 0
        sys.stderr.write(f"{TARGET} is out of date; run: python -m gateway.config.docs --write\n")
        return 1
    sys.stderr.write("usage: python -m gateway.config.docs --write | --check\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
