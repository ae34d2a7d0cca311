"""Where the bundle of a trust domain is, and how that place is authenticated (SPIFFE Federation §5.1, §5.2).

The parameters come from the operator alone, never from a peer, a bundle or an answer. It is sans-IO.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from certs.errors import EndpointRefused
from certs.federation.addresses import Network
from certs.spiffe_id import SpiffeId, TrustDomain

HTTPS_PORT: Final = 443
MAX_URL: Final = 2048
_URL: Final = re.compile(r"https://[!-~]+", re.ASCII)  # nothing but printable ASCII
_PATH: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)  # RFC 3986 §3.3, §3.4
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # a last label that resolvers take for a number


class Profile(enum.StrEnum):
    """How an endpoint is authenticated."""

    WEB = "https_web"
    SPIFFE = "https_spiffe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The parts of an endpoint's URL.

    Attributes:
        host: a DNS name in lower case, or an IP address without brackets.
        port: 1 to 65535.
        target: path and query, as they are sent.
    """

    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and, unless it is that of HTTPS, port: the value of the Host header (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.authority}{self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A bundle endpoint.

    Attributes:
        trust_domain: whose bundle it serves.
        location: where it is.
        profile: how it is authenticated.
        server_id: the SPIFFE ID that it must prove; for https_spiffe, and for it alone.
        ca_file: the roots that its certificate is verified with, instead of the system's; for https_web.
        networks: networks that its address may be in although they are not public.
        timeout_s: how long a fetch may take as a whole, in seconds.
    """

    trust_domain: TrustDomain
    location: Location
    profile: Profile = Profile.WEB
    server_id: SpiffeId | None = None
    ca_file: Path | None = None
    networks: Sequence[Network] = ()
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if (self.server_id is not None) is not (self.profile is Profile.SPIFFE):
            raise EndpointRefused(f"the profile {Profile.SPIFFE} wants the SPIFFE ID of the server, and no other does")
        if self.server_id is not None and not self.server_id.path:
            raise EndpointRefused(f"{self.server_id} names a trust domain and no server: it needs a path")
        if self.ca_file is not None and self.profile is Profile.SPIFFE:
            raise EndpointRefused(f"with {Profile.SPIFFE} the server is verified with bundles: leave ca_file out")


def parse_url(url: str, ports: Sequence[int] = ()) -> Location:
    """Return the parts of an endpoint's URL (SPIFFE Federation §5.2.1.1).

    Args:
        url: an absolute `https` URL without user, password and fragment.
        ports: those it may have beside 443.

    Raises EndpointRefused.
    """
    if len(url) > MAX_URL or not _URL.fullmatch(url):
        raise EndpointRefused("wants an https:// URL of printable ASCII, at most 2048 characters")
    try:
        parts = urlsplit(url)
        port = HTTPS_PORT if parts.port is None else parts.port
    except ValueError as refused:
        raise EndpointRefused(f"is no URL: {refused}") from refused
    if "@" in parts.netloc:
        raise EndpointRefused("must not have a user or password: bundles are public (SPIFFE Federation §5.2.1.1)")
    if "#" in url or "\\" in url:
        raise EndpointRefused("must not have a fragment or a backslash")
    if port != HTTPS_PORT and port not in ports:
        raise EndpointRefused(f"has the port {port}: name it in allow_ports, if it is meant")
    host = _host(parts.netloc)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.startswith("/") or not _PATH.fullmatch(target):
        raise EndpointRefused("has a path or query with characters that need percent-encoding")
    return Location(host=host, port=port, target=target)


def _host(netloc: str) -> str:
    """Return the host of `host`, `host:port` or `[address]:port`: a DNS name or an address, in one notation only."""
    if netloc.startswith("["):
        inner, bracket, rest = netloc[1:].partition("]")
        try:
            if not bracket or (rest and not re.fullmatch(r":[0-9]{1,5}", rest)) or "%" in inner:
                raise ValueError
            return str(ipaddress.IPv6Address(inner))
        except ValueError as refused:
            raise EndpointRefused("has no IPv6 address between its brackets; a zone is not allowed") from refused
    host, _, port = netloc.partition(":")
    if port and not re.fullmatch(r"[0-9]{1,5}", port):
        raise EndpointRefused("has no number for a port")
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1].lower()):  # 127.1, 0x7f000001 and 2130706433 are addresses to some resolvers
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as refused:
            raise EndpointRefused(f"{host[:60]!a} is neither a DNS name nor an address in four numbers") from refused
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise EndpointRefused(f"{host[:60]!a} is no DNS name in lower case")
    return host
