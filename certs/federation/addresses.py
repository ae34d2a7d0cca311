"""Which addresses a bundle endpoint may have: the guard against being sent to hosts that are nobody else's business.

Only what is routed on the public internet may be connected to; everything that the IANA registries of special-purpose
addresses (RFC 6890) set apart is refused, unless the operator allows its network. The tables are our own, so that the
answer does not depend on the version of `ipaddress`. It is sans-IO.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from certs.errors import EndpointRefused, Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")  # RFC 4291 §2.4: all that is global unicast today
_SPECIAL: Final[Sequence[tuple[Network, str]]] = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "of this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "of a carrier's NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "of the IETF's protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4 inside IPv6"),
        ("64:ff9b::/96", "IPv4 behind NAT64"),
        ("64:ff9b:1::/48", "IPv4 behind a local NAT64"),
        ("2001::/23", "of the IETF's protocols, Teredo among them"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "unique-local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)


def check_address(address: Address, allowed: Sequence[Network]) -> None:
    """Raise EndpointRefused unless a connection to `address` may be made.

    Args:
        address: where a name led to.
        allowed: networks that the operator allows although they are not public. An IPv4 address inside an IPv6 one
            has to be allowed, or public, as well.
    """
    what = _special(address)
    if what and not _within(address, allowed):
        raise EndpointRefused(
            f"{address} is {what}: no endpoint of another trust domain is expected there; if this one is, name its "
            "network in allow_networks",
            reason=Reason.ADDRESS_REFUSED,
        )
    inner = embedded(address)
    if inner is not None:
        check_address(inner, allowed)


def permitted(addresses: Iterable[str], allowed: Sequence[Network]) -> list[Address]:
    """Return those of `addresses` that a connection may be made to, in their order.

    Raises EndpointRefused when there are none. What is not an address, or has a zone, is refused as well.
    """
    found: list[Address] = []
    refused: list[str] = []
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
            if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
                raise EndpointRefused(f"{text[:60]} has a zone", reason=Reason.ADDRESS_REFUSED)
            check_address(address, allowed)
        except (ValueError, EndpointRefused) as why:
            refused.append(str(why))
        else:
            found.append(address)
    if not found:
        reasons = "; ".join(refused[:3]) or "it has no address"
        raise EndpointRefused(f"no address may be connected to: {reasons}", reason=Reason.ADDRESS_REFUSED)
    return found


def embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one that a host, a relay or a NAT would take out of it; None for none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _special(address: Address) -> str:
    """Return what a special address is, "" for a public one."""
    for network, what in _SPECIAL:
        if address.version == network.version and address in network:
            return what
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_V6:
        return "not global"
    return ""


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
