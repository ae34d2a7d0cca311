"""Fetches secrets from HashiCorp Vault's key-value engine, version 2: GET /v1/MOUNT/data/PATH, over verified TLS.

One request for each path, at most three attempts. No proxy, no redirect, no environment variable has a say. Answers are
bounded, and so is the time for all of it, names that do not resolve included. Texts name paths, never what is there.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import queue
import ssl
import threading
import time
from collections.abc import Mapping, Sequence

from gateway.config.secret_kinds import VaultField
from gateway.config.vault_http import ANSWER_BYTES, VaultRefused, VaultUnreachable, request, tls_of, token_of
from gateway.config.vault_settings import VaultSettings

__all__ = ["VaultRefused", "fetch", "octets_of", "secret_of"]

_ATTEMPTS = 3
_PAUSE_S = 0.2
_ADVICE = {
    400: "does not understand the request: check vault.mount and the path",
    403: "refuses the token, or the token's policies do not allow reading this: see vault.token_file",
    404: "has nothing there, or the newest version was deleted: check vault.mount, vault.namespace and the path",
}


def fetch(settings: VaultSettings, fields: Sequence[VaultField]) -> Mapping[VaultField, bytes]:
    """Return the octets of each field, within `settings.timeout_s`. Blocks. Raises VaultRefused."""
    token, tls = token_of(settings), tls_of(settings)
    answered: queue.SimpleQueue[Mapping[VaultField, bytes] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answered.put(_Asking(settings, token, tls).fields(fields))
        except Exception as error:  # the top of a thread: it is raised where it is waited for
            answered.put(error)

    # A thread of its own, since neither a name server nor a server that drips its octets has an end otherwise.
    threading.Thread(target=ask, name="vault", daemon=True).start()
    try:
        found = answered.get(timeout=settings.timeout_s)
    except queue.Empty:
        raise VaultRefused(f"{settings.address} did not answer within {settings.timeout_s:g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


class _Asking:
    """One time of asking, until a deadline."""

    def __init__(self, settings: VaultSettings, token: str, tls: ssl.SSLContext) -> None:
        self._settings = settings
        self._token = token
        self._tls = tls
        self._deadline = time.monotonic() + settings.timeout_s

    def fields(self, fields: Sequence[VaultField]) -> Mapping[VaultField, bytes]:
        secrets = {path: self._persistently(path) for path in dict.fromkeys(field.path for field in fields)}
        return {field: octets_of(field, secrets[field.path]) for field in fields}

    def _persistently(self, path: str) -> Mapping[str, object]:
        attempt = 1
        while True:
            try:
                return self._secret(path)
            except VaultUnreachable as error:
                pause_s = _PAUSE_S * 2 ** (attempt - 1)
                if attempt >= _ATTEMPTS or self._left_s() <= pause_s:
                    raise VaultRefused(f"{self._settings.address}, {path}: {error}") from None
                time.sleep(pause_s)
                attempt += 1

    def _secret(self, path: str) -> Mapping[str, object]:
        where = f"{self._settings.mount}/data/{path}"
        answer = request(self._settings, "GET", where, None, token=self._token, tls=self._tls, wait_s=self._left_s())
        return secret_of(answer.status, answer.body, f"{self._settings.address}, {path}")

    def _left_s(self) -> float:
        return self._deadline - time.monotonic()


def secret_of(status: int, body: bytes, where: str) -> Mapping[str, object]:
    """Return the fields in an answer. Raises VaultRefused, and VaultUnreachable for what may pass."""
    if status == http.HTTPStatus.TOO_MANY_REQUESTS or status >= 500:  # 503: sealed, or in maintenance
        raise VaultUnreachable(f"answers {status}: sealed, overloaded or out of order")
    if status != http.HTTPStatus.OK:
        raise VaultRefused(f"{where}: Vault {_ADVICE.get(status, f'answers {status}')}")
    if len(body) > ANSWER_BYTES:
        raise VaultRefused(f"{where}: the answer is larger than {ANSWER_BYTES >> 20} MiB")
    try:
        secret = json.loads(body)["data"]["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        secret = None
    if not isinstance(secret, dict):
        raise VaultRefused(f"{where}: this is no answer of a key-value engine of version 2: check vault.mount")
    return secret


def octets_of(field: VaultField, secret: Mapping[str, object]) -> bytes:
    """Return the octets of a field. Raises VaultRefused."""
    value = secret.get(field.field)
    if not isinstance(value, str) or not value:
        raise VaultRefused(f"{field}: the secret has no such field, or it is no text")
    if not field.encoded:
        return value.encode()
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise VaultRefused(f"{field}: the field is not base64") from None
