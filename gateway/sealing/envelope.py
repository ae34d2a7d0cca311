"""The format of a sealed field. Pure: keys and octets in, octets out.

    octet 0        version, 1
    octets 1-8     key id
    octets 9-20    nonce
    octets 21-     AES-256-GCM ciphertext, with its tag of 16 octets at the end

Associated data, authenticated and not stored: `smsgw.field`, version and key id, then tenant, object id and field, each
behind its length. So a field opens under its own tenant, object and name, and nowhere else.

Nonces are the deterministic construction of NIST SP 800-38D §8.2.1: an invocation counter of 96 bits with an empty
fixed field, which it allows where one device uses the key. A `FieldSealer` is that device: its key is made for it, and
what is read back from disk becomes a `FieldOpener`, which cannot seal. A counter does not repeat before it overflows,
needs no random octets, and avoids the birthday bound of random nonces (§8.3: 2^32 fields a key).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import StoreCorrupt

VERSION = 1
KEY_BYTES = 32
KEY_ID_BYTES = 8
OVERHEAD = 37  # header and tag
MAX_FIELDS = 1 << 30

_NONCE_BYTES = 12
_NONCE_AT = 1 + KEY_ID_BYTES
_BODY_AT = _NONCE_AT + _NONCE_BYTES
_LABEL = b"smsgw.field"
_VERSION_OCTET = bytes((VERSION,))
_LENGTHS = tuple(bytes((length,)) for length in range(256))


class _Fields(dict[str, bytes]):
    """Names of fields with their lengths before them (hot). They are few, and named in the program."""

    def __missing__(self, name: str) -> bytes:
        octets = name.encode()
        self[name] = named = _LENGTHS[len(octets)] + octets
        return named


_FIELDS = _Fields()
# One text for every reason: whoever alters the store learns nothing from it.
_REFUSED = "a stored field is not what was sealed there"


class KeyUsedUp(Exception):
    """The key has sealed as many fields as it may: another one is needed."""


def key_id_of(stored: bytes) -> bytes:
    """Return the id of the key that opens `stored`. Raises StoreCorrupt when it is no sealed field."""
    if len(stored) < OVERHEAD:
        raise StoreCorrupt(_REFUSED)
    if stored[0] != VERSION:
        raise StoreCorrupt(
            f"a stored field has version {stored[0]}, and this smsgw opens version {VERSION} only: it was written by a"
            " newer smsgw, or in the clear by one from before sealing, which was never released"
        )
    return stored[1:_NONCE_AT]


def key_ids_of(fields: Iterable[bytes]) -> set[bytes]:
    """Return the ids of the keys that open sealed fields; what is none has its say when it is opened."""
    return {stored[1:_NONCE_AT] for stored in fields if stored}


def _context(key_id: bytes, tenant: str) -> bytes:
    """Return the associated data that all fields of a key share."""
    if len(key_id) != KEY_ID_BYTES:
        raise ValueError(f"a key id has {KEY_ID_BYTES} octets, not {len(key_id)}")
    name = tenant.encode()
    return _LABEL + _VERSION_OCTET + key_id + len(name).to_bytes(2, "big") + name


def _place(object_id: bytes, field: str) -> bytes:
    """Return the associated data of one field: at most 255 octets each, IndexError for more."""
    return _LENGTHS[len(object_id)] + object_id + _FIELDS[field]


class FieldOpener:
    """Opens the fields of one data key. `used` is the owner's mark of when it was last needed."""

    __slots__ = ("_aead", "_context", "tenant", "used")

    def __init__(self, key_id: bytes, key: bytes, tenant: str) -> None:
        self._aead = AESGCM(_checked(key))
        self._context = _context(key_id, tenant)
        self.tenant = tenant
        self.used = 0

    def __repr__(self) -> str:
        return "FieldOpener(**)"

    def open(self, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Return what was sealed for this object and field. Raises StoreCorrupt for anything else.

        `stored` has passed `key_id_of`.
        """
        try:
            return self._aead.decrypt(
                stored[_NONCE_AT:_BODY_AT], stored[_BODY_AT:], self._context + _place(object_id, field)
            )
        except (InvalidTag, IndexError):
            raise StoreCorrupt(_REFUSED) from None


class FieldSealer:
    """Seals fields with one data key, which nothing else seals with: at most `max_fields` of them."""

    __slots__ = ("_aead", "_context", "_head", "_max_fields", "_numbers", "key_id")

    def __init__(self, key_id: bytes, key: bytes, tenant: str, *, max_fields: int = MAX_FIELDS) -> None:
        """Take a fresh key of 32 octets, made for this object; `max_fields` is 1 to 2^30."""
        if not 1 <= max_fields <= MAX_FIELDS:
            raise ValueError(f"a key seals 1 to {MAX_FIELDS} fields, not {max_fields}")
        self._aead = AESGCM(_checked(key))
        self.key_id = key_id
        self._context = _context(key_id, tenant)
        self._head = _VERSION_OCTET + key_id
        self._max_fields = max_fields
        self._numbers = itertools.count()  # its next() is one step of the interpreter: no number comes twice

    def __repr__(self) -> str:
        return "FieldSealer(**)"

    def seal(self, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Return `payload` sealed for this object (at most 255 octets) and field. Raises KeyUsedUp."""
        number = next(self._numbers)
        if number >= self._max_fields:
            raise KeyUsedUp
        nonce = number.to_bytes(_NONCE_BYTES, "big")
        return self._head + nonce + self._aead.encrypt(nonce, payload, self._context + _place(object_id, field))


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a data key has {KEY_BYTES} octets, not {len(key)}")
    return key
