"""What the judges need: an appliance's folder, the npm packages, clients of the API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from smsgw.v1 import message_service_pb2_grpc as rpc
from tests.appliance import SERVER_NAME, Appliance, Caller

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = Path(__file__).parent / "node"
NODE_MODULES = ROOT / ".tools" / "interop" / "node_modules"
PYTHON_PACKAGES = ROOT / ".tools" / "interop-python"


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    """A folder with keys of a new authority."""
    return Appliance.create(tmp_path / "appliance")


@pytest.fixture
def node_environment() -> dict[str, str]:
    """The environment in which Node.js finds the packages of tests/interop/node."""
    if not NODE_MODULES.is_dir():
        pytest.fail("the npm packages are not installed: run `make interop-tools`")
    return {"NODE_PATH": str(NODE_MODULES), "NODE_OPTIONS": ""}


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Every command that the judges are."""
    missing = [
        name for name in ("node", "tshark", "dumpcap", "strace", "openssl", "curl", "go") if shutil.which(name) is None
    ]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found: run `make interop-tools`")


class Client:
    """Opens API channels and closes them at the end of the test."""

    def __init__(self) -> None:
        self._channels: list[grpc.Channel] = []

    def __call__(self, port: int, caller: Caller) -> rpc.MessageServiceStub:
        """Return a stub of the node on `port`, over mutual TLS."""
        credentials = grpc.ssl_channel_credentials(
            caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
        self._channels.append(channel)
        return rpc.MessageServiceStub(channel)

    def close(self) -> None:
        """Close every channel."""
        for channel in self._channels:
            channel.close()


@pytest.fixture
def client() -> Iterator[Client]:
    """Makes stubs."""
    made = Client()
    yield made
    made.close()
