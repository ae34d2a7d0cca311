"""What is kept of one person is found under every index key, told whole, and erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import WrongState
from gateway.privacy.person import Found, FoundInbound, FoundMessage, same_number
from gateway.records import IndexKeys
from gateway.states import State
from gateway.store.contract import Store
from gateway.store.erasure import KeptReceipt
from gateway.store.operating import MessageHold, Selection
from tests.gateway.privacy.rig import INDEX_KEY, Rig
from tests.gateway.store.conftest import Engine, engine
from tests.gateway.store.samples import HOUR, NOW, TENANT, receipt, send
from tests.plaintext import Search, files_of

PERSON, OTHER = "+4915112345678", "+4915187654321"
__all__ = ["engine"]  # the engines of the conformance suite


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    """Give an open store of each engine."""
    opened = engine()
    await opened.open()
    yield opened
    await opened.close()


async def _told(rig: Rig, number: str, tenant: str = "") -> list[Found]:
    return [found async for found in rig.persons.tell(number, tenant)]


async def test_everything_is_told(tmp_path: Path, store: Store) -> None:
    """Messages with contents, recipient and events, what the person wrote, receipts and holds; of nobody else."""
    rig = Rig(tmp_path, store)
    mine, theirs, other = rig.message(PERSON, "hello"), rig.message(OTHER, "no"), rig.message(PERSON, "b", tenant="b")
    await store.accept([mine, theirs, other])
    await send(store, [mine], ["c0"])
    await rig.inbound(PERSON, "I answer")
    await rig.inbound(OTHER, "not I")
    await rig.inbound(PERSON, "half", 1, 2)
    hashes = rig.index.recipient_hashes(PERSON)
    await store.receipts([receipt("lost", recipient_hash=hashes[0])])
    await store.hold_messages(MessageHold(Selection(recipient_hashes=hashes), "+49XXX", NOW, "spiffe://x/a", "asked"))
    told = await _told(rig, PERSON)
    messages = [found for found in told if isinstance(found, FoundMessage)]
    assert [found.row.id for found in messages] == [mine.id, other.id]
    assert messages[0].envelope is not None
    assert messages[0].envelope.recipient == PERSON
    assert messages[0].content is not None
    assert b"hello" in messages[0].content
    assert [event.state for event in messages[0].events] == [State.ACCEPTED, State.SUBMITTED]
    inbound = [found for found in told if isinstance(found, FoundInbound)]
    assert [(found.parts[0].octets, found.complete) for found in inbound] == [(b"I answer", True), (b"half", False)]
    assert [found.carrier_id for found in told if isinstance(found, KeptReceipt)] == ["lost"]
    assert [found.reason for found in told if isinstance(found, MessageHold)] == ["asked"]
    assert [found.row.id for found in await _told(rig, PERSON, "b") if isinstance(found, FoundMessage)] == [other.id]


async def test_messages_are_found_under_older_keys(tmp_path: Path, store: Store) -> None:
    """A message whose hash is under an index key that was replaced is found as long as that key is kept."""
    await (before := Rig(tmp_path, store)).ended(mine := before.message(PERSON, "hello"))
    after = Rig(tmp_path, store, index=IndexKeys(bytes(32), [INDEX_KEY]))
    assert (await after.persons.find(PERSON, "")).messages == {TENANT: [mine.id]}
    assert (await Rig(tmp_path, store, index=IndexKeys(bytes(32))).persons.find(PERSON, "")).messages == {}


async def test_everything_is_erased(tmp_path: Path, store: Store) -> None:
    """Afterwards nothing is found; others keep theirs, and what is left of the messages has nobody's number."""
    rig = Rig(tmp_path, store)
    mine, theirs = [rig.message(PERSON, f"hello {n}") for n in range(3)], rig.message(OTHER, "theirs")
    await rig.ended(*mine, theirs)
    await rig.inbound(PERSON, "I answer")
    await rig.inbound(PERSON, "half", 1, 2)
    kept = await rig.inbound(OTHER, "not I")
    done = await rig.persons.erase(PERSON, "", cancel=False, compact=False, by="spiffe://x/a")
    assert (done.messages, done.inbound, done.unfinished, done.cancelled) == (3, 2, 0, 0)
    assert [key.destroyed for key in done.keys] == [True] * 3
    assert done.hashes_until == NOW + 72 * HOUR
    assert await _told(rig, PERSON) == []
    assert await rig.text_of(theirs) == "theirs"
    assert [part.id for part in await store.parts(None, 10)] == [kept]
    rows = [await store.get_message(TENANT, each.id) for each in mine]
    assert [row is not None and (row.masked_recipient, row.envelope) for row in rows] == [("", b"")] * 3


async def test_what_is_on_its_way_refuses(tmp_path: Path, store: Store) -> None:
    """A message that is not finished refuses the whole, and nothing is erased; or it is cancelled if that is wished."""
    rig = Rig(tmp_path, store)
    ended, waits, left = rig.message(PERSON, "a"), rig.message(PERSON, "b"), rig.message(PERSON, "c")
    await rig.ended(ended)
    await store.accept([waits, left])
    await send(store, [left], ["c0"])
    with pytest.raises(WrongState) as refused:
        await rig.persons.erase(PERSON, "", cancel=False, compact=False, by="spiffe://x/a")
    assert refused.value.reason == "UNFINISHED"
    assert await rig.text_of(ended) == "a"
    done = await rig.persons.erase(PERSON, "", cancel=True, compact=False, by="spiffe://x/a")
    assert (done.messages, done.cancelled, done.unfinished) == (2, 1, 1)
    assert done.unfinished_until == left.expires_at + HOUR
    assert [found.row.id for found in await _told(rig, PERSON) if isinstance(found, FoundMessage)] == [left.id]
    await store.receipts([receipt("c0")])
    again = await rig.persons.erase(PERSON, "", cancel=False, compact=False, by="spiffe://x/a")
    assert (again.messages, again.unfinished) == (1, 0)
    assert await _told(rig, PERSON) == []


async def test_one_tenants_only(tmp_path: Path, store: Store) -> None:
    """With a tenant named, what others have of the person stays."""
    rig = Rig(tmp_path, store)
    mine, other = rig.message(PERSON, "a"), rig.message(PERSON, "b", tenant="b")
    await rig.ended(mine, other)
    await rig.persons.erase(PERSON, "b", cancel=False, compact=False, by="spiffe://x/a")
    assert (await rig.persons.find(PERSON, "")).messages == {TENANT: [mine.id]}


async def test_no_file_has_the_number_or_the_text(tmp_path: Path) -> None:
    """After an erasure with `compact`, number, masked number, hash and text are in no file, in no form; nor is a wrap
    that opens what an older copy has."""
    from gateway.store.sqlite import SqliteStore

    store = SqliteStore(tmp_path / "store" / "smsgw.db")
    await store.open()
    rig = Rig(tmp_path, store)
    text = "Ein Satz, den nur diese Nachricht enthält"
    mine = [rig.message(PERSON, text) for _ in range(50)]
    others = [rig.message(OTHER, "something else") for _ in range(50)]
    await rig.ended(*(each for pair in zip(mine, others, strict=True) for each in pair))
    await rig.inbound(PERSON, "Antwort von ihm")
    masked, recipient_hash = mine[0].masked_recipient, mine[0].recipient_hash
    search = Search({"number": PERSON[1:], "masked": masked, "text": text, "answer": "Antwort von ihm"})
    places = list(files_of(tmp_path))
    assert {leak.needle for leak in search.leaks(places)} == {"masked"}
    assert any(recipient_hash in place.octets for place in places)
    done = await rig.persons.erase(PERSON, "", cancel=False, compact=True, by="spiffe://x/a")
    assert [left.where for left in done.remains] == ["backups of the database from before"]
    places = list(files_of(tmp_path))
    assert any(place.name.endswith("smsgw.db-wal") for place in places)
    assert search.leaks(places) == []
    for trace in (recipient_hash, recipient_hash.hex().encode(), recipient_hash.hex().upper().encode()):
        assert not any(trace in place.octets for place in places)
    await store.close()


@pytest.mark.parametrize(
    ("written", "same"),
    [
        (PERSON, True),
        (PERSON[1:], True),
        ("0049" + PERSON[3:], True),
        (OTHER, False),
        ("015112345678", False),
        ("", False),
    ],
)
def test_numbers_as_carriers_write_them(written: str, same: bool) -> None:
    """With a plus sign, without it or with two zeroes, a number is the same; a national one could be anybody's."""
    assert same_number(written, PERSON) is same
