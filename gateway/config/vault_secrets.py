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

from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.config.secret_kinds import VaultField
from gateway.config.vault_settings import VaultSettings

_TOKEN_BYTES = 4096
_ANSWER_BYTES = 1 << 20
_ATTEMPTS = 3
_PAUSE_S = 0.2
_ADVICE = {
    400: "does not understand the request: check vault.mount and the path",
    403: "refuses the token, or the token's policies do not allow reading this: see vault.token_file",
    404: "has nothing there, or the newest version was deleted: check vault.mount, vault.namespace and the path",
}


class VaultRefused(Exception):
    """A secret cannot be had from Vault; the text says why and what to do."""


class _TryAgain(Exception):
    """Vault could not be asked just now; the text says why."""


def fetch(settings: VaultSettings, fields: Sequence[VaultField]) -> Mapping[VaultField, bytes]:
    """Return the octets of each field, within `settings.timeout_s`. Blocks. Raises VaultRefused."""
    token, context = _token(settings), _context(settings)
    answered: queue.SimpleQueue[Mapping[VaultField, bytes] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answered.put(_Asking(settings, token, context).fields(fields))
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

    def __init__(self, settings: VaultSettings, token: str, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._context = context
        self._deadline = time.monotonic() + settings.timeout_s
        self._headers = {"X-Vault-Token": token, "X-Vault-Request": "true", "Accept": "application/json"}
        if settings.namespace:
            self._headers["X-Vault-Namespace"] = settings.namespace

    def fields(self, fields: Sequence[VaultField]) -> Mapping[VaultField, bytes]:
        secrets = {path: self._persistently(path) for path in dict.fromkeys(field.path for field in fields)}
        return {field: octets_of(field, secrets[field.path]) for field in fields}

    def _persistently(self, path: str) -> Mapping[str, object]:
        attempt = 1
        while True:
            try:
                return self._secret(path)
            except _TryAgain as error:
                pause_s = _PAUSE_S * 2 ** (attempt - 1)
                if attempt >= _ATTEMPTS or self._left_s() <= pause_s:
                    raise VaultRefused(f"{self._settings.address}, {path}: {error}") from None
                time.sleep(pause_s)
                attempt += 1

    def _secret(self, path: str) -> Mapping[str, object]:
        address = self._settings.address
        line = http.client.HTTPSConnection(
            address.host, address.port, timeout=max(0.1, self._left_s()), context=self._context
        )
        try:
            line.request("GET", f"/v1/{self._settings.mount}/data/{path}", headers=self._headers)
            with line.getresponse() as answer:
                body = answer.read(_ANSWER_BYTES + 1)
                status, missing = answer.status, answer.length
        except ssl.SSLCertVerificationError as error:
            raise VaultRefused(f"{address} cannot be trusted: {error.verify_message}; see vault.ca_file") from None
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgain(f"cannot be asked: {type(error).__name__}") from None
        finally:
            line.close()
        if missing and len(body) <= _ANSWER_BYTES:
            raise _TryAgain("cuts its answers off")
        return secret_of(status, body, f"{address}, {path}")

    def _left_s(self) -> float:
        return self._deadline - time.monotonic()


def secret_of(status: int, body: bytes, where: str) -> Mapping[str, object]:
    """Return the fields in an answer. Raises VaultRefused, and _TryAgain for what may pass."""
    if status == http.HTTPStatus.TOO_MANY_REQUESTS or status >= 500:  # 503: sealed, or in maintenance
        raise _TryAgain(f"answers {status}: sealed, overloaded or out of order")
    if status != http.HTTPStatus.OK:
        raise VaultRefused(f"{where}: Vault {_ADVICE.get(status, f'answers {status}')}")
    if len(body) > _ANSWER_BYTES:
        raise VaultRefused(f"{where}: the answer is larger than {_ANSWER_BYTES >> 20} MiB")
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


def _token(settings: VaultSettings) -> str:
    try:
        token = read_secret_file(settings.token_file, max_bytes=_TOKEN_BYTES).decode().strip()
    except (SecretFileRefused, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, SecretFileRefused) else f"{settings.token_file} holds no token"
        raise VaultRefused(f"vault.token_file: {why}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise VaultRefused(f"vault.token_file: {settings.token_file} holds no token")
    return token


def _context(settings: VaultSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    except (OSError, ssl.SSLError):
        raise VaultRefused(f"vault.ca_file: {settings.ca_file} holds no certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
