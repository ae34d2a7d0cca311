"""The deny list: what entries name, how they replace each other and end, and what the bound does."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from gateway.revocation.entries import (
    FOR_GOOD,
    MARGIN,
    MAX_ENTRIES,
    NEVER,
    Denials,
    DenyList,
    Entry,
    Queued,
    What,
    check,
    over,
)
from gateway.revocation.errors import BadEntry, DenyListFull, UnknownEntry
from tests.gateway.callers import caller
from tests.gateway.revocation.samples import NOW, ROBBED, SECOND, authority, certificate, deny_list, identity

STOLEN = dataclasses.replace(caller(), serial="3d54", authority_key_id="1e44")
TAINTED = "a7" * 32


def moment(at: int) -> dt.datetime:
    """Return a time in whole seconds, as certificates have it."""
    return dt.datetime.fromtimestamp(at // SECOND, dt.UTC)


def test_a_certificate_is_denied_by_issuer_and_serial_however_they_are_written() -> None:
    """Upper case, colons and a leading zero, as openssl prints them, name the same certificate."""
    denials = Denials(deny_list(certificate("03:D5:4", "1E:44")))
    assert denials.deny(STOLEN)
    assert not denials.deny(dataclasses.replace(STOLEN, serial="3d55"))
    assert not denials.deny(dataclasses.replace(STOLEN, authority_key_id="1e45"))


def test_an_identity_is_denied_whatever_its_certificate() -> None:
    """For good: all certificates of the identity, and of no other."""
    denials = Denials(deny_list(identity("spiffe://example.org/demo/api")))
    assert denials.deny(STOLEN)
    assert not denials.deny(caller(spiffe_id="spiffe://example.org/demo/api2"))


def test_an_identity_is_denied_up_to_a_moment() -> None:
    """Certificates that became valid up to the cutoff are refused, in whole seconds, and later ones pass."""
    denials = Denials(deny_list(identity("spiffe://example.org/demo/api", cutoff=NOW)))
    assert denials.deny(dataclasses.replace(STOLEN, not_before=moment(NOW)))
    assert denials.deny(dataclasses.replace(STOLEN, not_before=moment(NOW - 3600 * SECOND)))
    assert not denials.deny(dataclasses.replace(STOLEN, not_before=moment(NOW + SECOND)))


def test_an_authority_is_denied_wherever_it_is_on_the_path_and_whatever_the_leaf_claims() -> None:
    """The keys on the verified path count, the leaf's issuer and those above it; the key id that it names does not."""
    denials = Denials(deny_list(authority(TAINTED)))
    assert denials.deny(dataclasses.replace(STOLEN, issuer_keys=(TAINTED, "bb" * 32)))
    assert denials.deny(dataclasses.replace(STOLEN, issuer_keys=("bb" * 32, TAINTED), authority_key_id="ffff"))
    assert not denials.deny(dataclasses.replace(STOLEN, issuer_keys=("bb" * 32,), authority_key_id=TAINTED))


@pytest.mark.parametrize(
    "entry",
    [
        certificate("1", ""),
        certificate("", "1e"),
        certificate("1", "xyz"),
        certificate("0x1", "1e"),
        certificate("1", "1" * 200),
        certificate("1", "1e", spiffe_id="demo"),
        identity(""),
        identity("example.org/demo"),
        identity("spiffe://example.org"),
        identity("spiffe://Example.org/demo"),
        authority("a7"),
        authority("zz" * 32),
        authority(""),
    ],
)
def test_what_names_nothing_is_refused(entry: Entry) -> None:
    """It is told, not stored."""
    with pytest.raises(BadEntry):
        check(entry)
    with pytest.raises(BadEntry):
        DenyList().changed([entry], (), NOW)


def test_versions_only_grow() -> None:
    """A version is the time of the change; where the clock stands still or goes back it is one more."""
    first = deny_list(certificate())
    assert first.version == NOW
    second = first.changed([identity()], (), NOW)
    third = second.changed((), [second.entries[0].id], NOW - SECOND)
    assert [second.version, third.version] == [NOW + 1, NOW + 2]
    assert [entry.since for entry in second.entries] == [NOW, NOW + 1]
    assert [entry.what for entry in third.entries] == [What.IDENTITY]


def test_what_is_named_again_is_refused_no_less() -> None:
    """The newer entry stands for both: it reaches as far as either, and ends when the later one does."""
    early = deny_list(identity(cutoff=FOR_GOOD, ends_at=NEVER), certificate(ends_at=NOW + 9, spiffe_id=ROBBED))
    late = early.changed([identity(cutoff=NOW, ends_at=NOW + 5), certificate(ends_at=NOW + 7)], (), NOW + 1)
    by = {entry.what: entry for entry in late.entries}
    assert len(late.entries) == 2
    assert (by[What.IDENTITY].cutoff, by[What.IDENTITY].ends_at) == (FOR_GOOD, NEVER)
    assert (by[What.CERTIFICATE].ends_at, by[What.CERTIFICATE].spiffe_id) == (NOW + 9, ROBBED)
    assert {entry.since for entry in late.entries} == {NOW + 1}


def test_entries_end_with_what_they_name() -> None:
    """A while after its end an entry leaves with the next change; one whose end is not known stays."""
    deny = deny_list(certificate(ends_at=NOW + SECOND), identity())
    assert not deny.has_ended(NOW + SECOND + MARGIN)
    assert deny.has_ended(NOW + SECOND + MARGIN + 1)
    assert [entry.what for entry in deny.changed((), (), NOW + SECOND + MARGIN + 1).entries] == [What.IDENTITY]
    assert not over(identity(), 1 << 62)


def test_a_full_list_takes_no_more_and_drops_nothing() -> None:
    """The refusal says what to do; an entry that names what another names still finds room."""
    many = [certificate(f"{number:x}") for number in range(1, MAX_ENTRIES + 1)]
    full = DenyList().changed(many, (), NOW)
    with pytest.raises(DenyListFull, match="taint the authority"):
        full.changed([identity()], (), NOW)
    assert len(full.changed([certificate("1", queued=Queued.HOLD)], (), NOW).entries) == MAX_ENTRIES
    assert len(full.changed([identity()], [full.entries[0].id], NOW).entries) == MAX_ENTRIES


def test_what_is_not_there_is_not_taken_back() -> None:
    """A mistyped id is told."""
    with pytest.raises(UnknownEntry, match="smsgw revocations"):
        deny_list(identity()).changed((), ["deadbeef"], NOW)
