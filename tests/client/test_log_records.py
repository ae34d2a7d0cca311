"""Two readers, each by the specification: the client's and the gateway's agree on every path and every record."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.codec import decode, encode
from gateway.audit.fields import Malformed
from gateway.audit.records import (
    CancelAnswered,
    CancelAsked,
    MessageAccepted,
    MessagesRouted,
    MessagesSending,
    MessageStored,
    Record,
    RouteDenied,
    StateChanged,
)
from gateway.audit.rendering import as_json
from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import path_of, root_from_path
from smsgw.client import ReceiptInvalid
from smsgw.client.log_proofs import root_of_path
from smsgw.client.log_records import read_record
from tests.gateway.audit.samples import SAMPLES, records

ABOUT_A_MESSAGE = (
    MessageStored, MessageAccepted, StateChanged, MessagesSending, MessagesRouted, RouteDenied, CancelAsked,
    CancelAnswered,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 70), st.data())
def test_paths_as_the_gateway_reads_them(size: int, data: st.DataObject) -> None:
    """Both readers, each written by the specification, lead from a path to the same root, and refuse the same paths."""
    hashes = [bytes([number]) * 32 for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = path_of(hashes, index)
    assert root_of_path(hashes[index], index, size, path) == root_from_path(hashes[index], index, size, path)
    other = data.draw(st.sampled_from([path[:-1], [*path, bytes(32)], path[::-1]]))
    other_size, other_index = data.draw(st.integers(1, 70)), data.draw(st.integers(0, 75))
    results: list[bytes | None] = []
    for read, error in ((root_of_path, ReceiptInvalid), (root_from_path, MalformedLog)):
        try:
            results.append(read(hashes[index], other_index, other_size, other))
        except error:
            results.append(None)
    assert results[0] == results[1]


@settings(max_examples=150, deadline=None)
@given(records)
def test_records_as_the_gateway_reads_them(record: Record) -> None:
    """Records of messages read as the gateway's own codec reads them; all others are refused."""
    octets = encode(record)
    if not isinstance(record, ABOUT_A_MESSAGE):
        with pytest.raises(ReceiptInvalid):
            read_record(octets)
        return
    try:
        read = read_record(octets)
    except ReceiptInvalid:
        assert record.at > 250_000_000_000_000_000  # a time beyond the year 9999
        return
    plain = {
        name: value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
        for name, value in read.fields.items()
    }
    expected = as_json(record)
    assert read.kind == expected.pop("kind")
    expected.pop("at")
    assert plain == expected


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([encode(sample) for sample in SAMPLES if isinstance(sample, ABOUT_A_MESSAGE)]), st.data())
def test_damaged_records(octets: bytes, data: st.DataObject) -> None:
    """Octets that the gateway's codec refuses are refused here as well."""
    at, bit = data.draw(st.integers(0, len(octets) - 1)), data.draw(st.integers(0, 7))
    flipped = octets[:at] + bytes((octets[at] ^ 1 << bit,)) + octets[at + 1 :]
    for variant in (flipped, octets[:at], octets + flipped[:1]):
        try:
            decode(variant)
        except Malformed:
            with pytest.raises(ReceiptInvalid):
                read_record(variant)
