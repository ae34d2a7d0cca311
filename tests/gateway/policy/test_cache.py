"""The cache of decisions: bounded, and apart by tenant."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.cache import DecisionCache, Partition


def test_found_again() -> None:
    """What was kept is found under the same key, and under no other."""
    cache: DecisionCache[str] = DecisionCache()
    cache.of("a").keep(("k", 1), "yes")
    assert cache.of("a").find(("k", 1)) == "yes"
    assert cache.of("a").find(("k", 2)) is None
    assert cache.of("b").find(("k", 1)) is None
    assert len(cache) == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.lists(st.integers(0, 30), max_size=200))
def test_bounded_and_never_wrong(limit: int, keys: list[int]) -> None:
    """However it is used, a partition holds no more than its limit, and what it finds was kept under that key."""
    partition: Partition[int] = Partition(limit)
    for key in keys:
        found = partition.find((key,))
        assert found in (None, key)
        if found is None:
            partition.keep((key,), key)
        assert len(partition) <= max(limit, 0)


def test_what_is_used_stays() -> None:
    """A key that is asked for again and again is not pushed out by others that come once."""
    partition: Partition[str] = Partition(8)
    partition.keep(("used",), "kept")
    for n in range(100):
        assert partition.find(("used",)) == "kept"
        partition.keep((n,), "other")


def test_recent_stays_the_same_dictionary() -> None:
    """Who looks into `recent` directly sees what is kept later."""
    partition: Partition[int] = Partition(4)
    recent = partition.recent
    for n in range(10):
        partition.keep((n,), n)
        assert recent[(n,)] == n


def test_no_tenant_pushes_out_another() -> None:
    """One tenant that asks a thousand things leaves the decisions of another alone."""
    cache: DecisionCache[str] = DecisionCache(decisions=10)
    cache.of("quiet").keep(("k",), "kept")
    for n in range(1000):
        cache.of("loud").keep((n,), "x")
    assert cache.of("quiet").find(("k",)) == "kept"
    assert len(cache.of("loud")) <= 10


def test_more_tenants_than_places() -> None:
    """A tenant beyond the bound has nothing kept for it, and takes nothing from the others."""
    cache: DecisionCache[str] = DecisionCache(tenants=2)
    for tenant in ("a", "b", "c"):
        cache.of(tenant).keep(("k",), tenant)
    assert [cache.of(tenant).find(("k",)) for tenant in ("a", "b", "c")] == ["a", "b", None]
