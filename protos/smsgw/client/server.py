"""Which server a client means: its address, and who has to answer there. Sans-IO.

`Server.verify` judges a TLS connection that stands and over which nothing was sent yet.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from certs.bundle import TrustBundles
from certs.errors import BadSpiffeId, IdentityRefused
from certs.spiffe_id import SpiffeId
from certs.verify import verify_peer
from smsgw.client.errors import ServerNotVerified

_DEFAULT_PORT = 8443


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A gateway.

    Attributes:
        host: DNS name or IP address to connect to.
        port: TCP port.
        spiffe_id: who has to answer, exactly; None only with `dns_name`.
        dns_name: a DNS name that its certificate has to carry beside; None for any.
    """

    host: str
    port: int
    spiffe_id: SpiffeId | None
    dns_name: str | None = None

    def __post_init__(self) -> None:
        if self.spiffe_id is None and self.dns_name is None:
            raise ValueError("say who the server is: its SPIFFE ID")

    @classmethod
    def parse(cls, target: str, server_id: str, dns_name: str | None = None) -> Server:
        """Return the server at `target` (host:port, [IPv6]:port). Raises ValueError for what is no address or ID."""
        host, port = _host_port(target)
        try:
            expected = SpiffeId.parse(server_id)
        except BadSpiffeId as refused:
            raise ValueError(f"server_id: {refused}") from refused
        if not expected.path:
            raise ValueError(f"server_id: {server_id} is a trust domain; name the gateway in it")
        return cls(host=host, port=port, spiffe_id=expected, dns_name=dns_name)

    @property
    def target(self) -> str:
        """Its address as text."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def verify(self, presented_pem: Sequence[bytes], bundles: TrustBundles, now: dt.datetime) -> None:
        """Raise ServerNotVerified unless the presented certificates, the leaf first, prove to be this server's."""
        leaf, *intermediates = presented_pem or (b"",)
        try:
            peer = verify_peer(leaf, b"".join(intermediates), bundles, now)
        except IdentityRefused as refused:
            raise ServerNotVerified(f"what answers at {self.target} could not prove who it is: {refused}") from refused
        if self.spiffe_id is not None and peer.spiffe_id != self.spiffe_id:
            raise ServerNotVerified(
                f"{self.spiffe_id} was expected at {self.target}, and {peer.spiffe_id} answers: correct server_id, or "
                "find out who took its place"
            )
        if self.dns_name is not None and self.dns_name.lower() not in {name.lower() for name in peer.dns_names}:
            raise ServerNotVerified(
                f"what answers at {self.target} is trusted, and its certificate has another DNS name; correct the "
                "server name"
            )


def _host_port(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon or (":" in target and target.endswith("]")):
        host, port = target, str(_DEFAULT_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{target!a} is no address: write an IPv6 address as [address]:port")
    if not host or not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{target!a} is no address: write host:port")
    return host, int(port)
