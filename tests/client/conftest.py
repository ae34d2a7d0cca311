"""A real gateway's API, with mutual TLS and a store, and a workload that calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client.callers import Workload
from tests.gateway.api.rig import Rig, running_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Run an API over a new store."""
    async with running_rig(tmp_path / "node") as running:
        yield running


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    """Return a workload of the tenant payments."""
    return Workload(tmp_path / "workload")
