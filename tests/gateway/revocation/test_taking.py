"""Which list may follow which: rolled back, replayed, forged, stale, from the future, and all of it after a restart."""

from __future__ import annotations

import pytest

from gateway.revocation.entries import DenyList
from gateway.revocation.errors import BadDenyList, DenyListOutOfTime, ForgedDenyList, OldDenyList
from gateway.revocation.taking import SKEW, Seen, Taking
from tests.gateway.revocation.samples import KEYS, NOW, OTHER_KEY, SECOND, certificate, deny_list, identity, signed

AGE = 60 * SECOND
FIRST = deny_list(identity())
SECOND_LIST = FIRST.changed([certificate()], (), NOW + SECOND)


def taking(seen: Seen = Seen()) -> Taking:  # noqa: B008 -- it is frozen
    """Return the memory of a node."""
    return Taking(KEYS, seen, AGE)


def test_lists_in_order() -> None:
    """The first and a newer one are taken up whole; a fresh head of the same is taken without its entries."""
    node = taking()
    assert node.take(*signed(FIRST), NOW) == FIRST
    assert node.take(*signed(SECOND_LIST), NOW) == SECOND_LIST
    head = signed(SECOND_LIST, issued_at=NOW + 30 * SECOND, expires_at=NOW + 90 * SECOND).head
    assert node.take(head, None, NOW + 30 * SECOND) is None
    assert node.fresh_until == NOW + 90 * SECOND
    assert node.refreshed_at() == NOW + 30 * SECOND


def test_an_older_list_is_refused_though_it_is_validly_signed() -> None:
    """Replayed as it was, or signed anew today by a publisher that was put back: it is older."""
    node = taking()
    node.take(*signed(SECOND_LIST), NOW)
    for issued_at in (NOW, NOW + SECOND):
        with pytest.raises(OldDenyList, match="put back from a backup"):
            node.take(*signed(FIRST, issued_at=issued_at), NOW + SECOND)
    assert node.seen.version == SECOND_LIST.version


def test_an_older_list_is_refused_after_a_restart() -> None:
    """What was seen is remembered, though the list itself is gone or was exchanged for an older one."""
    node = taking()
    node.take(*signed(SECOND_LIST), NOW)
    again = taking(node.seen)
    with pytest.raises(OldDenyList):
        again.restore(*signed(FIRST))
    with pytest.raises(OldDenyList):
        again.take(*signed(FIRST), NOW)
    assert again.fresh_until == 0
    assert again.take(*signed(SECOND_LIST), NOW) == SECOND_LIST


def test_a_list_of_before_the_restart_is_as_fresh_as_it_was_signed() -> None:
    """A restart makes nothing fresh."""
    again = taking()
    assert again.restore(*signed(FIRST)) == FIRST
    assert again.fresh_until == NOW + AGE


def test_an_older_signature_is_refused() -> None:
    """Of the same list, too: a replayed head makes nothing fresher."""
    node = taking()
    node.take(*signed(FIRST, issued_at=NOW + 10 * SECOND), NOW + 10 * SECOND)
    with pytest.raises(OldDenyList, match="newer signature"):
        node.take(signed(FIRST).head, None, NOW + 10 * SECOND)


def test_two_lists_of_one_version_are_refused() -> None:
    """The key is used by two: the second one is not believed, fresh or after a restart."""
    node = taking()
    node.take(*signed(FIRST), NOW)
    other = DenyList(version=FIRST.version)
    for taker in (node, taking(node.seen)):
        with pytest.raises(ForgedDenyList, match="two deny lists"):
            taker.take(*signed(other), NOW)


@pytest.mark.parametrize(
    ("issued_at", "expires_at"),
    [(NOW - AGE - 1, NOW + AGE), (NOW - SECOND, NOW - 1), (NOW + SKEW + 1, NOW + AGE)],
)
def test_out_of_time(issued_at: int, expires_at: int) -> None:
    """Too old for this node, expired by the publisher's own word, or from a clock that is ahead: not taken."""
    node = taking()
    with pytest.raises(DenyListOutOfTime):
        node.take(*signed(FIRST, issued_at=issued_at, expires_at=expires_at), NOW)
    assert node.seen == Seen()
    assert node.fresh_until == 0


def test_a_little_ahead_is_no_fault() -> None:
    """Clocks differ."""
    assert taking().take(*signed(FIRST, issued_at=NOW + SKEW, expires_at=NOW + AGE), NOW) == FIRST


def test_entries_have_to_come_with_a_new_head() -> None:
    """A head of a list that is not known says nothing."""
    node = taking()
    with pytest.raises(BadDenyList, match="missing"):
        node.take(signed(FIRST).head, None, NOW)
    node.take(*signed(FIRST), NOW)
    with pytest.raises(BadDenyList, match="missing"):
        node.take(signed(SECOND_LIST).head, None, NOW)


def test_another_key_changes_nothing() -> None:
    """A forged list leaves memory and freshness as they were."""
    node = taking()
    node.take(*signed(FIRST), NOW)
    with pytest.raises(ForgedDenyList):
        node.take(*signed(SECOND_LIST, OTHER_KEY, issued_at=NOW + SECOND), NOW + SECOND)
    assert (node.seen.version, node.fresh_until) == (FIRST.version, NOW + AGE)
