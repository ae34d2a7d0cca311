"""The guard of addresses: a table, and properties against `ipaddress`, which knows the registries in its own way."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import EndpointRefused, Reason
from certs.federation.addresses import Network, check_address, embedded, permitted

PUBLIC = ("8.8.8.8", "93.184.216.34", "1.0.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001:81b::200e")
REFUSED = (
    "0.0.0.0",  # noqa: S104 - an address that must be refused
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",  # the metadata service of clouds
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible, deprecated
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::1",
    "100::1",  # discard
    "2001::1",  # Teredo
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:808:808::1",
    "3fff::1",
    "4000::1",  # not assigned
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)


def allow(*networks: str) -> list[Network]:
    """Return networks."""
    return [ipaddress.ip_network(network) for network in networks]


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    """What is routed on the internet may be connected to."""
    check_address(ipaddress.ip_address(text), ())


@pytest.mark.parametrize("text", REFUSED)
def test_special(text: str) -> None:
    """What is set apart is refused, with a reason of its own, and the text says what to do."""
    with pytest.raises(EndpointRefused, match="allow_networks") as caught:
        check_address(ipaddress.ip_address(text), ())
    assert caught.value.reason is Reason.ADDRESS_REFUSED


@pytest.mark.parametrize(
    ("text", "networks", "fine"),
    [
        ("10.1.2.3", ("10.1.0.0/16",), True),
        ("10.2.0.1", ("10.1.0.0/16",), False),
        ("127.0.0.1", ("10.0.0.0/8", "127.0.0.0/8"), True),
        ("fd00::1", ("fd00::/64",), True),
        ("fd01::1", ("fd00::/64", "10.0.0.0/8"), False),
        ("::ffff:10.0.0.1", ("10.0.0.0/8",), False),  # the notation itself is not allowed
        ("::ffff:10.0.0.1", ("::ffff:0:0/96",), False),  # nor is what it leads to
        ("::ffff:10.0.0.1", ("::ffff:0:0/96", "10.0.0.0/8"), True),
        ("64:ff9b::8.8.8.8", ("64:ff9b::/96",), True),
        ("64:ff9b::10.0.0.1", ("64:ff9b::/96",), False),
        ("2002:a00:1::1", ("2002::/16",), False),
    ],
)
def test_allowed(text: str, networks: tuple[str, ...], fine: bool) -> None:
    """A network that the operator names is allowed, and what hides inside an address has to be as well."""
    if fine:
        check_address(ipaddress.ip_address(text), allow(*networks))
    else:
        with pytest.raises(EndpointRefused):
            check_address(ipaddress.ip_address(text), allow(*networks))


_ADDRESSES = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.sampled_from([ipaddress.ip_address(text) for text in (*PUBLIC, *REFUSED)]),
)


@given(_ADDRESSES)
def test_never_more_than_the_registries(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Whatever passes is global and not multicast, says another reader of the registries, and so is what is inside."""
    try:
        check_address(address, ())
    except EndpointRefused:
        return
    assert address.is_global
    assert not any((address.is_multicast, address.is_private, address.is_loopback, address.is_link_local))
    assert embedded(address) is None


@given(st.ip_addresses(v=4))
def test_no_way_around_by_ipv6(address: ipaddress.IPv4Address) -> None:
    """No way of writing an IPv4 address in IPv6 reaches what the address itself may not."""
    number = int(address)
    for outer in (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    ):
        with pytest.raises(EndpointRefused):
            check_address(outer, ())
        everything_v6 = allow("::/1")
        try:
            check_address(outer, everything_v6)
        except EndpointRefused:
            with pytest.raises(EndpointRefused):
                check_address(address, ())
        else:
            check_address(address, ())


def test_permitted() -> None:
    """Of several addresses those that may be connected to are left, in their order."""
    found = permitted(["127.0.0.1", "8.8.8.8", "fe80::1%eth0", "no address", "2606:4700::1111"], ())
    assert [str(address) for address in found] == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1", "10.0.0.1"], ["2606:4700::1111%eth0"], ["localhost"]])
def test_none_permitted(addresses: list[str]) -> None:
    """When nothing is left, it is refused; a zone is refused whatever is in front of it."""
    with pytest.raises(EndpointRefused):
        permitted(addresses, ())
