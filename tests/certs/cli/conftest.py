"""Running `smsgw ca` in tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from certs.cli import ca


def run(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(ca, [str(argument) for argument in arguments])


def done(*arguments: object) -> dict[str, Any]:
    """Run a command that must succeed, with --json; what it printed."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make an authority with the command."""
    done("init", "--dir", tmp_path / "ca", "--trust-domain", "example.org")
    return tmp_path / "ca"
