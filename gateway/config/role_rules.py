"""What a role asks of the other settings: an accepting node has nothing that opens, and shares its database."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.carrier_text_settings import counted_findings
from gateway.config.key_settings import KeySettings
from gateway.config.schema import Document, Role

_PUBLIC = "wants rsa with public_key_file alone: a node that only accepts has nothing that opens a message"


def role_findings(document: Document) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between the role of a node and its settings."""
    role = document.node.role
    if document.payload.public_key_files and role is not Role.ACCEPT:
        yield (
            "payload.public_key_files",
            f"are for nodes that only accept: role {role} opens, and has payload.key_files",
        )
    if document.messages.counted_for and role is not Role.ACCEPT:
        yield "messages.counted_for", f"is for nodes that only accept: role {role} counts by its own carriers"
    for key, text in counted_findings(document.messages.counted_for):
        yield f"messages.counted_for{key}", text
    if role is Role.BOTH:
        return
    if document.store.postgres is None:
        yield "node.role", f"is {role}: such a node shares a PostgreSQL with the others (store.engine)"
    if document.keys.wrapped.postgres is None:
        yield "node.role", f"is {role}: the nodes share their wrapped keys (keys.wrapped.postgres)"
    if role is Role.ACCEPT:
        yield from _accepting(document)


def _accepting(document: Document) -> Iterator[tuple[str, str]]:
    yield from _keys(document.keys)
    if document.carriers:
        yield (
            "carriers",
            "are those of nodes that relay: a node that only accepts has no carrier, and no password of one",
        )
    if document.routes:
        yield "routes", "are those of nodes that relay: remove them here"
    if document.audit.log is not None:
        yield "audit.log", "is signed by nodes that relay: whoever takes this one over is not to have the log's key"
    if document.payload.key_files:
        yield "payload.key_files", "open what callers have sealed: name their public_key_files here"


def _keys(keys: KeySettings) -> Iterator[tuple[str, str]]:
    rsa = None if keys.kek is None else keys.kek.rsa
    if rsa is None or rsa.public_key_file is None or rsa.private_key_files:
        yield "keys.kek", _PUBLIC
    for key, given in (("older_keks", keys.older_keks), ("older_kek_files", keys.older_kek_files)):
        if given:
            yield f"keys.{key}", "open older messages: nodes that relay have them"
