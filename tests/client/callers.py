"""Workloads for the client's tests: an identity in files, rotated as an agent does, and clients that use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certs.svid import X509Svid, publish
from smsgw.client import AsyncClient, Client, IdentityFiles, Message, RetryPolicy
from tests.certificates import IssuedSvid, TestAuthority
from tests.gateway.api.rig import AUTHORITY

SERVER_ID = "spiffe://example.org/gateway"
TO = "+4915112345678"
TEXT = "Your code is 4711"


@dataclass(slots=True)
class Workload:
    """A workload's identity in a folder."""

    folder: Path
    path: str = "/payments/api"
    authority: TestAuthority = AUTHORITY
    federated: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.bundle_file.write_bytes(self.authority.bundle_pem)
        self.rotate()

    @property
    def bundle_file(self) -> Path:
        """The bundle of its trust domain."""
        return self.folder / "bundle.pem"

    def rotate(self, **changes: Any) -> IssuedSvid:
        """Put a new SVID in place of the one before, in one step."""
        issued = self.authority.svid(self.path, **changes)
        svid = X509Svid.from_pem(issued.presented_pem, issued.key_pem)
        publish(svid, self.folder / "svid.pem", self.folder / "svid.key")
        return issued

    def files(self, **options: Any) -> IdentityFiles:
        """Return the source that reads these files."""
        options = {"look_every_s": 0.02, "federated": self.federated, **options}
        return IdentityFiles(self.folder / "svid.pem", self.folder / "svid.key", self.bundle_file, **options)

    def async_client(self, port: int, *, server_id: str = SERVER_ID, retry: RetryPolicy | None = None) -> AsyncClient:
        """Return a client of the gateway on this port."""
        return AsyncClient(f"127.0.0.1:{port}", server_id=server_id, identity=self.files(), retry=retry)

    def client(self, port: int, *, server_id: str = SERVER_ID, retry: RetryPolicy | None = None) -> Client:
        """Return a blocking client of the gateway on this port."""
        return Client(f"127.0.0.1:{port}", server_id=server_id, identity=self.files(), retry=retry)


def otp(number: int = 0, **changes: Any) -> Message:
    """Return a good message."""
    fields: dict[str, Any] = {"to": TO, "sender": "ACME", "category": "OTP", "text": f"{TEXT} {number}", **changes}
    return Message(**fields)


def otps(count: int) -> Iterable[Message]:
    """Yield good messages."""
    return (otp(number) for number in range(count))
