"""What a searched node exports: spans and metrics to a real collector over mutual TLS, and the page for Prometheus."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from tests.certificates import TestAuthority
from tests.gateway.telemetry.receiver import NAME, Receiver, collector_credentials, listening, otlp_settings
from tests.plaintext import Place

_WAIT_S = 10.0


@dataclass(kw_only=True)
class Exports:
    """A collector that keeps what it is sent, and the pages that were read."""

    receiver: Receiver = field(default_factory=Receiver)
    port: int = 0  # of the collector
    page_port: int = 0
    pages: list[bytes] = field(default_factory=list)

    def settings(self, folder: Path, authority: TestAuthority) -> dict[str, object]:
        """Return the node's section `telemetry`; writes the files that it names."""
        otlp = otlp_settings(folder, authority, self.port)
        return {
            "traces_per_s": 1000,
            "otlp": {
                "endpoint": f"127.0.0.1:{self.port}",
                "ca_file": str(otlp.ca_file),
                "server_name": NAME,
                "certificate_file": str(otlp.certificate_file),
                "key_file": str(otlp.key_file),
                "metrics_every": "1s",
            },
            "metrics": {"listen": f"127.0.0.1:{self.page_port}", "insecure": True},
        }

    def spans(self) -> Iterator[Place]:
        """Yield all spans that came."""
        yield Place("exported spans", b"".join(request.SerializeToString() for request in self.receiver.requests))

    def metrics(self) -> Iterator[Place]:
        """Yield all metrics that came."""
        octets = b"".join(request.SerializeToString() for request in self.receiver.metric_requests)
        yield Place("exported metrics", octets)

    def page(self) -> Iterator[Place]:
        """Read the page, if there is a node to give it; yield all that were read."""
        with contextlib.suppress(OSError), contextlib.closing(self._connection()) as connection:
            connection.request("GET", "/metrics")
            self.pages.append(connection.getresponse().read())
        yield Place("pages for Prometheus", b"".join(self.pages))

    def _connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.page_port, timeout=_WAIT_S)


@contextlib.contextmanager
def collecting(folder: Path) -> Iterator[tuple[Exports, dict[str, object]]]:
    """Run a collector; it, and the settings of a node that exports to it, whose files are in `folder`."""
    folder.mkdir()
    authority = TestAuthority("collector.example")
    with listening(collector_credentials(authority)) as (receiver, port):
        exports = Exports(receiver=receiver, port=port, page_port=_free_port())
        yield exports, exports.settings(folder, authority)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
