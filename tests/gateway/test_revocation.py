"""Revocation: the list, its file, and the calls that a new entry cuts."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, Unauthenticated
from gateway.identity import Caller
from gateway.revocation import DenyList, DenyListError, DenyListFile, RevokedCalls, dump, follow, parse
from tests.gateway.callers import caller

KEY_IDS = st.from_regex("[0-9a-f]{2,40}", fullmatch=True)
SERIALS = st.from_regex("[1-9a-f][0-9a-f]{0,38}", fullmatch=True)
STOLEN = dataclasses.replace(caller(), serial="3d54", authority_key_id="1e44")


class UnderWay:
    """A call under way."""

    def __init__(self, who: Caller) -> None:
        self.caller = who
        self.refusal: GatewayError | None = None
        self.was_cut = asyncio.Event()

    def cut(self, refusal: GatewayError) -> None:
        """Write down why."""
        self.refusal = refusal
        self.was_cut.set()


def test_a_certificate_is_denied_by_issuer_and_serial_however_they_are_written() -> None:
    """Upper case, colons and a leading zero, as openssl prints them, name the same certificate."""
    deny = DenyList().with_certificate("1E:44", "03:D5:4")
    assert deny.denies(STOLEN)
    assert not deny.denies(dataclasses.replace(STOLEN, serial="3d55"))
    assert not deny.denies(dataclasses.replace(STOLEN, authority_key_id="1e45"))


def test_a_spiffe_id_is_denied_whatever_its_certificate() -> None:
    """All certificates of the identity, and of no other."""
    deny = DenyList().with_spiffe_id("spiffe://example.org/demo/api")
    assert deny.denies(STOLEN)
    assert not deny.denies(caller(spiffe_id="spiffe://example.org/demo/api2"))


@pytest.mark.parametrize(("key", "serial"), [("", "1"), ("1e", ""), ("xyz", "1"), ("1e", "0x1"), ("1" * 200, "1")])
def test_what_is_not_hexadecimal_is_refused(key: str, serial: str) -> None:
    """A number that names nothing is told, not stored."""
    with pytest.raises(DenyListError, match="hexadecimal"):
        DenyList().with_certificate(key, serial)


@given(
    st.frozensets(st.tuples(KEY_IDS, SERIALS), max_size=5),
    st.frozensets(st.from_regex(r"spiffe://[a-z]{1,9}/[a-z]{1,9}", fullmatch=True), max_size=5),
)
def test_the_file_form_goes_round(certificates: frozenset[tuple[str, str]], spiffe_ids: frozenset[str]) -> None:
    """What is written is what is read."""
    deny = DenyList(certificates=certificates, spiffe_ids=spiffe_ids)
    assert parse(dump(deny), "here") == deny


@given(st.binary(max_size=200))
def test_damaged_files_raise_the_documented_error(octets: bytes) -> None:
    """Whatever the octets are, there is no other error, and no empty list by accident."""
    with pytest.raises(DenyListError):
        parse(octets, "here")


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 2, "certificates": [], "spiffe_ids": []}',
        '{"version": 1, "certificates": []}',
        '{"version": 1, "certificates": [], "spiffe_ids": [], "more": 1}',
        '{"version": 1, "certificates": [{"serial": "1"}], "spiffe_ids": []}',
        '{"version": 1, "certificates": [], "spiffe_ids": ["example.org/demo"]}',
    ],
)
def test_a_list_that_is_not_whole_is_refused(text: str) -> None:
    """Unknown versions and keys, and entries that name nobody, are not skipped."""
    with pytest.raises(DenyListError):
        parse(text.encode(), "here")


def test_a_file_is_taken_up_when_it_changes_and_kept_when_it_breaks(tmp_path: Path) -> None:
    """A new list counts; a broken or missing file leaves the old one in force."""
    path = tmp_path / "denied.json"
    node, operator = DenyListFile(path), DenyListFile(path)
    assert not node.refresh()
    operator.replace(DenyList().with_spiffe_id("spiffe://example.org/demo/api"))
    assert node.refresh()
    assert node.deny.denies(STOLEN)
    assert not node.refresh()
    path.write_text("{")
    with pytest.raises(DenyListError):
        node.refresh()
    path.unlink()
    with pytest.raises(DenyListError, match="gone"):
        node.refresh()
    assert node.deny.denies(STOLEN)


def test_a_broken_list_stops_the_start(tmp_path: Path) -> None:
    """A node that cannot know who is revoked does not begin."""
    (tmp_path / "denied.json").write_text("[]")
    with pytest.raises(DenyListError):
        DenyListFile(tmp_path / "denied.json")


async def test_a_new_entry_cuts_the_calls_of_its_identity_and_no_others(tmp_path: Path) -> None:
    """The call of the revoked caller is cut, and told why; the other one goes on."""
    file = DenyListFile(tmp_path / "denied.json")
    calls = RevokedCalls(file.deny)
    revoked, good = UnderWay(STOLEN), UnderWay(caller(spiffe_id="spiffe://example.org/demo/good"))
    for call in (revoked, good):
        calls.require(call.caller)
        calls.begin(call)
    told: asyncio.Queue[int] = asyncio.Queue()
    following = asyncio.create_task(follow(file, calls, told.put_nowait, every_s=0.001))
    DenyListFile(tmp_path / "denied.json").replace(DenyList().with_certificate("1e44", "3d54"))
    assert await asyncio.wait_for(told.get(), 10) == 1
    await asyncio.wait_for(revoked.was_cut.wait(), 10)
    assert isinstance(revoked.refusal, Unauthenticated)
    assert revoked.refusal.reason == "REVOKED"
    assert good.refusal is None
    with pytest.raises(Unauthenticated):
        calls.require(STOLEN)
    (tmp_path / "denied.json").write_text("broken")
    assert await asyncio.wait_for(told.get(), 10) == -1
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
