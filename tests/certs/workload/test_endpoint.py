"""The address of a Workload API."""

from __future__ import annotations

import pytest

from certs.errors import BadEndpoint
from certs.workload.endpoint import Endpoint


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("unix:///run/spire/api.sock", "unix:///run/spire/api.sock"),
        ("unix:/run/spire/api.sock", "unix:///run/spire/api.sock"),
        ("tcp://127.0.0.1:8000", "ipv4:127.0.0.1:8000"),
        ("tcp://127.9.0.1:1", "ipv4:127.9.0.1:1"),
        ("tcp://[::1]:65535", "ipv6:[::1]:65535"),
    ],
)
def test_addresses(text: str, target: str) -> None:
    """Both schemes become what gRPC wants, and the text is kept."""
    found = Endpoint.parse(text)
    assert (found.target, str(found)) == (target, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/run/api.sock",
        "unix:",
        "unix:///",
        "unix://host/run/api.sock",
        "unix:run/api.sock",
        "unix:////run/api.sock",
        "unix:///run/api.sock?x=1",
        "unix:///run/api.sock#x",
        "unix:///run/a%20b",
        "unix:///run/api.sock\n",
        "unix:///" + "a" * 200,
        "UNIX:///run/api.sock",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:8000/",
        "tcp://127.0.0.1:8000/foo",
        "tcp://user@127.0.0.1:8000",
        "tcp://localhost:8000",
        "tcp://127.1:8000",
        "tcp://::1:8000",
        "tcp://[127.0.0.1]:x",
        "https://127.0.0.1:8000",
        "dns:///127.0.0.1:8000",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """Everything that Workload Endpoint §4 does not allow is refused."""
    with pytest.raises(BadEndpoint):
        Endpoint.parse(text)


@pytest.mark.parametrize("text", ["tcp://10.0.0.1:8000", "tcp://0.0.0.0:8000", "tcp://[2001:db8::1]:8000"])
def test_off_loopback(text: str) -> None:
    """No private key is fetched in plain text from another host."""
    with pytest.raises(BadEndpoint, match="loopback"):
        Endpoint.parse(text)


def test_the_environment() -> None:
    """SPIFFE_ENDPOINT_SOCKET names it, and its absence is told with what to set."""
    assert Endpoint.from_environment({"SPIFFE_ENDPOINT_SOCKET": "unix:///a"}).target == "unix:///a"
    for empty in ({}, {"SPIFFE_ENDPOINT_SOCKET": ""}):
        with pytest.raises(BadEndpoint, match="SPIFFE_ENDPOINT_SOCKET is not set"):
            Endpoint.from_environment(empty)
