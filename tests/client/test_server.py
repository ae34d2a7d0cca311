"""Which server is meant: addresses and names as people write them."""

from __future__ import annotations

import pytest

from smsgw.client.server import Server

ID = "spiffe://example.org/gateway"


@pytest.mark.parametrize(
    ("target", "host", "port", "shown"),
    [
        ("gateway.internal:8443", "gateway.internal", 8443, "gateway.internal:8443"),
        ("gateway.internal", "gateway.internal", 8443, "gateway.internal:8443"),
        ("127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"),
        ("[::1]:65535", "::1", 65535, "[::1]:65535"),
        ("[::1]", "::1", 8443, "[::1]:8443"),
    ],
)
def test_addresses(target: str, host: str, port: int, shown: str) -> None:
    """Names, IPv4 and IPv6, with a port or with the usual one."""
    server = Server.parse(target, ID)
    assert (server.host, server.port, server.target) == (host, port, shown)


@pytest.mark.parametrize("target", ["", ":1", "h:", "h:0", "h:65536", "h:x", "::1", "::1:1", "[]:1", "h:\u0661"])
def test_what_is_no_address(target: str) -> None:
    """Anything else is refused, with the text that was given."""
    with pytest.raises(ValueError, match="is no address"):
        Server.parse(target, ID)


@pytest.mark.parametrize("server_id", ["", "example.org", "spiffe://example.org", "spiffe://EXAMPLE.org/g", f"{ID}/"])
def test_what_names_no_gateway(server_id: str) -> None:
    """A server is named by a whole SPIFFE ID with a path, in its strict grammar."""
    with pytest.raises(ValueError, match="server_id"):
        Server.parse("h:1", server_id)


def test_a_server_needs_a_name() -> None:
    """Nobody can mean just any server."""
    with pytest.raises(ValueError, match="SPIFFE ID"):
        Server(host="h", port=1, spiffe_id=None)
