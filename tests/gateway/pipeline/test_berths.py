"""How much a link is given, and when it counts as stalled."""

from __future__ import annotations

from carrier.contract import LinkListener, LinkState, Submission
from gateway.pipeline.berths import Berth, Room, by_carrier, freest
from gateway.states import Category
from tests.gateway.pipeline.fake_link import FakeLink

SECOND = 1_000_000
PATIENCE = 3 * SECOND


class _Nobody(LinkListener):
    """Listens to nothing."""


def berth(window: int = 10, rate: float = 10_000.0, carrier: str = "acme") -> tuple[Berth, FakeLink]:
    """Return a link and its berth."""
    link = FakeLink(_Nobody(), carrier=carrier, window=window)  # type: ignore[abstract]  # nothing is told here
    link.rate = rate
    return Berth(link), link


def written(link: FakeLink, count: int) -> None:
    """Have so many unanswered PDUs on a link."""
    link.held += [Submission(None, 0, b"", 1)] * count


def test_two_windows_and_a_fifth_for_otp() -> None:
    """A quick carrier gets two windows."""
    one, _ = berth()
    assert one.room() == Room(20, 16)
    one.slots = 16
    assert one.room() == Room(4, 0)


def test_no_more_than_goes_in_a_second() -> None:
    """Ten PDUs a second: ten that are not written, whatever the window; what is written does not count."""
    one, link = berth(window=500, rate=10)
    assert one.room() == Room(10, 8)
    one.slots = 10
    assert one.room() == Room(0, -2)
    written(link, 4)
    assert one.room() == Room(4, 2)


def test_a_very_slow_carrier_gets_a_few() -> None:
    """One PDU in ten seconds: five, of which one is kept for OTP."""
    one, _ = berth(window=500, rate=0.1)
    assert one.room() == Room(5, 4)


def test_links_of_one_carrier_share_its_pace() -> None:
    """The rate is the account's: two links hold as much as one."""
    pair = [berth(window=500, rate=100)[0] for _ in range(2)]
    alone, _ = berth(window=500, rate=100, carrier="other")
    groups = by_carrier([*pair, alone])
    assert [len(group) for group in groups.values()] == [2, 1]
    assert [one.room().otp for one in (*pair, alone)] == [50, 50, 100]


def test_the_freest_of_several() -> None:
    """The one with the most room; none while none has any."""
    (first, link), (second, _) = berth(), berth()
    first.slots = 5
    assert freest([first, second]) is second
    second.leaving = True
    assert freest([first, second]) is first
    link.state = LinkState.BACKOFF
    assert freest([first, second]) is None


def test_a_full_window_without_answers_stalls() -> None:
    """After the patience it takes nothing more, and gives back what is staged; an answer makes it usable again."""
    one, link = berth()
    written(link, 10)
    one.moved_at = 0
    assert [one.look(PATIENCE, PATIENCE), one.stalled] == [False, False]
    # Nothing is staged, so there is nothing to give back.
    assert [one.look(PATIENCE + 1, PATIENCE), one.stalled] == [False, True]
    assert one.room() == Room(0, 0)
    one.moved_at = PATIENCE + 2
    one.look(PATIENCE + 2, PATIENCE)
    assert one.room().otp > 0


def test_a_quiet_link_is_not_stalled() -> None:
    """A window that is not full waits for messages, not for answers."""
    one, link = berth()
    written(link, 9)
    assert not one.look(100 * PATIENCE, PATIENCE)
    assert not one.stalled


def test_a_message_larger_than_the_room_goes_alone() -> None:
    """Thirty parts go out on a window of ten, when nothing else is on the link."""
    one, _ = berth()
    assert one.takes(Category.OTP, 30)
    one.slots = 1
    assert not one.takes(Category.OTP, 30)
    assert not one.takes(Category.PROMOTIONAL, 16)
    assert one.takes(Category.OTP, 16)
