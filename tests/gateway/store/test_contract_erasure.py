"""The contract: what is kept of one person is found and erased, and what shares its key is sealed anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.audit.codec import decode, split
from gateway.audit.records import NodeStopped
from gateway.store.contract import ListFilter, NewMessage, Store
from gateway.store.erasure import Erased, PartPlace, Resealed, ResealedPart, Retiring
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import (
    HOUR,
    NOW,
    TENANT,
    all_events,
    digest,
    inbound_part,
    message,
    receipt,
    rejected,
    send,
    sending,
)

KEY, OTHER = b"\x01key-one", b"\x02key-two"
FIRST, LAST = bytes(16), b"\xff" * 16


def field(key: bytes, text: str) -> bytes:
    """Return what looks like a field under a key."""
    return b"\x01" + key + text.encode()


def under(key: bytes, **fields: Any) -> NewMessage:
    """Return a message that is sealed under a key."""
    return message(envelope=field(key, "envelope"), content=field(key, "content"), **fields)


def part_under(key: bytes, name: str, *place: int) -> Any:
    """Return a part of a message from a handset that is sealed under a key."""
    part = inbound_part(name, *place)
    return part._replace(payload=part.id + field(key, name))


async def _cancelled(store: Store, *new: NewMessage) -> None:
    await store.accept(new)
    for each in new:
        await store.cancel(each.tenant, each.id, NOW)


async def test_erasing_takes_what_is_personal(store: Store) -> None:
    """Content, envelope, masked number, hash and the carrier's ids go; that there was a message, and its end, stay."""
    new, other = under(KEY), under(KEY, recipient_hash=digest("+4930"))
    await store.accept([new, other])
    await send(store, [new, other], ["c0", "c1"])
    await store.receipts([receipt("c0"), receipt("c1")])
    assert await store.sealed_of(TENANT, [new.id]) == [(new.id, True, new.envelope, new.content)]
    record = NodeStopped(NOW, "stands for the record")
    assert await store.erase(TENANT, [new.id], NOW, [record]) == Erased(1, 0)
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert (row.masked_recipient, row.envelope, row.content_kept, row.carrier_ids) == ("", b"", 0, "")
    assert row.done_at is not None
    found = await store.list_messages(TENANT, ListFilter((), (new.recipient_hash,)), None, 10)
    assert found == []
    assert await store.sealed_of(TENANT, [other.id]) == [(other.id, True, other.envelope, other.content)]
    assert {event.masked_recipient for event in await all_events(store) if event.message_id == new.id} == {""}
    assert (await store.receipts([receipt("c0")]))[0].name == "KEPT"
    assert await store.retiring() == [Retiring(KEY, TENANT, NOW, b"")]
    commits = await store.audit_read(0, 1000)
    assert record in [decode(octets) for commit in commits for octets in split(commit.records)]


async def test_erasing_leaves_what_is_open(store: Store) -> None:
    """A message that is not final is counted and left whole, and its key is not given up for it."""
    done, waits = under(KEY), under(OTHER)
    await _cancelled(store, done)
    await store.accept([waits])
    assert await store.erase(TENANT, [done.id, waits.id], NOW) == Erased(1, 1)
    assert await store.sealed_of(TENANT, [waits.id]) == [(waits.id, False, waits.envelope, waits.content)]
    assert [key.key_id for key in await store.retiring()] == [KEY]
    assert await store.erase("nobody", [waits.id], NOW) == Erased(0, 0)


async def test_erasing_twice_is_as_once(store: Store) -> None:
    """A step that is done again finds nothing to take, and the key keeps the time at which it was given up."""
    done = under(KEY)
    await _cancelled(store, done)
    await store.erase(TENANT, [done.id], NOW)
    await store.erase(TENANT, [done.id], NOW + HOUR)
    assert await store.retiring() == [Retiring(KEY, TENANT, NOW, b"")]
    await store.retired(KEY)
    assert await store.retiring() == []


async def test_what_shares_a_key_is_sealed_anew(store: Store) -> None:
    """Fields under a key are found page by page, and others are put in their place where they are still there."""
    new = [under(KEY), under(OTHER), under(KEY)]
    await _cancelled(store, *new)
    await store.erase(TENANT, [new[0].id], NOW)
    (key,) = await store.retiring()
    first = await store.sealed_under(key, FIRST, LAST, 2)
    assert (first.rows, first.busy, first.after) == ([], 0, new[1].id)
    page = await store.sealed_under(key, first.after, LAST, 2)
    assert ([row.id for row in page.rows], page.after) == ([new[2].id], b"")
    old = (new[2].envelope, new[2].content)
    fresh = (field(OTHER, "sealed"), field(OTHER, "anew"))
    batch = [Resealed(TENANT, new[2].id, old, fresh, (OTHER,))]
    assert await store.reseal(batch, ()) == 1
    assert await store.reseal(batch, ()) == 0  # what was read is not there any more
    assert await store.sealed_of(TENANT, [new[2].id]) == [(new[2].id, True, *fresh)]
    assert (await store.sealed_under(key, FIRST, LAST, 10)).rows == []
    await store.erase(TENANT, [new[2].id], NOW + 1)
    assert Retiring(OTHER, TENANT, NOW + 1, new[2].id) in await store.retiring()


async def test_a_message_in_memory_is_left_alone(store: Store) -> None:
    """What a node has in its memory is busy, with the end of its validity, and is not sealed anew under its feet; what
    waits in the store, or for a receipt, is."""
    claimed, waits, away = under(KEY), under(KEY, claimed=False), under(KEY)
    await store.accept([claimed, waits, away])
    await send(store, [away], ["c"])
    page = await store.sealed_under(Retiring(KEY, TENANT, NOW, b""), FIRST, LAST, 10)
    assert [(row.id, row.final) for row in page.rows] == [(waits.id, False), (away.id, False)]
    assert (page.busy, page.until) == (1, claimed.expires_at)
    fresh = (field(OTHER, "a"), field(OTHER, "b"))
    changed = await store.reseal(
        [Resealed(TENANT, new.id, (new.envelope, new.content), fresh, (OTHER,)) for new in (claimed, waits)], ()
    )
    assert changed == 1
    assert [kept.envelope for kept in await store.sealed_of(TENANT, [claimed.id, waits.id])] == [
        claimed.envelope,
        fresh[0],
    ]
    await store.sending([sending(claimed)])
    await store.settle([rejected(claimed)])
    assert (await store.sealed_under(Retiring(KEY, TENANT, NOW, b""), FIRST, LAST, 10)).busy == 0


async def test_messages_from_handsets(store: Store) -> None:
    """Parts are found page by page, those that wait too; they are erased, or sealed anew."""
    whole = [part_under(KEY, "a"), part_under(KEY, "b"), part_under(KEY, "c")._replace(tenant="other")]
    waits = part_under(OTHER, "d", 1, 2)
    await store.inbound([*whole, waits])
    pages = [await store.parts(None, 2)]
    last = pages[0][-1]
    pages.append(await store.parts(PartPlace(last.tenant, last.id, last.part), 2))
    assert [part.id for page in pages for part in page] == [part.id for part in whole]
    assert [part.id for part in await store.parts(None, 10, "other")] == [whole[2].id]
    (held,) = await store.held_parts()
    assert (held.id, held.group, held.payload) == (waits.id, waits.group_hash, waits.payload)
    first, second = pages[0]
    fresh = first.id + field(OTHER, "anew")
    assert await store.reseal([], [ResealedPart(first, fresh, OTHER)]) == 1
    assert (await store.parts(None, 1))[0].payload == fresh
    assert await store.erase_parts([second, held], NOW) == 2
    assert await store.held_parts() == []
    assert {key.key_id for key in await store.retiring()} == {KEY, OTHER}
    assert [len(event.parts) for event in await all_events(store)] == [1, 0]


async def test_receipts(store: Store) -> None:
    """Receipts that name a recipient under any key, and evidence about his messages, are found and erased."""
    mine, others = digest("+4915112345678"), digest("+4930")
    new = under(KEY)
    await store.accept([new])
    await send(store, [new], ["c0"])
    await store.receipts(
        [
            receipt("lost", recipient_hash=others + mine),
            receipt("theirs", recipient_hash=others),
            receipt("c0", "D"),
            receipt("c0", "U"),  # says otherwise: noted
        ]
    )
    found = await store.receipts_of([mine], [new.id])
    assert [(kept.carrier_id, kept.message_id) for kept in found] == [("lost", b""), ("c0", new.id)]
    assert await store.erase_receipts([mine], [new.id]) == 2
    assert await store.receipts_of([mine, others], [new.id]) == [
        kept for kept in await store.receipts_of([others], []) if kept.carrier_id == "theirs"
    ]


async def test_events_of_messages(store: Store) -> None:
    """What happened to messages is found in steps over the tenant's log."""
    new, other = message(), message()
    await _cancelled(store, new, other)
    seen, after = [], 0
    for _ in range(4):
        events, after = await store.events_of(TENANT, [new.id], after, 2)
        seen += [event.state for event in events]
        if not after:
            break
    assert seen == [1, 7]


async def test_scrubbing_leaves_nothing_in_the_files(tmp_path: Path) -> None:
    """On SQLite, nothing of what was erased is left in the database, its log or its free pages."""
    folder = tmp_path / "store"
    store = SqliteStore(folder / "smsgw.db")
    await store.open()
    new = [
        message(
            masked_recipient="+49XXXXXXX0815", recipient_hash=b"hash-of-a-number", content=b"\x01" + b"sealed!" * 400
        )
        for _ in range(40)
    ]
    others = [message() for _ in range(40)]
    await _cancelled(store, *(each for pair in zip(new, others, strict=True) for each in pair))
    traces = (b"+49XXXXXXX0815", b"hash-of-a-number", b"sealed!sealed!")

    def left() -> list[bytes]:
        octets = b"".join(path.read_bytes() for path in folder.iterdir())
        return [trace for trace in traces if trace in octets]

    assert left() == list(traces)
    assert await store.erase(TENANT, [each.id for each in new], NOW) == Erased(40, 0)
    (left_over,) = await store.scrub()
    assert (left_over.where, "--compact" in left_over.until) == ("unused space of pages of smsgw.db", True)
    assert (folder / "smsgw.db-wal").stat().st_size == 0
    assert traces[2] not in left()
    assert await store.scrub(compact=True) == []
    assert left() == []
    assert (await store.get_message(TENANT, others[0].id)) is not None
    await store.close()
    assert left() == []


async def test_scrubbing_wants_an_open_store(tmp_path: Path) -> None:
    """A store that is closed is not scrubbed."""
    store = SqliteStore(tmp_path / "store" / "smsgw.db")
    with pytest.raises(Exception, match="not open"):
        await store.scrub()
