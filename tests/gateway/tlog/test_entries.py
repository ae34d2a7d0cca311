"""An entry stands for all records of a commit, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.codec import encode, frames, split
from gateway.tlog.entries import ENTRY_BYTES, Entry, decode, entry_of, record_hashes, record_path
from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import EMPTY_ROOT, leaf_hash, root_of, verify_inclusion
from tests.gateway.audit.samples import AT, SAMPLES

RECORDS = list(SAMPLES)
COMMIT = frames(RECORDS)
GOLDEN = "01000000000000000c00066517289a624000000002" + "ab" * 32


def test_the_form_is_fixed() -> None:
    """The octets of an entry never change, and lead back to it."""
    entry = Entry(12, 0x00066517289A6240, 2, b"\xab" * 32)
    assert entry.encode().hex() == GOLDEN
    assert decode(entry.encode()) == entry
    assert len(entry.encode()) == ENTRY_BYTES == 53
    assert entry.place == 11
    assert entry.leaf == leaf_hash(entry.encode())


def test_of_a_commit() -> None:
    """Its root is the RFC 6962 root over the records, each as it is encoded."""
    entry = entry_of(7, AT, COMMIT)
    assert (entry.seq, entry.at, entry.number) == (7, AT, len(RECORDS))
    assert entry.root == root_of([leaf_hash(encode(record)) for record in RECORDS])
    assert record_hashes(COMMIT) == [leaf_hash(octets) for octets in split(COMMIT)]
    assert entry_of(1, AT, b"").root == EMPTY_ROOT


def test_each_record_is_proven_alone() -> None:
    """A record and its path lead to the commit's root, for every record."""
    entry = entry_of(7, AT, COMMIT)
    for number, record in enumerate(RECORDS):
        octets, path = record_path(COMMIT, number)
        assert octets == encode(record)
        verify_inclusion(leaf_hash(octets), number, entry.number, path, entry.root)
    with pytest.raises(MalformedLog):
        record_path(COMMIT, len(RECORDS))
    with pytest.raises(MalformedLog):
        record_path(COMMIT[:-1], 0)


def test_any_change_of_a_commit_is_another_entry() -> None:
    """Another octet, another order, another time, one record less: another leaf."""
    own = entry_of(7, AT, COMMIT).leaf
    two = frames(RECORDS[:2]), frames(RECORDS[1::-1])
    assert entry_of(7, AT, two[0]).leaf != entry_of(7, AT, two[1]).leaf
    others = [
        entry_of(8, AT, COMMIT),
        entry_of(7, AT + 1, COMMIT),
        entry_of(7, AT, frames(RECORDS[:-1])),
        entry_of(7, AT, COMMIT[:-1] + bytes([COMMIT[-1] ^ 1])),
    ]
    assert own not in {entry.leaf for entry in others}


@pytest.mark.parametrize("wrong", [b"", bytes(53), b"\2" + bytes(52), b"\1" + bytes(51), b"\1" + bytes(53)])
def test_what_is_no_entry(wrong: bytes) -> None:
    """Another length or version is refused."""
    with pytest.raises(MalformedLog):
        decode(wrong)


def test_what_cannot_be_an_entry() -> None:
    """A value out of range is no entry."""
    with pytest.raises(MalformedLog, match="commit -1"):
        Entry(-1, 0, 0, bytes(32)).encode()


@given(st.binary(max_size=100))
def test_octets_are_commits_or_refused(octets: bytes) -> None:
    """Frames that do not end where the commit ends are refused, and no others."""
    try:
        hashes = record_hashes(octets)
    except MalformedLog:
        with pytest.raises(MalformedLog):
            record_path(octets, 0)
    else:
        assert hashes == [leaf_hash(record) for record in split(octets)]
