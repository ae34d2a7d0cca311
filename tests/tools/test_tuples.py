"""Named tuples that are made without their class, `_tuple(Class, (...))`: nobody counts their values at run time."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _made(package: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield the module, the class, how many fields it has, and how many values it is given."""
    for path in sorted((ROOT / package).rglob("*.py")):
        source = path.read_text()
        if "_tuple = tuple.__new__" not in source:
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(func=ast.Name("_tuple"), args=[ast.Name(name), ast.Tuple(values)]):
                    if name != name.lower() and not any(isinstance(value, ast.Starred) for value in values):
                        yield module.__name__, name, len(getattr(module, name)._fields), len(values)


def test_as_many_values_as_fields() -> None:
    """Each is given as many values as its class has fields."""
    made = [*_made("gateway"), *_made("carrier")]
    assert len(made) > 12
    assert not [each for each in made if each[2] != each[3]]
