"""A store with sealed messages, its keys in a folder, and what erases and retires over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from carrier.inbound import InboundPart, pack_part
from gateway.ids import IdSource
from gateway.privacy.person import Persons
from gateway.privacy.retiring import Retirement
from gateway.records import IndexKeys, add_salt, encode_envelope
from gateway.sealing.box import SealingBox
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.openers import Openers
from gateway.sealing.providers import FileKeyProvider
from gateway.store.contract import NewMessage, Store
from gateway.store.indexing import PART_WAITS
from smsgw.v1 import message_pb2
from tests.gateway.store.samples import HOUR, NOW, SECOND, TENANT, inbound_part, message

NODE = "node-1"
INDEX_KEY = bytes(range(32))


class Rig:
    """One node's parts. `now` moves as the test wants; a second rig over the same folder is the node after a crash."""

    def __init__(self, folder: Path, store: Store, *, page: int = 2_000, index: IndexKeys | None = None) -> None:
        self.now = NOW
        self.store = store
        kek = folder / "kek.key"
        if not kek.exists():
            kek.touch(0o600)
            kek.write_bytes(bytes(32))
        provider = FileKeyProvider(kek)
        self.keyring = FolderKeyring(folder / WRAPPED_KEYS)
        openers = Openers(provider=provider, keyring=self.keyring)
        self.keys = DataKeys(
            node=NODE, provider=provider, keyring=self.keyring, openers=openers, wall=lambda: self.now / SECOND
        )
        self.box = SealingBox(self.keys, openers)
        self.index = index or IndexKeys(INDEX_KEY)
        self.ids = IdSource(now_ms=lambda: self.now // 1000)
        self.retirement = Retirement(
            store=store,
            box=self.box,
            keys=self.keys,
            keyring=self.keyring,
            node=NODE,
            now=lambda: self.now,
            pause_s=0.0,
            page=page,
        )
        self.persons = Persons(
            store=store,
            box=self.box,
            keys=self.index,
            retirement=self.retirement,
            now=lambda: self.now,
            grace=HOUR,
            keys_for=72 * HOUR,
        )

    def message(self, number: str, text: str, **fields: Any) -> NewMessage:
        """Return a sealed message."""
        tenant, message_id = str(fields.get("tenant", TENANT)), self.ids.new()
        envelope = add_salt(encode_envelope(number, "ref", {"k": "v"}), bytes(16))
        content = message_pb2.Content(text=text).SerializeToString()
        new = message(
            id=message_id,
            recipient_hash=self.index.recipient_hash(number),
            envelope=self.box.put(tenant, message_id, "envelope", envelope),
            content=self.box.put(tenant, message_id, "content", content),
            masked_recipient=f"{number[:3]}XXXXX{number[-4:]}",
            accepted_at=self.now,
            due_at=self.now,
            expires_at=self.now + HOUR,
        )
        return new._replace(**fields)

    async def ended(self, *news: NewMessage) -> None:
        """Store messages, and end them."""
        await self.store.accept(news)
        for new in news:
            await self.store.cancel(new.tenant, new.id, self.now)

    async def inbound(self, sender: str, text: str, part: int = 1, total: int = 1) -> bytes:
        """Store a part of a message from a handset; its id."""
        read = InboundPart(sender, "+4930100", 7 if total > 1 else None, part, total, 0, text.encode(), b"")
        new = inbound_part(f"{sender}{text}" if total == 1 else sender, part, total)._replace(id=self.ids.new())
        payload = new.id + self.box.put(TENANT, new.id, "inbound", pack_part(read))
        await self.store.inbound([new._replace(payload=payload, at=self.now, expires_at=self.now + PART_WAITS)])
        return new.id

    async def text_of(self, new: NewMessage) -> str:
        """Return what a stored message says; raises what the box raises."""
        (kept,) = await self.store.sealed_of(new.tenant, [new.id])
        octets = self.box.take(new.tenant, new.id, "content", kept.content)
        return message_pb2.Content.FromString(octets).text
