"""The contract: the log has one sequencer, grows behind its last leaf only, and keeps what is full."""

from __future__ import annotations

import asyncio

from gateway.audit.records import NodeStopped
from gateway.store.contract import Store
from gateway.store.sequencing import NO_EPOCH, LogAppend, LogHead, LogPrune, LogPublish, LogTile
from tests.gateway.store.samples import NOW

MINUTE = 60 * 1_000_000


async def leased(store: Store, holder: str = "node-1", ttl: int = MINUTE) -> int:
    """Take the lease; its epoch."""
    head = await store.log_lease(holder, NO_EPOCH, ttl)
    assert head is not None
    return head.epoch


def tile(number: int = 0, width: int = 1, level: int = 0, octet: bytes = b"a") -> LogTile:
    """A tile of some hashes."""
    return LogTile(level, number, width, octet * 32 * width)


async def test_a_new_log(store: Store) -> None:
    """It is empty, and nobody's."""
    assert await store.log_head() == LogHead(0, "", 0, b"", 0)
    assert await store.log_tiles([(0, 0)]) == []


async def test_appending(store: Store) -> None:
    """Sizes and tiles change together, a partial tile is replaced, and what was published is there again."""
    epoch = await leased(store)
    entries = LogTile(-1, 0, 1, b"\0\1x")
    assert await store.log_append(LogAppend(epoch, 0, 1, (tile(), entries)))
    assert await store.log_append(LogAppend(epoch, 1, 3, (tile(width=3, octet=b"b"),)))
    assert await store.log_publish(LogPublish(epoch, 2, b"a note"))
    assert await store.log_head() == LogHead(epoch, "node-1", 3, b"a note", 0)
    assert await store.log_tiles([(0, 0), (5, 0), (-1, 0)]) == [tile(width=3, octet=b"b"), entries]


async def test_only_behind_the_last_leaf(store: Store) -> None:
    """An append that thinks of another size changes nothing, neither size nor tile."""
    epoch = await leased(store)
    assert await store.log_append(LogAppend(epoch, 0, 2, (tile(width=2),)))
    for size in (0, 1, 3):
        assert not await store.log_append(LogAppend(epoch, size, size + 5, (tile(octet=b"x"),)))
    assert (await store.log_head()).size == 2
    assert await store.log_tiles([(0, 0)]) == [tile(width=2)]


async def test_of_two_at_once_one_appends(store: Store) -> None:
    """Two appends behind the same leaf, in one commit or two: one of them is done."""
    epoch = await leased(store)
    steps = [LogAppend(epoch, 0, size, (tile(width=size),)) for size in (1, 2)]
    done = await asyncio.gather(*map(store.log_append, steps))
    assert sorted(done) == [False, True]
    assert (await store.log_head()).size == steps[done.index(True)].new_size


async def test_the_lease_keeps_others_out(store: Store) -> None:
    """While it lasts nobody else has it; who holds it keeps it under the same epoch; given back, it is free at once."""
    epoch = await leased(store)
    assert await store.log_lease("node-2", NO_EPOCH, MINUTE) is None
    kept = await store.log_lease("node-1", epoch, MINUTE)
    assert kept is not None
    assert kept.epoch == epoch
    await store.log_release(epoch)
    assert await leased(store, "node-2") == epoch + 1


async def test_a_lease_that_ran_out(store: Store) -> None:
    """Another takes it over, and whatever the one before still sends changes nothing."""
    old = await leased(store, ttl=0)
    await store.audit([NodeStopped(NOW, "node-1")])
    assert await store.log_append(LogAppend(old, 0, 1, (tile(),)))
    new = await leased(store, "node-2")
    assert new == old + 1
    assert not await store.log_append(LogAppend(old, 1, 2, (tile(width=2, octet=b"x"),)))
    assert not await store.log_publish(LogPublish(old, 1, b"old"))
    assert not await store.log_prune(LogPrune(old, 0))
    assert await store.log_lease("node-1", old, MINUTE) is None
    await store.log_release(old)
    assert await store.log_lease("node-1", NO_EPOCH, MINUTE) is None
    assert await store.log_head() == LogHead(new, "node-2", 1, b"", 0)
    assert await store.log_append(LogAppend(new, 1, 2, (tile(width=2),)))


async def test_who_comes_back_under_the_same_name(store: Store) -> None:
    """A node that was killed takes its own lease again at once, under a new epoch: its process before is out."""
    old = await leased(store)
    new = await leased(store)
    assert new == old + 1
    assert not await store.log_append(LogAppend(old, 0, 1, (tile(),)))
    assert await store.log_append(LogAppend(new, 0, 1, (tile(),)))


async def test_checkpoints_do_not_go_back(store: Store) -> None:
    """A checkpoint of fewer leaves than the last, or of more than there are, is not kept."""
    epoch = await leased(store)
    assert await store.log_append(LogAppend(epoch, 0, 3, (tile(width=3),)))
    assert await store.log_publish(LogPublish(epoch, 2, b"two"))
    assert not await store.log_publish(LogPublish(epoch, 1, b"one"))
    assert not await store.log_publish(LogPublish(epoch, 4, b"four"))
    assert await store.log_publish(LogPublish(epoch, 2, b"two, cosigned"))
    assert (await store.log_head()).checkpoint == b"two, cosigned"


async def test_a_cosigned_checkpoint_is_kept_beside_the_newest(store: Store) -> None:
    """It may be older than that, and does not go back either; only who holds the lease keeps one."""
    epoch = await leased(store)
    assert await store.log_append(LogAppend(epoch, 0, 3, (tile(width=3),)))
    assert await store.log_publish(LogPublish(epoch, 3, b"three"))
    assert await store.log_cosigned(LogPublish(epoch, 2, b"two, cosigned"))
    assert await store.log_head() == LogHead(epoch, "node-1", 3, b"three", 0, b"two, cosigned")
    for refused in (LogPublish(epoch, 1, b"one"), LogPublish(epoch, 4, b"four"), LogPublish(epoch - 1, 3, b"theirs")):
        assert not await store.log_cosigned(refused)
    assert (await store.log_head()).cosigned == b"two, cosigned"


async def test_pruning(store: Store) -> None:
    """Commits that the log has can go; those that it has not, and the newest, stay; numbers go on."""
    for number in range(4):
        await store.audit([NodeStopped(NOW + number, "node-1")])
    epoch = await leased(store)
    assert await store.log_append(LogAppend(epoch, 0, 3, (tile(width=3),)))
    assert await store.log_prune(LogPrune(epoch, 2))
    assert await store.audit_bounds() == (2, 4)
    assert [commit.seq for commit in await store.audit_read(0, 10)] == [3, 4]
    assert not await store.log_prune(LogPrune(epoch, 4))
    assert await store.log_append(LogAppend(epoch, 3, 4, (tile(width=4),)))
    assert not await store.log_prune(LogPrune(epoch, 4))
    assert await store.log_prune(LogPrune(epoch, 3))
    await store.audit([NodeStopped(NOW, "node-1")])
    assert await store.audit_bounds() == (3, 5)
    assert (await store.log_head()).pruned == 3


async def test_many_tiles(store: Store) -> None:
    """Tiles are found by their places, however many are asked for."""
    epoch = await leased(store)
    tiles = tuple(tile(number, level=number % 3) for number in range(700))
    assert await store.log_append(LogAppend(epoch, 0, 700, tiles))
    found = await store.log_tiles([(one.level, one.number) for one in tiles])
    assert found == list(tiles)
