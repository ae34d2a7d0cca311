"""A fake of Vault, ours: what its key-value engine (version 2) answers to a read, by Vault's API documentation.

No Vault has judged it. It checks token and namespace, and can be told to be sealed, to redirect, to drip or to lie.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.certificates import TestAuthority

TOKEN = "hvs.throwaway"


class FakeVault:
    """The state of the fake. `secrets` is by path below /v1/secret/data/; `answers` come first, one for a request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = TOKEN
        self.namespace: str | None = None
        self.secrets: dict[str, dict[str, object]] = {}
        self.answers: list[tuple[int, bytes]] = []
        self.paths: list[str] = []
        self.silent = threading.Event()  # set: requests are not answered until `release` is
        self.release = threading.Event()
        self.posted: Callable[[str, bytes], tuple[int, bytes]] | None = None  # what answers a write
        self.cut = 0  # how many octets at the end of an answer are not sent

    def answer(
        self, path: str, token: str | None, namespace: str | None, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return status and body for a read, or for a write of `body`."""
        self.paths.append(path)
        if self.answers:
            return self.answers.pop(0)
        if token != self.token or namespace != self.namespace:
            return 403, b'{"errors":["permission denied"]}'
        if body is not None and self.posted is not None:
            return self.posted(path, body)
        secret = self.secrets.get(path.removeprefix("/v1/secret/data/"))
        if secret is None:
            return 404, b'{"errors":[]}'
        return 200, json.dumps({"data": {"data": secret, "metadata": {"version": 1}}}).encode()


@contextmanager
def fake_vault(folder: Path) -> Iterator[FakeVault]:
    """Run a fake on loopback; its authority is in folder/vault-ca.pem, its token in folder/vault.token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, written: bytes | None) -> None:
            if vault.silent.is_set():
                vault.release.wait(20)
                return
            headers = self.headers
            status, body = vault.answer(self.path, headers["X-Vault-Token"], headers["X-Vault-Namespace"], written)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/v1/elsewhere")
            self.end_headers()
            self.wfile.write(body[: len(body) - vault.cut])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    authority = TestAuthority("vault.example")
    (folder / "vault-ca.pem").write_bytes(authority.bundle_pem)
    (folder / "vault.token").write_text(f"{TOKEN}\n")
    (folder / "vault.token").chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.svid("/vault", uris=(), dns=("localhost",)).write(folder, "vault-server"))

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def finish_request(self, request: Any, client_address: Any) -> None:
            with context.wrap_socket(request, server_side=True) as secured:
                Handler(secured, client_address, self)

        def handle_error(self, *_: object) -> None:
            """Say nothing: a handshake that is refused is the test's matter."""

    with Server(("127.0.0.1", 0), Handler) as server:
        vault = FakeVault(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield vault
        finally:
            vault.release.set()
            server.shutdown()
            thread.join(20)
