"""Two ends of mutual TLS by PyPI's `spiffe-tls`, with the SVID that a Workload API gives this process.

It prints one JSON object: what arrived when each end wanted the other's identity, and what happens when the client
wants another one than the server has.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from OpenSSL import SSL
from spiffe import SpiffeId, X509Source
from spiffetls import ClientTlsMode, ListenOptions, ServerTlsMode, dial, listen
from spiffetls.errors import TLSConnectionError
from spiffetls.tlsconfig.authorize import authorize_id

HELLO = b"hello over mutual TLS"


def serve(listener: Any) -> None:
    """Echo to two connections; one that its client gives up ends with an error, which is the client's to tell."""
    for _ in range(2):
        connection, _ = listener.accept()
        try:
            connection.sendall(connection.recv(100))
            connection.shutdown()
        except SSL.Error:
            connection.close()


def asked(port: int, source: Any, wanted: str) -> str:
    """Return what a server answers that must have the identity `wanted`; "refused" when it has another."""
    try:
        connection = dial(
            f"127.0.0.1:{port}", source, tls_mode=ClientTlsMode.TLS, authorize_fn=authorize_id(SpiffeId(wanted))
        )
        connection.sendall(HELLO)
        return str(connection.recv(100).decode())
    except TLSConnectionError:
        return "refused"


def main(address: str, own: str) -> None:
    """Run."""
    with X509Source(socket_path=address, timeout_in_seconds=30) as source:
        options = ListenOptions(tls_mode=ServerTlsMode.MTLS, authorize_fn=authorize_id(SpiffeId(own)))
        listener = listen("127.0.0.1:0", source, options)
        port = listener.getsockname()[1]
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        right, wrong = asked(port, source, own), asked(port, source, f"{own}/other")
        print(json.dumps({"right": right, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
