"""Which parts an attempt sends, and what it knows of the others."""

from __future__ import annotations

from typing import Any

import pytest

from carrier.contract import LinkListener
from carrier.statuses import DEFAULTS
from gateway.pipeline.attempts import begin, has_answered_parts
from gateway.pipeline.berths import Berth
from gateway.states import State
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.test_permits import plan_by, waiting


class _Nobody(LinkListener):
    """Listens to nothing."""


BERTH = Berth(FakeLink(_Nobody()))  # type: ignore[abstract]  # nothing is told here; it is acme's
PLAN = plan_by("acme", "other")


def begun(count: int, **fields: Any) -> tuple[list[int], list[str], list[str], bool]:
    """Begin an attempt at acme: the parts to send, what is known of each, their ids, and whether it has moved."""
    attempt, parts = begin(BERTH, waiting(segments=count, **fields), PLAN, count, actions=DEFAULTS)
    assert (attempt.pending, attempt.slots, attempt.ways) == (len(parts), count, 2)
    return list(parts), attempt.states, attempt.ids, attempt.moved


def test_a_message_of_one_part() -> None:
    """One part, sent, whatever came before."""
    assert begun(1) == ([0], ["-"], [""], False)
    assert begun(1, attempts=2, carrier="other", state=int(State.UNKNOWN)) == ([0], ["-"], [""], False)


def test_all_parts_at_first() -> None:
    """In their order."""
    assert begun(3) == ([0, 1, 2], ["-"] * 3, [""] * 3, False)


def test_only_what_this_carrier_has_not_answered() -> None:
    """Parts with an id from an earlier attempt at the same carrier are kept, with what receipts have said of them."""
    known = {"attempts": 1, "carrier": "acme", "part_states": "S-D", "carrier_ids": "a\n\nc"}
    assert begun(3, **known) == ([1], ["S", "-", "D"], ["a", "", "c"], False)


def test_nothing_to_send() -> None:
    """Receipts have told of the part that was in doubt, and of no id."""
    known = {"attempts": 1, "carrier": "acme", "part_states": "DS", "carrier_ids": "\nb", "state": int(State.UNKNOWN)}
    assert begun(2, **known) == ([], ["D", "S"], ["", "b"], False)


@pytest.mark.parametrize(("part_states", "moved"), [("S--", True), ("---", False), ("", False)])
def test_all_parts_at_another_carrier(part_states: str, moved: bool) -> None:
    """What another carrier has answered is sent again, and that it may arrive twice is known."""
    ids = "a\n\n" if part_states.startswith("S") else ""
    known = {"attempts": 1, "carrier": "other", "part_states": part_states, "carrier_ids": ids}
    assert begun(3, **known) == ([0, 1, 2], ["-"] * 3, [""] * 3, moved)


def test_another_number_of_parts() -> None:
    """A carrier that writes it in other parts than before, since its settings have changed, gets all of them."""
    known = {"attempts": 1, "carrier": "acme", "part_states": "S-", "carrier_ids": "a\n"}
    assert begun(3, **known) == ([0, 1, 2], ["-"] * 3, [""] * 3, True)


def test_answered_parts() -> None:
    """Any part that is not unsent."""
    assert [has_answered_parts(waiting(part_states=states)) for states in ("", "-", "--", "-S", "D")] == [
        False, False, False, True, True,
    ]  # fmt: skip
