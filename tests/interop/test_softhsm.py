"""SoftHSM2 holds the keys of root and intermediates: an HSM in software, by the same interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
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
    def module(self) -> str:
        """The library."""
        return next(path for path in MODULES if Path(path).exists())

    @property
    def root(self) -> list[str]:
        """The options that name it."""
        return ["--root-token", "smsgw", "--pkcs11-module", self.module, "--root-pin-file", str(self.folder / "pin")]

    def named(self, whose: str, label: str) -> list[str]:
        """The options that name another token of this folder."""
        return [f"--{whose}-token", label, f"--{whose}-pin-file", str(self.folder / "pin")]

    def make(self, label: str) -> None:
        """Initialize a token."""
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "99-99"]
        subprocess.run(command, check=True, capture_output=True, timeout=60, env=self.environment)

    def keys(self, label: str) -> list[dict[str, Any]]:
        """Return what a token says of its private keys, and whether one gives its value away."""
        done = subprocess.run(
            [sys.executable, "-c", LOOK, self.module, label, PIN],
            capture_output=True, text=True, timeout=60, check=True, env=self.environment,
        )  # fmt: skip
        found = json.loads(done.stdout)
        assert isinstance(found, list)
        return found


LOOK = """
import json, sys
import pkcs11
from pkcs11 import Attribute
module, label, pin = sys.argv[1:]
found = []
with pkcs11.lib(module).get_token(token_label=label).open(user_pin=pin) as session:
    for key in session.get_objects({Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}):
        try:
            key[Attribute.VALUE]
            given = True
        except pkcs11.PKCS11Error:
            given = False
        found.append({"extractable": key[Attribute.EXTRACTABLE], "sensitive": key[Attribute.SENSITIVE],
                      "never_extractable": key[Attribute.NEVER_EXTRACTABLE], "given": given})
print(json.dumps(found))
"""


@pytest.fixture
def token(tmp_path: Path) -> Token:
    """Initialize a token."""
    folder = tmp_path / "hsm"
    (folder / "tokens").mkdir(parents=True)
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(PIN + "\n")
    made = Token(folder=folder)
    made.make("smsgw")
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
    assert "holds a key named 'smsgw root' already" in again["error"]["message"]
    token.ca("rotate", "activate", "--dir", ca)
    (token.folder / "pin").write_text("00-00-00")
    wrong = token.ca("rotate", "prepare", "--dir", ca, *token.root, ends=1)
    assert "PinIncorrect" in wrong["error"]["message"]
    (token.folder / "pin").chmod(0o644)
    readable = token.ca("rotate", "prepare", "--dir", ca, *token.root, ends=1)
    assert readable["error"]["reason"] == "SECRET_PERMISSIONS"


def verify(ca: Path, leaf: Path, *words: object) -> subprocess.CompletedProcess[bytes]:
    """Have openssl verify an SVID."""
    command = ["openssl", "verify", "-x509_strict", *map(str, words), "-untrusted", str(leaf), str(leaf)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


def test_no_key_is_a_file(token: Token, tmp_path: Path) -> None:
    """Root, active and standby have a token each; none can be extracted; they sign, take turns, and are destroyed."""
    ca, leaf = tmp_path / "ca", tmp_path / "gw"
    token.make("one")
    token.make("two")
    places = [*token.root, *token.named("keys", "one"), *token.named("standby", "two")]
    made = token.ca("init", "--dir", ca, "--trust-domain", "example.org", *places)
    assert (made["keys"], made["standby"]) == ("PKCS#11 token one", "PKCS#11 token two")
    solid = {"extractable": False, "sensitive": True, "never_extractable": True, "given": False}
    assert [token.keys(label) for label in ("smsgw", "one", "two")] == [[solid]] * 3
    first = next(one for one in token.ca("show", "--dir", ca)["authorities"] if one["state"] == "active"
                 and one["kind"] == "intermediate")  # fmt: skip
    serials = []
    for rounds in range(2):
        issued = token.ca("issue", "--dir", ca, "--spiffe-id", "spiffe://example.org/gw", "--out", leaf)
        serials.append(issued["serial"])
        if rounds:
            token.ca("revoke", "--dir", ca, "--serial", issued["serial"], "--reason", "stolen")
        token.ca("crl", "--dir", ca, *token.root, "--out", tmp_path / "crls.pem")
        (tmp_path / "trusted.pem").write_bytes((ca / "root.pem").read_bytes() + (tmp_path / "crls.pem").read_bytes())
        checked = verify(
            ca, leaf.with_suffix(".pem"), "-crl_check", "-crl_check_all", "-CAfile", tmp_path / "trusted.pem"
        )
        assert (checked.returncode, b"certificate revoked" in checked.stderr) == (2 * rounds, bool(rounds)), checked
        token.ca("rotate", "activate", "--dir", ca)
        token.ca("rotate", "prepare", "--dir", ca, *token.root)
    assert {path.name for path in tmp_path.rglob("*.key")} == {"gw.key"}, "the workload's, and no other"
    shown = token.ca("show", "--dir", ca)["authorities"]
    homes = {one["state"]: one["key_in"] for one in shown if one["kind"] == "intermediate"}
    assert homes["active"] != homes["standby"], "the active key and the standby's take turns"
    assert [len(token.keys(label)) for label in ("one", "two")] == [2, 2]
    token.ca("revoke", "--dir", ca, first["key_id"], *token.root)
    assert [len(token.keys(label)) for label in ("one", "two")] == [1, 2]


SERVED = """
import datetime as dt, sys
from pathlib import Path
import threading
from certs.ca.authority import Authority
from certs.ca.profile import LeafRequest
from certs.spiffe_id import SpiffeId
now = dt.datetime.now(dt.UTC)
request = LeafRequest(spiffe_id=SpiffeId.parse("spiffe://example.org/x"))
def work(failed):
    authority = Authority.open(Path(sys.argv[1]))
    try:
        for _ in range(10):
            authority.issue(request, now)
            authority.sign_jwt(request.spiffe_id, ["a"], now)
    except Exception as refused:
        failed.append(repr(refused))
    finally:
        authority.close()
authority = Authority.open(Path(sys.argv[1]))
authority.keep_jwt_keys(now)
authority.close()
failed = []
threads = [threading.Thread(target=work, args=(failed,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""


def test_threads_share_a_token(token: Token, tmp_path: Path) -> None:
    """The threads of a service sign by one token, X.509 and JWT, and none is told that another has logged in."""
    ca = tmp_path / "ca"
    token.make("one")
    token.ca("init", "--dir", ca, "--trust-domain", "example.org", "--pkcs11-module", token.module,
             *token.named("keys", "one"))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SERVED, str(ca)],
        capture_output=True, text=True, timeout=90, check=True, env=token.environment,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert len(token.keys("one")) == 3, "active, standby and one for JWT-SVIDs"


def test_serve_without_its_token(token: Token, tmp_path: Path) -> None:
    """With a wrong PIN the authority is not opened, and says so; the paths are corrected in authority.json."""
    ca = tmp_path / "ca"
    token.make("one")
    token.ca("init", "--dir", ca, "--trust-domain", "example.org", "--pkcs11-module", token.module,
             *token.named("keys", "one"))  # fmt: skip
    other = token.folder / "other"
    other.touch(mode=0o600)
    other.write_text("00-00-00")
    manifest = json.loads((ca / "authority.json").read_text())
    manifest["tokens"]["one"]["pin_file"] = str(other)
    (ca / "authority.json").write_text(json.dumps(manifest))
    words = ("issue", "--dir", ca, "--spiffe-id", "spiffe://example.org/gw", "--out", tmp_path / "gw")
    assert "PinIncorrect" in token.ca(*words, ends=1)["error"]["message"]
    other.write_text(PIN)
    token.ca(*words)


def test_a_takeover_under_a_running_service(token: Token, tmp_path: Path) -> None:
    """Both intermediates in tokens: a taint by another process makes the standby issue, and lists and SVIDs follow."""
    ca = tmp_path / "ca"
    for label in ("one", "two"):
        token.make(label)
    token.ca("init", "--dir", ca, "--trust-domain", "example.org", "--pkcs11-module", token.module,
             *token.named("keys", "one"), *token.named("standby", "two"))  # fmt: skip
    (tmp_path / "svids.yaml").write_text("- spiffe_id: spiffe://example.org/gw\n  out: gw\n")
    command = [sys.executable, "-c", "from certs.cli import ca; ca()", "serve", "--json", "--dir", str(ca), "--svids",
               str(tmp_path / "svids.yaml"), "--crl-dir", str(tmp_path / "crl")]  # fmt: skip
    environment = {**token.environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        killer = threading.Timer(90, process.kill)  # bounds every wait below
        killer.start()
        try:
            assert process.stdout is not None
            seen = [json.loads(process.stdout.readline()) for _ in range(4)]
            assert [line["event"] for line in seen] == ["crl", "crl", "issued", "ready"]
            first = seen[2]["authority_key_id"]
            taken = token.ca("taint", "--dir", ca, first)["active"]
            after = json.loads(process.stdout.readline())
            assert (after["event"], after["authority_key_id"]) == ("issued", taken)
        finally:
            killer.cancel()
            process.kill()
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes((ca / "root.pem").read_bytes() + (tmp_path / "crl" / "crls.pem").read_bytes())
    checked = verify(ca, tmp_path / "gw.pem", "-crl_check", "-crl_check_all", "-CAfile", trusted)
    assert checked.returncode == 0, checked.stderr
