"""What somebody tries who has an accepting node's disk, environment and database login, by our own code.

    python -m tests.gateway.attacker CONFIG < ids of data keys, hexadecimal, and JWEs, one a line

JWEs are what callers have sealed, caught on their way. Prints what each attempt came to: "refused" with why, or
"OPENED". It prints "sealed" with the number of fields that it could read from the database, so that it is seen to have
got that far.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway import assembly, key_assembly
from gateway.config.loader import load
from gateway.errors import StoreCorrupt
from gateway.postgres_target import Deadlines, Target, login
from gateway.sealed.errors import PayloadKeyRefused, SealedRefused
from gateway.sealed.jose import decrypt, import_key
from gateway.sealed.keys import PayloadKey
from gateway.sealing.envelope import FieldOpener
from gateway.sealing.keyring import KeyringUnavailable, WrappedKey, context_of, wrap_context
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped
from tests.appliance import TENANT
from visibility.alerts import NOBODY

NAMES = ("envelope", "content")
HEAD = 1024  # octets of a file: a key of 32 is not hidden deep in a log


def main(config: Path, key_ids: list[bytes], jwes: list[str]) -> None:
    """Try everything for each key, and each JWE."""
    settings = load(config)
    keys = key_assembly.sealing_keys(settings, NOBODY)
    assert settings.store.postgres is not None
    fields = sealed_fields(key_assembly.database(settings.store.postgres))
    print("sealed", len(fields))
    for key_id in key_ids:
        by_keyring(keys, key_id)
        by_provider(keys, key_id)
        print("files", by_files(config.parent, [field for field in fields if field.octets[1:9] == key_id]))
    keys.keyring.close()
    for jwe in jwes:
        by_payload_keys(assembly.payload_keys(settings), jwe)
        print("payload files", by_payload_files(config.parent, jwe))


class Sealed(NamedTuple):
    """A sealed field, and where it belongs: who wants to open it knows all of that."""

    message_id: bytes
    name: str
    octets: bytes


def sealed_fields(target: Target) -> list[Sealed]:
    """Return every sealed field that the login can read."""
    with psycopg.connect(**login(target, Deadlines())) as db:
        rows = db.execute("SELECT id, envelope, content FROM smsgw.body").fetchall()
    return [
        Sealed(bytes(row[0]), name, bytes(field)) for row in rows for name, field in zip(NAMES, row[1:], strict=True)
    ]


def by_keyring(keys: key_assembly.SealingKeys, key_id: bytes) -> None:
    """Ask for the wrapped key, and open it with what the node has."""
    try:
        record = keys.keyring.find(key_id)
        assert isinstance(record, WrappedKey)
        keys.provider.unwrap(record.wrapped, context_of(record))
        print("keyring OPENED")
    except (KeyringUnavailable, ProviderUnavailable, UnwrapRefused) as error:
        print("keyring refused", type(error).__name__, error)


def by_provider(keys: key_assembly.SealingKeys, key_id: bytes) -> None:
    """Suppose that the wrap was copied elsewhere: have the node's own provider open it."""
    context = wrap_context(key_id, "accept", TENANT, 0, 0)
    wrapped = keys.provider.wrap(bytes(32), context)
    try:
        keys.provider.unwrap(Wrapped(wrapped.kek_id, wrapped.octets), context)
        print("provider OPENED")
    except (ProviderUnavailable, UnwrapRefused) as error:
        print("provider refused", type(error).__name__, error)


def by_files(folder: Path, fields: Sequence[Sealed]) -> str:
    """Take any 32 octets at the head of any file of the node for a key, and each file for a private RSA key."""
    private = set()
    for path in filter(Path.is_file, folder.rglob("*")):
        octets = path.read_bytes()
        with contextlib.suppress(ValueError, TypeError):
            private.add(type(load_pem_private_key(octets, password=None)).__name__)
        if any(opens(octets[at : at + 32], fields[0]) for at in range(min(len(octets), HEAD) - 31)):
            return "OPENED"
    return f"refused, private keys: {sorted(private)}"


def by_payload_keys(keys: Sequence[PayloadKey], jwe: str) -> None:
    """Open what a caller has sealed with the payload keys that the node works with."""
    for key in keys:
        try:
            decrypt(jwe, key.half)
            print("payload OPENED")
        except SealedRefused as error:
            print("payload refused", error.reason)


def by_payload_files(folder: Path, jwe: str) -> str:
    """Open it with whatever is a JWK in a file of the node, or in the environment."""
    files = [path.read_bytes() for path in filter(Path.is_file, folder.rglob("*"))]
    tried = 0
    for octets in (*files, *map(os.fsencode, os.environ.values())):
        with contextlib.suppress(ValueError, PayloadKeyRefused, SealedRefused):
            jwk = json.loads(octets)
            if isinstance(jwk, dict) and "kty" in jwk:
                tried += 1
                decrypt(jwe, import_key(jwk))
                return "OPENED"
    return f"refused, of {tried}"


def opens(key: bytes, field: Sealed) -> bool:
    """Say whether a key opens a field."""
    try:
        FieldOpener(field.octets[1:9], key, TENANT).open(field.message_id, field.name, field.octets)
    except StoreCorrupt:
        return False
    return True


if __name__ == "__main__":
    words = sys.stdin.read().split()
    caught = [word for word in words if "." in word]
    main(Path(sys.argv[1]), [bytes.fromhex(word) for word in words if "." not in word], caught)
