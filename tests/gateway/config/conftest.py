"""Small configuration files to load and to break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Settings

MINIMAL = """\
node: {trust_domain: example.org}
identity: {bundles: {example.org: pki/bundle.pem}}
"""

Write = Callable[[str], Path]
Problems = Callable[[str], list[tuple[int, str, str]]]
Load = Callable[[str], Settings]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration file beside a password file, and return its path."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)

    def write_file(text: str) -> Path:
        file = tmp_path / "smsgw.yaml"
        file.write_text(text)
        return file

    return write_file


@pytest.fixture
def loaded(write: Write) -> Load:
    """Load the minimal configuration and what is added to it."""
    return lambda added: load(write(MINIMAL + added))


@pytest.fixture
def problems(write: Write) -> Problems:
    """Return line, key and text of every problem of a file."""

    def problems_of(text: str) -> list[tuple[int, str, str]]:
        file = write(text)
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert all(problem.file == file for problem in caught.value.problems)
        return [(problem.line, problem.key, problem.text) for problem in caught.value.problems]

    return problems_of
