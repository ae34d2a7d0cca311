"""Where the Workload API is (SPIFFE Workload Endpoint §4): a Unix socket, or TCP on this host's loopback.

The specification allows any address for TCP. What comes from there is a private key in plain text, so this reader takes
loopback alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from certs.errors import BadEndpoint

ENVIRONMENT = "SPIFFE_ENDPOINT_SOCKET"
MAX_PATH_BYTES = 107  # of a Unix socket's name on Linux, its terminating zero left out

_UNIX = re.compile(r"unix:(?://)?(?P<path>/[^/?#%\s][^?#%\s]*)", re.ASCII)
_TCP = re.compile(r"tcp://(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})", re.ASCII)
_SHAPES = "unix:///run/agent/api.sock or tcp://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a Workload API, checked.

    Attributes:
        text: as it was given.
        target: as gRPC wants it.
    """

    text: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Return the endpoint that `text` names: `unix:///PATH`, `unix:/PATH`, `tcp://IP:PORT`. Raises BadEndpoint."""
        if unix := _UNIX.fullmatch(text):
            return cls(text, _unix_target(text, unix["path"]))
        if tcp := _TCP.fullmatch(text):
            return cls(text, _tcp_target(text, tcp["six"] or tcp["four"], int(tcp["port"])))
        raise BadEndpoint(f"{text[:200]!a} is no address of a Workload API: use {_SHAPES}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Endpoint:
        """Return the endpoint that SPIFFE_ENDPOINT_SOCKET names. Raises BadEndpoint."""
        text = environment.get(ENVIRONMENT, "")
        if not text:
            raise BadEndpoint(f"{ENVIRONMENT} is not set: set it to the Workload API's address, such as {_SHAPES}")
        return cls.parse(text)

    def __str__(self) -> str:
        return self.text


def _unix_target(text: str, path: str) -> str:
    if len(path.encode()) > MAX_PATH_BYTES:
        raise BadEndpoint(f"{text!a}: the path of a Unix socket has at most {MAX_PATH_BYTES} bytes")
    return f"unix://{path}"


def _tcp_target(text: str, host: str, port: int) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError as refused:
        raise BadEndpoint(f"{text!a}: the host has to be an IP address") from refused
    if not 1 <= port <= 65535:
        raise BadEndpoint(f"{text!a}: the port has to be 1 to 65535")
    if not address.is_loopback:
        raise BadEndpoint(f"{text!a}: not on loopback, and private keys would travel in plain text: use {_SHAPES}")
    return f"ipv6:[{address}]:{port}" if address.version == 6 else f"ipv4:{address}:{port}"
