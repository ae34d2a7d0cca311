"""The sketch never tells too early a horizon, whatever shares its places."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.sketch import MIN_PLACES, Sketch

keys = st.integers(-(2**63), 2**63 - 1)
few_keys = st.sampled_from([0, 1, -1, 1 << 32, (1 << 32) + 1, 5 << 32, 12345, -(2**63), 2**63 - 1])


@pytest.mark.parametrize(("places", "size"), [(1024, 1024), (1025, 2048), (3000, 4096)])
def test_size(places: int, size: int) -> None:
    """Places are rounded up to a power of two."""
    assert len(Sketch(places)) == size


def test_bounds() -> None:
    """A sketch of no size, or of a gigantic one, is a mistake."""
    for places in (0, MIN_PLACES - 1, 1 << 29):
        with pytest.raises(ValueError, match="places"):
            Sketch(places)


@settings(max_examples=50)
@given(keys)
def test_one_key(key: int) -> None:
    """A key alone has exactly its own horizon."""
    sketch = Sketch(MIN_PLACES)
    assert sketch.horizon(key) == 0
    sketch.spend(key, 60, 1000)
    assert sketch.horizon(key) == 1060
    sketch.spend(key, 60, 1010)
    assert sketch.horizon(key) == 1120
    sketch.spend(key, 60, 9000)
    assert sketch.horizon(key) == 9060


@settings(max_examples=100)
@given(st.lists(st.tuples(few_keys, st.integers(1, 100), st.integers(0, 50)), max_size=80))
def test_never_too_early(steps: list[tuple[int, int, int]]) -> None:
    """However keys share places, none has an earlier horizon than it would have alone."""
    sketch, now, alone = Sketch(MIN_PLACES), 0, dict[int, int]()
    for key, interval, pause in steps:
        now += pause
        sketch.spend(key, interval, now)
        alone[key] = max(alone.get(key, 0), now) + interval
        assert all(sketch.horizon(known) >= horizon for known, horizon in alone.items())


def test_mostly_exact() -> None:
    """With a quarter as many keys as places, hardly a key is told a later horizon than its own."""
    sketch = Sketch(1 << 14)
    some = [hash(f"+49151{number:08d}") for number in range(1 << 12)]
    for key in some:
        sketch.spend(key, 60, 0)
    assert sum(sketch.horizon(key) != 60 for key in some) < len(some) // 10
