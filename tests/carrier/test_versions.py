"""What a carrier's stated version means."""

from __future__ import annotations

import pytest

from carrier.versions import understood, version_name


@pytest.mark.parametrize(
    ("stated", "version"),
    [(0x33, 0x33), (0x34, 0x34), (0x50, 0x50), (33, 0x33), (34, 0x34), (0x40, 0x34), (0x51, 0x50), (0xFF, 0x50),
     (None, 0x33), (0, 0x33), (1, 0x33), (0x10, 0x33), (0x3450, 0x33)],
)  # fmt: skip
def test_what_is_stated(stated: int | None, version: int) -> None:
    """Row 22: as stated where that makes sense, decimal digits too; none, or nonsense, is what the profile assumes."""
    assert understood(stated, assumed=0x33) == version
    if version == 0x33 and stated not in (0x33, 33):
        assert understood(stated, assumed=0x50) == 0x50


def test_names() -> None:
    """The two digits with a point."""
    assert [version_name(v) for v in (0x33, 0x34, 0x50)] == ["3.3", "3.4", "5.0"]
