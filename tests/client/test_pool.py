"""Channels that are exchanged while they are used."""

from __future__ import annotations

import threading

from smsgw.client.pool import Pool


def test_the_last_lease_closes_a_retired_channel() -> None:
    """A channel is closed when it is retired and nobody uses it, once."""
    closed: list[str] = []
    pool = Pool("a", closed.append)
    first, second = pool.lease(), pool.lease()
    pool.swap("b")
    assert (first.retired, first.channel, pool.lease().channel) == (True, "a", "b")
    with first:
        pass
    assert closed == []
    assert pool.everything() == ["b", "a"]
    with second:
        pass
    assert closed == ["a"]
    assert pool.everything() == ["b"]


def test_an_idle_channel_is_closed_by_the_swap() -> None:
    """Nobody uses it: it goes at once."""
    closed: list[str] = []
    pool = Pool("a", closed.append)
    pool.swap("b")
    pool.swap("c")
    assert closed == ["a", "b"]


def test_streams_are_told() -> None:
    """Who wants to know is told once: at the swap, or at once after it; not after giving the lease back."""
    pool = Pool("a", lambda _: None)
    told: list[str] = []
    lease, gone = pool.lease(), pool.lease()
    lease.when_retired(lambda: told.append("at the swap"))
    with gone:
        gone.when_retired(lambda: told.append("never"))
    pool.swap("b")
    lease.when_retired(lambda: told.append("at once"))
    assert told == ["at the swap", "at once"]


def test_threads() -> None:
    """Whatever threads do at the same time, each retired channel is closed once, and none that is in use."""
    users: dict[int, int] = {}
    lock = threading.Lock()
    closed: list[int] = []
    wrong: list[int] = []

    def close(channel: int) -> None:
        with lock:
            closed.append(channel)
            if users.get(channel):
                wrong.append(channel)

    pool = Pool(0, close)

    def use() -> None:
        for _ in range(2000):
            with pool.lease() as lease:
                with lock:
                    users[lease.channel] = users.get(lease.channel, 0) + 1
                with lock:
                    users[lease.channel] -= 1

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for channel in range(1, 200):
        pool.swap(channel)
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(closed) == list(range(199))
