"""Key-encryption by an AES key in a PKCS#11 token: an HSM, a smart card, SoftHSM2. The key never leaves it.

A wrap is a random nonce of 12 octets and what CKM_AES_GCM makes of the data key, the context being associated data. It
needs the package python-pkcs11 (the extra `smsgw[pkcs11]`), which is loaded when a token is used. A session lasts for
one operation, so that the token can be taken away and come back; one at a time, as a process logs in once. When the
library has not noticed that a token came back, it is loaded anew. The PIN is in a file of mode 0600, and in no
message.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped

PREFIX = "pkcs11:"
_NONCE_BYTES = 12
_TAG_BITS = 128
_PIN_BYTES = 1024
_WAIT_S: Final = 5.0  # for another thread's operation to end
_ONE_AT_A_TIME: Final = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKeyPlace:
    """Where an AES key is.

    Attributes:
        module: the PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so.
        token: the token's label.
        key: the key's label.
        pin_file: the token's user PIN, in a file of mode 0600.
    """

    module: Path
    token: str
    key: str
    pin_file: Path

    def __str__(self) -> str:
        return f"the key {self.key!r} in the PKCS#11 token {self.token!r}"


class Pkcs11Provider:
    """One AES key of a token. May be used by several threads."""

    def __init__(self, place: TokenKeyPlace, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self.place = place
        self.kek_id = f"{PREFIX}{place.token}/{place.key}"
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"Pkcs11Provider({self.kek_id})"

    @property
    def local(self) -> bool:
        """It is not."""
        return False

    def knows(self, kek_id: str) -> bool:
        """Whether it is this key."""
        return kek_id == self.kek_id

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped. Raises ProviderUnavailable."""
        nonce = self._random_bytes(_NONCE_BYTES)
        with self._key() as (kek, _):
            body = _encrypt(kek, nonce, key, context)
        return Wrapped(self.kek_id, nonce + body)

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key. Raises UnwrapRefused, ProviderUnavailable."""
        nonce, body = wrapped.octets[:_NONCE_BYTES], wrapped.octets[_NONCE_BYTES:]
        with self._key() as (kek, pkcs11):
            try:
                return _decrypt(kek, nonce, body, context)
            except pkcs11.PKCS11Error:
                if not self._works(kek):  # SoftHSM2 has one error for a wrong tag and for anything else
                    raise
        raise UnwrapRefused("its record was altered or is damaged: restore the wrapped keys from a copy")

    def _works(self, kek: Any) -> bool:
        """Whether the key opens what it has just wrapped: then it is the record that is wrong. Raises PKCS11Error."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return _decrypt(kek, nonce, _encrypt(kek, nonce, b"smsgw", b""), b"") == b"smsgw"

    @contextlib.contextmanager
    def _key(self) -> Iterator[tuple[Any, Any]]:
        """Give the key in a session of its own, and the package. Raises ProviderUnavailable."""
        try:
            import pkcs11
        except ImportError:
            raise ProviderUnavailable("PKCS#11 needs the package python-pkcs11: install smsgw[pkcs11]") from None
        if not _ONE_AT_A_TIME.acquire(timeout=_WAIT_S):
            raise ProviderUnavailable(f"{self.place} has not answered for {_WAIT_S:g} s: is the token there?")
        try:
            with self._session(pkcs11) as session:
                yield self._found(session, pkcs11), pkcs11
        except (pkcs11.PKCS11Error, RuntimeError, ValueError) as error:
            why = type(error).__name__
            raise ProviderUnavailable(
                f"{self.place} cannot be used: {why}: check module, labels and PIN under keys.kek.pkcs11"
            ) from None
        finally:
            _ONE_AT_A_TIME.release()

    def _session(self, pkcs11: Any) -> Any:
        """Return a new session, by a library that is loaded anew when it does not find the token."""
        try:
            pin = read_secret_file(self.place.pin_file, max_bytes=_PIN_BYTES).decode().strip()
        except (SecretFileRefused, UnicodeDecodeError) as error:
            why = str(error) if isinstance(error, SecretFileRefused) else "the PIN is no text"
            raise ProviderUnavailable(f"{self.place}: {why}") from None
        library = pkcs11.lib(str(self.place.module))
        try:
            return library.get_token(token_label=self.place.token).open(user_pin=pin)
        except pkcs11.PKCS11Error:
            library.reinitialize()
            return library.get_token(token_label=self.place.token).open(user_pin=pin)

    def _found(self, session: Any, pkcs11: Any) -> Any:
        wanted = {pkcs11.Attribute.LABEL: self.place.key, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}
        keys = list(session.get_objects(wanted))
        if len(keys) != 1:
            raise ProviderUnavailable(f"{self.place} is there {len(keys)} times, and has to be there once")
        return keys[0]


def _encrypt(kek: Any, nonce: bytes, plain: bytes, context: bytes) -> bytes:
    from pkcs11 import Mechanism
    from pkcs11.mechanisms import GCMParams

    parameters = GCMParams(nonce=nonce, aad=context, tag_bits=_TAG_BITS)
    return bytes(kek.encrypt(plain, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))


def _decrypt(kek: Any, nonce: bytes, body: bytes, context: bytes) -> bytes:
    from pkcs11 import Mechanism
    from pkcs11.mechanisms import GCMParams

    parameters = GCMParams(nonce=nonce, aad=context, tag_bits=_TAG_BITS)
    return bytes(kek.decrypt(body, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
