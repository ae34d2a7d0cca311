"""Scripts that ship with the simulator: one for each row of docs/carriers.md, played by `smsgw simulator --row N`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_HERE = Path(__file__).parent


def shipped() -> Mapping[int, Path]:
    """Return the script of each row."""
    return {int(path.name.split("-")[1]): path for path in sorted(_HERE.glob("row-*.yaml"))}
