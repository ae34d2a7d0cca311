"""What gRPC's core would write past our log."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
from pathlib import Path

from tests.gateway.cli.test_serve import ready_line, running

_WAIT_S = 20


def test_the_core_is_silent(site: Path) -> None:
    """However clients misbehave in their handshakes, every line on standard error is a record of ours."""
    config = site / "smsgw.yaml"
    config.write_text(re.sub(r"127\.0\.0\.1:(7443|9464)", "127.0.0.1:0", config.read_text()))
    with running(site, "serve", "--json") as node:
        host, _, port = json.loads(ready_line(node))["api"].rpartition(":")
        for octets in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x1b[31m\n" * 100):
            with socket.create_connection((host, int(port)), timeout=_WAIT_S) as bad:
                bad.sendall(octets)
                bad.settimeout(_WAIT_S)
                with contextlib.suppress(ConnectionError):
                    while bad.recv(4096):
                        pass
        node.send_signal(signal.SIGINT)
        assert node.wait(_WAIT_S) == 0
    events = [json.loads(line)["event"] for line in (site / "stderr.log").read_text().splitlines()]
    assert "ready" in events
