"""What a session remembers of what it has given up."""

from __future__ import annotations

from carrier.smpp.bounds import GivenUp


def test_the_latest_are_remembered() -> None:
    """Beyond the limit the oldest is forgotten; one that is found is forgotten too."""
    given_up = GivenUp(2)
    for sequence in (1, 2, 3):
        given_up.add(sequence, f"ticket {sequence}")
    assert [sequence in given_up for sequence in (1, 2, 3)] == [False, True, True]
    assert given_up.pop(2) == "ticket 2"
    assert 2 not in given_up
    given_up.clear()
    assert 3 not in given_up
