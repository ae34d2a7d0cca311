"""The certificate of the rows serves here too."""

from __future__ import annotations

from tests.quirks.conftest import files

__all__ = ["files"]
