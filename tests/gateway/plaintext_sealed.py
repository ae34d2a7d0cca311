"""What the plaintext search sends sealed: content that the link opens, and a ciphertext that somebody else brings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smsgw.v1 import message_pb2 as m
from tests.appliance import TENANT
from tests.gateway.plaintext_traffic import TEXTS, message, number
from tests.gateway.sealed.keys import key_file, payload_key, sealed

KINDS = ("p256", "rsa2048")


def write_payload_keys(folder: Path) -> dict[str, Any]:
    """Write the node's payload keys; its section `payload`."""
    for kind in KINDS:
        file = folder / f"{kind}.jwk"
        file.touch(mode=0o600)
        file.write_bytes(key_file(kind))
    return {"key_files": [f"{kind}.jwk" for kind in KINDS]}


def sealed_messages() -> Iterator[m.OutboundMessage]:
    """Yield a message for each kind of key that goes to the carrier, and one that another phone was to get."""
    for kind in KINDS:
        key = f"{TEXTS['sealed key']}-{kind}"
        jwe = _jwe(kind, TEXTS["sealed text"], "recipient in Germany", key)
        yield _bringing(jwe, "recipient in Germany", key)
    key = f"{TEXTS['sealed key']}-stolen"
    yield _bringing(_jwe("p256", TEXTS["stolen text"], "recipient stolen from", key), "recipient that steals", key)


def _jwe(kind: str, text: str, to: str, key: str) -> str:
    names: dict[str, Any] = {"smsgw.tenant": TENANT, "smsgw.key": key, "smsgw.exp": int(time.time()) + 3600}
    return sealed(payload_key(kind), text, to=number(to), **names)


def _bringing(jwe: str, to: str, key: str) -> m.OutboundMessage:
    return message(to, "sealed text", content=m.Content(sealed_jwe=jwe), idempotency_key=key)
