"""The wheel `smsgw-client`: built without a network, it works where nothing of the appliance is installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.client.callers import Workload
from tests.gateway.api.rig import Rig

ROOT = Path(__file__).parents[2]
# Everything that the client may import beside the standard library: its declared dependencies, and what those bring.
ALLOWED = {"smsgw", "certs", "grpc", "google", "cryptography", "joserfc", "_cffi_backend", "typing_extensions"}
PROGRAM = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {allowed!r}:
            raise ModuleNotFoundError(f"not declared by smsgw-client: {{name}}", name=name)

sys.meta_path.insert(0, Wall())
sys.path[:0] = [{wheel!r}]
sys.path.append({site!r})
from smsgw.client import Client, IdentityFiles
import certs, smsgw.v1.message_pb2
assert certs.__file__.startswith({wheel!r})
identity = IdentityFiles({svid!r}, {key!r}, {bundle!r})
with Client("127.0.0.1:{port}", server_id="spiffe://example.org/gateway", identity=identity) as sms:
    print(sms.send(to="+4915112345678", sender="ACME", category="OTP", text="hello").state)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel; the folder it was unpacked into."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT / "protos", capture_output=True, text=True, timeout=60, check=True)
    (built,) = folder.glob("smsgw_client-*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


async def test_it_sends_without_the_appliance(wheel: Path, rig: Rig, workload: Workload) -> None:
    """An interpreter that refuses whatever is not declared sends a message with it."""
    program = PROGRAM.format(
        allowed=ALLOWED,
        wheel=str(wheel),
        site=sysconfig.get_path("purelib"),
        svid=str(workload.folder / "svid.pem"),
        key=str(workload.folder / "svid.key"),
        bundle=str(workload.bundle_file),
        port=rig.port,
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "ACCEPTED"), done.stderr


def test_what_is_in_it(wheel: Path) -> None:
    """Nothing that signs, serves or administers is in it; its types, its license and the messages' protos are."""
    names = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    assert {"smsgw/py.typed", "certs/py.typed", "smsgw/v1/message.proto", "smsgw/client/__init__.py"} <= names
    assert not [name for name in names if name.startswith(("gateway", "carrier", "certs/ca", "certs/agent"))]
    assert {name for name in names if name.endswith("_pb2.py")} == {
        "smsgw/v1/audit_service_pb2.py",
        "smsgw/v1/message_pb2.py",
        "smsgw/v1/message_service_pb2.py",
    }
    assert any(name.endswith("LICENSE") for name in names)
    sources = {f"smsgw/client/{path.name}" for path in (ROOT / "protos/smsgw/client").glob("*.py")}
    assert sources <= names


def test_it_is_of_one_version_with_the_appliance() -> None:
    """Version and the bounds of shared dependencies are those of the whole."""
    whole, part = (_project(ROOT / name) for name in ("pyproject.toml", "protos/pyproject.toml"))
    assert part["version"] == whole["version"]
    assert set(part["dependencies"]) <= set(whole["dependencies"])


def _project(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return found
