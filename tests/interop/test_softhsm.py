"""SoftHSM2 holds the root's key: an HSM in software, by the same interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certs.svid import X509Svid
from tests.interop.conftest import PYTHON_PACKAGES

pytestmark = pytest.mark.interop
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib/libsofthsm2.so")
PIN = "83-17-44"


@dataclass(kw_only=True)
class Token:
    """A new token in a folder of the test's."""

    folder: Path

    def ca(self, *arguments: object, ends: int = 0) -> dict[str, Any]:
        """Run `smsgw ca`; what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", "from certs.cli import ca; ca()", *map(str, arguments), "--json"],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env=self.environment,
        )
        assert done.returncode == ends, done.stderr + done.stdout
        assert PIN not in done.stderr + done.stdout
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which SoftHSM2 and the package are found."""
        paths = os.pathsep.join(filter(None, [str(PYTHON_PACKAGES), *sys.path]))
        return {**os.environ, "SOFTHSM2_CONF": str(self.folder / "conf"), "PYTHONPATH": paths}

    @property
    def root(self) -> list[str]:
        """The options that name it."""
        module = next(path for path in MODULES if Path(path).exists())
        return ["--root-token", "smsgw", "--pkcs11-module", module, "--root-pin-file", str(self.folder / "pin")]


@pytest.fixture
def token(tmp_path: Path) -> Token:
    """Initialize a token."""
    folder = tmp_path / "hsm"
    (folder / "tokens").mkdir(parents=True)
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(PIN + "\n")
    made = Token(folder=folder)
    command = ["softhsm2-util", "--init-token", "--free", "--label", "smsgw", "--pin", PIN, "--so-pin", "99-99"]
    subprocess.run(command, check=True, capture_output=True, timeout=60, env=made.environment)
    return made


def test_a_root_that_never_leaves_its_token(token: Token, tmp_path: Path) -> None:
    """The root's key is in the token only; it signs both intermediates, and openssl accepts the chain; it rotates."""
    ca = tmp_path / "ca"
    token.ca("init", "--dir", ca, "--trust-domain", "example.org", *token.root)
    assert not list(tmp_path.rglob("root.key"))
    assert len(list(ca.rglob("*.key"))) == 2
    token.ca("rotate", "activate", "--dir", ca)
    token.ca("rotate", "prepare", "--dir", ca, *token.root)
    token.ca("rotate", "activate", "--dir", ca)
    token.ca("issue", "--dir", ca, "--spiffe-id", "spiffe://example.org/gw", "--out", tmp_path / "gw")
    assert X509Svid.load(tmp_path / "gw.pem", tmp_path / "gw.key").facts.spiffe_id.path == "/gw"
    leaf = str(tmp_path / "gw.pem")
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(ca / "root.pem"), "-untrusted", leaf, leaf]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def test_refusals(token: Token, tmp_path: Path) -> None:
    """A wrong PIN, a PIN that others can read, another token and a token in use are refused, and no PIN is shown."""
    ca = tmp_path / "ca"
    empty = token.ca(
        "init", "--dir", ca, "--trust-domain", "example.org", "--root-token", "none", *token.root[2:], ends=1
    )
    assert "cannot be used" in empty["error"]["message"]
    assert not ca.exists()
    token.ca("init", "--dir", ca, "--trust-domain", "example.org", *token.root)
    again = token.ca("init", "--dir", tmp_path / "ca2", "--trust-domain", "example.org", *token.root, ends=1)
    assert "holds a root key already" in again["error"]["message"]
    token.ca("rotate", "activate", "--dir", ca)
    (token.folder / "pin").write_text("00-00-00")
    wrong = token.ca("rotate", "prepare", "--dir", ca, *token.root, ends=1)
    assert "PinIncorrect" in wrong["error"]["message"]
    (token.folder / "pin").chmod(0o644)
    readable = token.ca("rotate", "prepare", "--dir", ca, *token.root, ends=1)
    assert readable["error"]["reason"] == "SECRET_PERMISSIONS"
