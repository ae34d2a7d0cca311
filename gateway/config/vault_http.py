"""One request to HashiCorp Vault, over verified TLS: the answer's status and octets, bounded in size and time.

No proxy, no redirect, no environment variable has a say.
"""

from __future__ import annotations

import http.client
import ssl
from typing import NamedTuple

from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.config.vault_settings import VaultSettings

ANSWER_BYTES = 1 << 20
_TOKEN_BYTES = 4096


class VaultRefused(Exception):
    """What is wanted cannot be had from Vault; the text says why and what to do."""


class VaultUnreachable(Exception):
    """Vault could not be asked just now; the text says why."""


class VaultAnswer(NamedTuple):
    """What Vault answered; `body` has one octet more than `ANSWER_BYTES` when it is too long."""

    status: int
    body: bytes


def request(
    settings: VaultSettings,
    method: str,
    path: str,
    body: bytes | None,
    *,
    token: str,
    tls: ssl.SSLContext,
    wait_s: float,
) -> VaultAnswer:
    """Ask Vault once; `path` is below /v1/. Raises VaultUnreachable, and VaultRefused for a server that is another."""
    address = settings.address
    headers = {"X-Vault-Token": token, "X-Vault-Request": "true", "Accept": "application/json"}
    if settings.namespace:
        headers["X-Vault-Namespace"] = settings.namespace
    if body is not None:
        headers["Content-Type"] = "application/json"
    line = http.client.HTTPSConnection(address.host, address.port, timeout=max(0.1, wait_s), context=tls)
    try:
        line.request(method, f"/v1/{path}", body=body, headers=headers)
        with line.getresponse() as answer:
            read = answer.read(ANSWER_BYTES + 1)
            status, missing = answer.status, answer.length
    except ssl.SSLCertVerificationError as error:
        raise VaultRefused(f"{address} cannot be trusted: {error.verify_message}; see vault.ca_file") from None
    except (OSError, http.client.HTTPException) as error:
        raise VaultUnreachable(f"cannot be asked: {type(error).__name__}") from None
    finally:
        line.close()
    if missing and len(read) <= ANSWER_BYTES:
        raise VaultUnreachable("cuts its answers off")
    return VaultAnswer(status, read)


def token_of(settings: VaultSettings) -> str:
    """Return the token, as its file has it now. Raises VaultRefused."""
    try:
        token = read_secret_file(settings.token_file, max_bytes=_TOKEN_BYTES).decode().strip()
    except (SecretFileRefused, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, SecretFileRefused) else f"{settings.token_file} holds no token"
        raise VaultRefused(f"vault.token_file: {why}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise VaultRefused(f"vault.token_file: {settings.token_file} holds no token")
    return token


def tls_of(settings: VaultSettings) -> ssl.SSLContext:
    """Return what verifies Vault's certificate. Raises VaultRefused."""
    try:
        context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    except (OSError, ssl.SSLError):
        raise VaultRefused(f"vault.ca_file: {settings.ca_file} holds no certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
