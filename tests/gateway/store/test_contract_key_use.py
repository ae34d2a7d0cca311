"""The contract: which messages are not finished that were sealed by certain keys."""

from __future__ import annotations

from gateway.store.contract import Store
from gateway.store.engine import key_use
from tests.gateway.store.samples import message, rejected, send, sending

OLD, NEW, OTHER = b"old-key1", b"new-key2", b"elsewher"


def sealed(key: bytes) -> bytes:
    """Return what a field looks like that this key has sealed."""
    return b"\x01" + key + bytes(28)


async def test_unfinished_under(store: Store) -> None:
    """Messages count while they wait, are on their way or wait for a receipt, and not when they are final."""
    waits = message(envelope=sealed(OLD), content=sealed(OLD))
    gone = message(envelope=sealed(OLD), content=sealed(NEW))
    ended = message(envelope=sealed(NEW), content=sealed(OLD))
    await store.accept([waits, gone, ended])
    assert await store.unfinished_under([OLD]) == 3
    assert await store.unfinished_under([NEW]) == 2
    assert await store.unfinished_under([OLD, NEW]) == 3
    assert await store.unfinished_under([OTHER]) == 0
    assert await store.unfinished_under([]) == 0
    await send(store, [gone], ["1"])
    await store.sending([sending(ended)])
    await store.settle([rejected(ended)])
    assert await store.unfinished_under([NEW]) == 1
    assert await store.unfinished_under([OLD]) == 2


async def test_more_than_a_page(store: Store) -> None:
    """Every message is looked at once, however many there are."""
    was, key_use._PAGE = key_use._PAGE, 3
    try:
        news = [message(envelope=sealed(OLD if n % 2 else NEW), content=sealed(NEW)) for n in range(10)]
        await store.accept(news)
        assert await store.unfinished_under([OLD]) == 5
        assert await store.unfinished_under([NEW]) == 10
    finally:
        key_use._PAGE = was
