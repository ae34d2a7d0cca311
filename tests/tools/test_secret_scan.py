"""The scan for secrets finds what it is for, and names no value."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

SCAN = Path(__file__).resolve().parent.parent.parent / "tools" / "secret_scan.py"


def _git(folder: Path, *arguments: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, env=environment, timeout=60)


def _scan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCAN), "--root", str(folder), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one harmless file."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "plain.py").write_text('NAME = "submit_sm"\nPASSWORD_FILE = "keys/acme.password"\n')
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    return tmp_path


def _aws_key() -> str:
    return "AKIA" + base64.b32encode(os.urandom(10)).decode()


def _pem_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _token() -> str:
    return base64.urlsafe_b64encode(os.urandom(48)).decode()


PLANTED: dict[str, tuple[str, Callable[[], str]]] = {
    "AWS key": ("settings.py", lambda: f'KEY_ID = "{_aws_key()}"\n'),
    "PEM key in text": ("notes.md", lambda: f"# Notes\n\n{_pem_key()}"),
    "PEM key in a file of its own": ("gateway.key", _pem_key),
    "random token in quotes": ("client.py", lambda: f'HEADERS = {{"x": "{_token()}"}}\n'),
    "random token, bare": ("smsgw.yaml", lambda: f"carriers:\n  - name: acme\n    secret: {_token()}\n"),
    "random hexadecimal": ("kek.py", lambda: f'KEK = "{os.urandom(32).hex()}"\n'),
    "password in an address": ("deploy.sh", lambda: f"psql postgres://smsgw:{_token()[:12]}@db.example/smsgw\n"),
}


def test_nothing_to_find(repository: Path) -> None:
    """A tree without secrets passes, and silently."""
    done = _scan(repository)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("what", PLANTED)
def test_planted(repository: Path, what: str) -> None:
    """A planted secret fails the scan, which names the file and line and does not repeat the value."""
    name, make = PLANTED[what]
    text = make()
    (repository / name).write_text(text)
    assert _scan(repository).returncode == 0  # it is not tracked yet: nothing of it will be pushed
    _git(repository, "add", ".")
    done = _scan(repository)
    assert done.returncode == 1
    assert f"{name}:" in done.stderr
    assert not [word for word in text.replace('"', " ").split() if len(word) > 19 and word in done.stderr]


def test_allowed(repository: Path) -> None:
    """What was allowed passes, another secret in the same file does not, and what went is no longer allowed."""
    first, second = (f'VECTOR = "{os.urandom(32).hex()}"\n' for _ in range(2))
    file = repository / "vectors.py"
    file.write_text(first)
    _git(repository, "add", ".")
    assert _scan(repository, "--allow", "vectors.py").returncode == 0
    assert _scan(repository).returncode == 0
    file.write_text(first + second)
    assert "vectors.py:2:" in _scan(repository).stderr
    file.write_text(second)
    assert _scan(repository, "--allow", "vectors.py").returncode == 0
    file.write_text(first)
    assert _scan(repository).returncode == 1


def test_allowing_one_file_allows_no_other(repository: Path) -> None:
    """The same value in another file is found."""
    text = f'VECTOR = "{os.urandom(32).hex()}"\n'
    (repository / "vectors.py").write_text(text)
    (repository / "other.py").write_text(text)
    _git(repository, "add", ".")
    _scan(repository, "--allow", "vectors.py")
    done = _scan(repository)
    assert done.returncode == 1
    assert "other.py:1:" in done.stderr
    assert "vectors.py" not in done.stderr
