"""What holds for every test: the machine may be slow and busy, and that is no fault of what is tested."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import server

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no server running."""
    server.stop_all()


@pytest.fixture
def postgres() -> server.PostgresServer:
    """Give the PostgreSQL server of the session."""
    return server.shared()
