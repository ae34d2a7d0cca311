"""The places of calls: identities, tenants, and calls whose answers nobody fetches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Overloaded
from gateway.limits.places import CallPlaces, LeavingCalls


def taken(places: CallPlaces, spiffe_id: str, tenant: str) -> bool:
    """Take a place, and say whether there was one."""
    try:
        places.take(spiffe_id, tenant)
    except Overloaded:
        return False
    return True


def reason(places: CallPlaces, spiffe_id: str, tenant: str) -> str:
    """Return why there is no place."""
    with pytest.raises(Overloaded) as refused:
        places.take(spiffe_id, tenant)
    assert refused.value.retry_after_s > 0
    return refused.value.reason


def test_of_one_identity() -> None:
    """An identity has so many places; when it gives one back it has one again."""
    places = CallPlaces(total=100, per_identity=2)
    assert [taken(places, "a", "t") for _ in range(3)] == [True, True, False]
    assert reason(places, "a", "t") == "TOO_MANY_CALLS"
    assert taken(places, "b", "t")
    places.give_back("a", "t")
    assert taken(places, "a", "t")


def test_a_tenant_has_as_many_as_it_leaves() -> None:
    """A tenant that takes what it can get has half of the places; the next one half of what is left."""
    places = CallPlaces(total=100, per_identity=100)
    assert sum(taken(places, "a", "one") for _ in range(200)) == 50
    assert reason(places, "a", "one") == "TENANT_CALLS"
    assert sum(taken(places, "b", "two") for _ in range(200)) == 25


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=300), st.integers(8, 40))
def test_there_is_always_room_for_one_more_tenant(steps: list[tuple[int, int, bool]], total: int) -> None:
    """Whatever four tenants take and give back, one that has nothing open finds a place, and the counts are exact."""
    places = CallPlaces(total=total, per_identity=total)
    held: list[tuple[str, str]] = []
    for identity, tenant, take in steps:
        one = (f"{tenant}/{identity}", str(tenant))
        if take and taken(places, *one):
            held.append(one)
        elif not take and one in held:
            held.remove(one)
            places.give_back(*one)
        assert places.taken == len(held) < total
        places.take("new", "new")
        places.give_back("new", "new")
    for one in held:
        places.give_back(*one)
    assert places.taken == 0


def test_the_connection_that_leaves_most_unread_is_ended() -> None:
    """Beyond the bound the connection with most leaving calls goes; those of the others are counted on."""
    ended: list[str] = []
    leaving = LeavingCalls(5, ended.append)
    for peer in ("a", "b", "b", "a", "b"):
        leaving.add(peer)
    assert ended == []
    leaving.add("c")
    assert (ended, leaving.count) == (["b"], 3)
    leaving.add("b")  # begun before the connection is gone
    for peer in ("b", "b", "b", "b", "a"):
        leaving.remove(peer)
    assert leaving.count == 2
    leaving.add("b")  # a new connection under the same name
    assert leaving.count == 3


def test_of_equal_connections_the_oldest_goes() -> None:
    """When all have as many, that which has waited longest goes."""
    ended: list[str] = []
    leaving = LeavingCalls(2, ended.append)
    for peer in ("a", "b", "c"):
        leaving.add(peer)
    assert ended == ["a"]
