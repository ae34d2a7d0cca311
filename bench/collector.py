"""A collector that takes whatever it is sent and keeps nothing: `python -m bench.collector CERTIFICATE KEY ROOTS`.

It asks for a client certificate, as a real one would, says on which port it listens, and ends with SIGTERM.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

SERVICES = [f"opentelemetry.proto.collector.{name.lower()}.v1.{name}Service" for name in ("Trace", "Metrics")]


def _take(request: bytes, context: grpc.ServicerContext) -> bytes:
    del request, context
    return b""  # an empty response: all of it was taken


def main() -> None:
    """Serve until the end of the process."""
    certificate, key, roots = (Path(name).read_bytes() for name in sys.argv[1:4])
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    for name in SERVICES:
        handlers: dict[str, Any] = {"Export": grpc.unary_unary_rpc_method_handler(_take)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    credentials = grpc.ssl_server_credentials([(key, certificate)], root_certificates=roots, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(f"collector on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
