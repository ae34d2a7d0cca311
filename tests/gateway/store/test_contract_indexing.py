"""The contract: which index keys hashes are under, hashes written anew, and which data keys are needed."""

from __future__ import annotations

from gateway.ids import made_at
from gateway.store.contract import Store
from gateway.store.indexing import PART_WAITS, IndexUse, KeyFloor, KeyFloors, Rehashed
from gateway.store.operating import MessageHold, Selection
from gateway.store.retention import Rule, Stage
from tests.gateway.store.samples import HOUR, NOW, TENANT, TRANSACTIONAL, inbound_part, key, message, receipt

OLD, NEW, LAST = b"\x10\x01", b"\x10\x02", b"\xff\xff"
DAY = 24 * HOUR
CONTENTS = [Rule(TENANT, 1 << TRANSACTIONAL, int(Stage.CONTENT), HOUR)]
ENVELOPES = [Rule(TENANT, 1 << TRANSACTIONAL, int(Stage.ENVELOPE), DAY)]


def hashed(version: bytes, name: str) -> bytes:
    """Return a hash under a version."""
    return version + name.encode().ljust(14, b".")


async def test_versions_and_what_is_under_them(store: Store) -> None:
    """Each version that recipients are hashed under is found, the highest too, with what else stands under it."""
    news = [
        message(recipient_hash=hashed(OLD, "a"), idempotency=key("k")._replace(key_hash=OLD + bytes(30))),
        message(recipient_hash=hashed(OLD, "b")),
        message(recipient_hash=hashed(LAST, "c"), tenant="other"),
    ]
    await store.accept(news)
    assert await store.index_versions() == [OLD, LAST]
    await store.receipts([receipt("lost", recipient_hash=hashed(OLD, "a"))])
    await store.hold_messages(
        MessageHold(Selection(recipient_hashes=(hashed(OLD, "a"),)), "x", NOW, "spiffe://x/a", "y")
    )
    assert await store.index_use(OLD) == IndexUse(2, 0, True, 1, 1, 0)
    await store.cancel(TENANT, news[1].id, NOW)
    await store.retain(ENVELOPES[0], NOW + 2 * DAY, 10)
    assert await store.index_use(OLD) == IndexUse(2, 1, True, 1, 1, 0)
    assert await store.index_use(LAST) == IndexUse(1, 0, False, 0, 0, 0)
    assert not (await store.index_use(NEW)).any
    await store.newest_index_key(NEW, NOW)
    await store.newest_index_key(NEW, NOW + HOUR)
    assert (await store.index_use(NEW)).since == NOW


async def test_hashes_are_written_anew(store: Store) -> None:
    """Messages under a version come page by page, and get another hash where they still have the one that was read."""
    news = [message(recipient_hash=hashed(OLD, name)) for name in "abc"]
    await store.accept([*news, message(recipient_hash=hashed(NEW, "d"))])
    first = await store.hashed_under(TENANT, OLD, (b"", b""), 2)
    assert [(row.id, row.envelope) for row in first] == [(new.id, new.envelope) for new in news[:2]]
    rest = await store.hashed_under(TENANT, OLD, (first[-1].recipient_hash, first[-1].id), 2)
    assert [row.id for row in rest] == [news[2].id]
    batch = [Rehashed(TENANT, new.id, new.recipient_hash, hashed(NEW, "x")) for new in news]
    assert await store.rehash(batch) == 3
    assert await store.rehash(batch) == 0
    assert await store.index_versions() == [NEW]
    assert await store.hashed_under("nobody", OLD, (b"", b""), 2) == []


async def test_data_keys_that_are_needed(store: Store) -> None:
    """Those of before the first message that retention has not come to are not, but for what it has passed over, and
    what handsets wrote. Contents and envelopes are looked at apart; an envelope that goes takes its content with it."""
    later, rules = NOW + 3 * DAY, [*CONTENTS, *ENVELOPES]

    async def floors() -> KeyFloors:
        return await store.key_floors(TENANT, rules, later)

    nothing = frozenset[bytes]()
    assert await floors() == KeyFloors(
        KeyFloor(later - HOUR, nothing), KeyFloor(later - DAY, nothing), KeyFloor(later - PART_WAITS, nothing)
    )
    open_ = message(expires_at=NOW + 9 * DAY, envelope=b"\x01the-key1...", content=b"\x01the-key2...")
    done = message(envelope=b"\x01the-key3...", content=b"\x01the-key3...")
    await store.accept([open_, done])
    await store.cancel(TENANT, done.id, NOW)
    first = made_at(open_.id)
    assert [floor.at for floor in (await floors())[:2]] == [first, first]
    await store.retain(CONTENTS[0], later, 10)
    left = KeyFloor(later - HOUR, frozenset({b"the-key2"}))
    assert (await floors())[:2] == (left, KeyFloor(first, frozenset({b"the-key1"})))
    await store.retain(ENVELOPES[0], later, 10)
    assert (await floors())[:2] == (left, KeyFloor(later - DAY, frozenset({b"the-key1"})))
    assert (await floors()).mixed.needed == {b"the-key1", b"the-key2"}
    sooner = [*CONTENTS, *[rule._replace(keep=HOUR // 2) for rule in ENVELOPES]]
    assert (await store.key_floors(TENANT, sooner, later)).content.at == later - HOUR // 2
    part, held = inbound_part("a"), inbound_part("b", 1, 2)
    await store.inbound([part, held._replace(payload=held.id + b"\x01the-key4...")])
    assert (await floors()).inbound == KeyFloor(made_at(part.id) - PART_WAITS, frozenset({b"the-key4"}))
    assert (await floors())[:2] == (left, KeyFloor(later - DAY, frozenset({b"the-key1"})))
    await store.retain_inbound(TENANT, later, 10)
    assert (await floors()).inbound.at == later - PART_WAITS
