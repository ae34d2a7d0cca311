"""Key-encryption by HashiCorp Vault's transit engine: POST /v1/MOUNT/encrypt|decrypt/KEY, of an AES-256-GCM key.

The context is the associated data. Vault versions its keys: the version stands in the wrap, so that what an older
version has wrapped is told apart, and rewrapped after `vault write -f MOUNT/keys/KEY/rotate`. Tested against a fake
only: no Vault has judged it.
"""

from __future__ import annotations

import base64
import http
import json
import re
import time

from gateway.config.vault_http import ANSWER_BYTES, VaultRefused, VaultUnreachable, request, tls_of, token_of
from gateway.config.vault_settings import VaultSettings
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped

PREFIX = "vault:"
_DEADLINE_S = 5.0
_ATTEMPTS = 2
_PAUSE_S = 0.2
_CIPHERTEXT = re.compile(r"vault:(v[1-9][0-9]{0,9}):[A-Za-z0-9+/=]+")


class VaultTransitProvider:
    """One key of a transit engine. May be used by several threads."""

    def __init__(self, settings: VaultSettings, *, key: str, mount: str) -> None:
        """`settings` say where Vault is; the token is read at each call, so that it may be renewed in its file."""
        self._settings = settings
        self._key = key
        self._mount = mount
        self._name = f"{PREFIX}{mount}/{key}"

    def __repr__(self) -> str:
        return f"VaultTransitProvider({self._name})"

    @property
    def local(self) -> bool:
        """It is not."""
        return False

    def knows(self, kek_id: str) -> bool:
        """Whether it is a version of this key."""
        return kek_id.startswith(f"{self._name}:")

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped by the newest version. Raises ProviderUnavailable."""
        text = self._post("encrypt", "ciphertext", plaintext=_base64(key), associated_data=_base64(context))
        found = _CIPHERTEXT.fullmatch(text)
        if found is None:
            raise ProviderUnavailable(
                f"{self._where}: this is no answer of a transit engine: check keys.kek.vault_transit"
            )
        return Wrapped(f"{self._name}:{found[1]}", text.encode())

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key. Raises UnwrapRefused, ProviderUnavailable."""
        text = wrapped.octets.decode("ascii", "replace")
        found = _CIPHERTEXT.fullmatch(text)
        if found is None or wrapped.kek_id != f"{self._name}:{found[1]}":
            raise UnwrapRefused("its record was altered or is damaged: restore the wrapped keys from a copy")
        plain = self._post("decrypt", "plaintext", ciphertext=text, associated_data=_base64(context))
        try:
            return base64.b64decode(plain, validate=True)
        except ValueError:
            raise ProviderUnavailable(f"{self._where}: the answer is not base64") from None

    @property
    def _where(self) -> str:
        return f"Vault at {self._settings.address}, {self._mount}/{self._key}"

    def _post(self, operation: str, field: str, **document: str) -> str:
        """Return one field of the answer, asking twice where it may pass."""
        body = json.dumps(document).encode()
        until = time.monotonic() + _DEADLINE_S
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                return self._answer(operation, field, body, until)
            except VaultUnreachable as error:
                last = error
        raise ProviderUnavailable(f"{self._where}: {last}")

    def _answer(self, operation: str, field: str, body: bytes, until: float) -> str:
        path = f"{self._mount}/{operation}/{self._key}"
        left_s = until - time.monotonic()
        try:
            token, tls = token_of(self._settings), tls_of(self._settings)
            status, read = request(self._settings, "POST", path, body, token=token, tls=tls, wait_s=left_s)
        except VaultRefused as error:
            raise ProviderUnavailable(f"{self._where}: {error}") from None
        if status == http.HTTPStatus.TOO_MANY_REQUESTS or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise VaultUnreachable(f"answers {status}: sealed, overloaded or out of order")
        if status != http.HTTPStatus.OK or len(read) > ANSWER_BYTES:
            self._refuse(operation, status, read)
        try:
            value = json.loads(read)["data"][field]
        except (ValueError, KeyError, TypeError, RecursionError):
            value = None
        if not isinstance(value, str):
            raise ProviderUnavailable(f"{self._where}: this is no answer of a transit engine")
        return value

    def _refuse(self, operation: str, status: int, read: bytes) -> None:
        """Raise what an answer that is none means: for good only that this wrap was never made here."""
        if (
            operation == "decrypt"
            and status == http.HTTPStatus.BAD_REQUEST
            and b"message authentication failed" in read
        ):
            raise UnwrapRefused("its record was altered or is damaged: restore the wrapped keys from a copy")
        raise ProviderUnavailable(
            f"{self._where}: answers {status}: check the token's policies, the mount, and that the key is there"
        )


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
