"""Messages need room in all three limits, and take it from all or none."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Overloaded, RateLimited
from gateway.limits.messages import CALLER, RECIPIENT, TENANT, MessageLimits, MessageRates
from gateway.limits.rate import Rate
from tests.gateway.limits.strategies import worst_excess

SECOND = 1_000_000
ENDLESS = Rate.a_second(1_000_000, 1_000_000)
A, B = "+4915112345678", "+4915112345679"


def limits(
    *, caller: Rate = ENDLESS, tenant: Rate = ENDLESS, recipient: Rate = ENDLESS, accounts: int = 100
) -> MessageLimits:
    """Return limits that nobody reaches, but for those given."""
    return MessageLimits(
        MessageRates(caller=caller, tenant=tenant, recipient=recipient), accounts=accounts, places=1 << 12
    )


def send(
    of: MessageLimits, to: list[str], now: int, *, tenant: str = "t", caller: str = "c", stored: bool = True
) -> list[str]:
    """Send a batch that is stored, or that turns out to be replays; which limit refused each, "" for none."""
    with of.admission(tenant, caller, len(to), now) as admission:
        refused = [admission.hold(recipient) for recipient in to]
        admission.settle([stored] * sum(error is None for error in refused), now)
    return [error.limit if error else "" for error in refused]


def test_per_caller() -> None:
    """One caller's burst is its own: another caller of the same tenant has room."""
    of = limits(caller=Rate.a_second(1, 2))
    assert send(of, [A, B, A], 0) == ["", "", CALLER]
    assert send(of, [A], 0, caller="other") == [""]
    assert send(of, [A, A], SECOND) == ["", CALLER]


def test_per_tenant() -> None:
    """A tenant's callers share its burst; another tenant has room."""
    of = limits(tenant=Rate.a_second(1, 2))
    assert send(of, [A, B], 0) == ["", ""]
    assert send(of, [A], 0, caller="other") == [TENANT]
    assert send(of, [A], 0, tenant="u", caller="else") == [""]


def test_per_recipient() -> None:
    """A recipient is spared by all callers of a tenant together; another tenant cannot use up what is this one's."""
    of = limits(recipient=Rate(count=60, period_us=3600 * SECOND, burst=2))
    assert send(of, [A, A, A, B], 0) == ["", "", RECIPIENT, ""]
    assert send(of, [A], 0, caller="other") == [RECIPIENT]
    assert send(of, [A], 0, tenant="u", caller="else") == [""]
    assert send(of, [A], 60 * SECOND - 1) == [RECIPIENT]
    assert send(of, [A, A], 60 * SECOND) == ["", RECIPIENT]


def test_all_or_none() -> None:
    """A message that one limit refuses takes nothing from the others."""
    of = limits(caller=Rate.a_second(1, 3), recipient=Rate.a_second(1, 1))
    assert send(of, [A, A, A, A], 0) == ["", RECIPIENT, RECIPIENT, RECIPIENT]
    assert send(of, [B, A], 0) == ["", RECIPIENT]
    assert send(of, ["+4915100000001"], 0) == [""]
    assert send(of, ["+4915100000002"], 0) == [CALLER]


def test_other_rates() -> None:
    """Rates that change hold from the next batch on, and begin with their burst; those that do not change, and what a
    recipient has got, are kept."""
    slow, one = Rate(count=1, period_us=3600 * SECOND, burst=2), Rate(count=1, period_us=3600 * SECOND, burst=1)
    usual = MessageRates(caller=ENDLESS, tenant=slow, recipient=ENDLESS)
    of = MessageLimits(usual, {"own": MessageRates(caller=ENDLESS, tenant=one, recipient=one)}, places=1 << 12)
    assert send(of, [A, B, A], 0) == ["", "", TENANT]
    assert send(of, [A], 0, tenant="own", caller="d") == [""]
    of.use(usual, {"own": MessageRates(caller=ENDLESS, tenant=slow, recipient=one)})
    assert send(of, [A], 0) == [TENANT]
    assert send(of, [A, B, B], 0, tenant="own", caller="d") == [RECIPIENT, "", RECIPIENT]
    of.use(usual, {})
    assert send(of, [A, "+4915112345670"], 0, tenant="own", caller="d") == [RECIPIENT, ""]


def test_other_rates_while_a_batch_is_held() -> None:
    """What is held when rates change is still taken: a lower limit cannot be passed by what is on its way."""
    of = limits(tenant=Rate.a_second(1, 10))
    with of.admission("t", "c", 4, 0) as admission:
        for _ in range(4):
            assert admission.hold(A) is None
        of.use(
            MessageRates(caller=ENDLESS, tenant=Rate(count=1, period_us=3600 * SECOND, burst=5), recipient=ENDLESS), {}
        )
        assert send(of, [B, B], 0) == ["", TENANT]
        admission.settle([True] * 4, 0)
    assert send(of, [B], 0) == [TENANT]


def test_replays_take_nothing() -> None:
    """What was held and turned out to be a replay is given back, to all three."""
    of = limits(caller=Rate.a_second(1, 1), tenant=Rate.a_second(1, 1), recipient=Rate.a_second(1, 1))
    for _ in range(3):
        assert send(of, [A], 0, stored=False) == [""]
    assert send(of, [A], 0) == [""]


def test_what_is_held_counts() -> None:
    """Room that a batch holds is not there for another, until it is settled; nor is the recipient's."""
    of = limits(caller=Rate.a_second(1, 2), recipient=Rate.a_second(1, 1))
    first = of.admission("t", "c", 1, 0)
    assert first.hold(A) is None
    second = of.admission("t", "c", 2, 0)
    refused = second.hold(A)
    assert refused is not None
    assert refused.limit == RECIPIENT
    assert second.hold(B) is None
    refused = second.hold("+4915100000001")
    assert refused is not None
    assert refused.limit == CALLER
    first.release()
    first.release()
    second.settle([True], 0)
    assert send(of, [A, "+4915100000001"], 0) == ["", CALLER]


def test_a_block_gives_back() -> None:
    """An admission that ends without being settled has taken nothing, also when it ends by an error."""
    of = limits(caller=Rate.a_second(1, 1))

    def fail() -> None:
        with of.admission("t", "c", 1, 0) as admission:
            assert admission.hold(A) is None
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert send(of, [A], 0) == [""]


def test_tenants_of_their_own() -> None:
    """A tenant with rates of its own is held to those, in all three."""
    usual = MessageRates(caller=ENDLESS, tenant=ENDLESS, recipient=ENDLESS)
    strict = MessageRates(caller=Rate.a_second(1, 3), tenant=ENDLESS, recipient=Rate.a_second(1, 1))
    of = MessageLimits(usual, {"strict": strict}, places=1 << 12)
    assert send(of, [A] * 5, 0) == [""] * 5
    assert send(of, [A, A], 0, tenant="strict", caller="d") == ["", RECIPIENT]
    assert send(of, [f"+491510000000{n}" for n in range(4)], 0, tenant="strict", caller="d") == ["", "", CALLER, CALLER]


@pytest.mark.parametrize(("sent", "wait_s"), [(4, 0.5), (7, 2.0), (100, 5.0)])
def test_when_to_come_again(sent: int, wait_s: float) -> None:
    """Whoever is refused is told when all that was refused fits together, or as much of it as ever does."""
    of = limits(caller=Rate(count=2, period_us=SECOND, burst=10))
    send(of, [f"+49151000{n:05d}" for n in range(7)], 0)
    with of.admission("t", "c", sent, 0) as admission:
        errors = [admission.hold(f"+49152000{n:05d}") for n in range(sent)]
    refused = [error for error in errors if error]
    assert len(refused) == sent - 3
    assert {error.retry_after_s for error in refused} == {wait_s}
    assert isinstance(refused[0], RateLimited)
    assert "2 a second are allowed, 10 at once" in str(refused[0])


def test_when_a_recipient_has_room() -> None:
    """The time that is told for a recipient is exact."""
    of = limits(recipient=Rate(count=60, period_us=3600 * SECOND, burst=1))
    send(of, [A], 0)
    with of.admission("t", "c", 1, 15 * SECOND) as admission:
        refused = admission.hold(A)
    assert refused is not None
    assert refused.retry_after_s == 45
    assert A[-8:] not in str(refused)


def test_full_of_callers() -> None:
    """A caller that there is no room to remember is refused; known ones go on."""
    of = limits(caller=Rate(count=1, period_us=3600 * SECOND, burst=5), accounts=2)
    for caller in ("a", "b"):
        assert send(of, [A], 0, caller=caller) == [""]
    with pytest.raises(Overloaded) as refused:
        of.admission("t", "c", 1, 0)
    assert refused.value.reason == "LIMIT_TABLE_FULL"
    assert send(of, [A], 0, caller="a") == [""]
    assert send(of, [A], 7200 * SECOND, caller="c") == [""]


batches = st.lists(
    st.tuples(
        st.integers(0, 3 * SECOND),  # since the last batch
        st.sampled_from(["x", "y"]),
        st.lists(st.tuples(st.sampled_from("ABC"), st.booleans()), min_size=1, max_size=8),  # to whom, and stored?
        st.integers(0, 2 * SECOND),  # until it is settled; others come between
    ),
    max_size=25,
)


@settings(max_examples=80)
@given(batches)
def test_never_too_many(
    arriving: list[tuple[int, str, list[tuple[str, bool]], int]],
) -> None:
    """However batches overlap and whatever of them is stored, no window of time exceeds any of the three rates."""
    three = {CALLER: Rate.a_second(2, 3), TENANT: Rate.a_second(3, 5), RECIPIENT: Rate.a_second(1, 2)}
    of = limits(caller=three[CALLER], tenant=three[TENANT], recipient=three[RECIPIENT])
    taken: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    now = 0
    steps = []
    for number, (pause, caller, messages, lasts) in enumerate(arriving):
        now += pause
        steps += [(now, number, "begin", caller, messages), (now + lasts, number, "end", caller, messages)]
    open_ = {}
    for at, number, what, caller, messages in sorted(steps, key=lambda step: (step[0], step[1], step[2])):
        if what == "begin":
            admission = of.admission("t", caller, len(messages), at)
            held = [(to, stored) for to, stored in messages if admission.hold(to) is None]
            open_[number] = admission, held
            continue
        admission, held = open_.pop(number)
        admission.settle([stored for _, stored in held], at)
        for to in (to for to, stored in held if stored):
            for key in ((CALLER, caller), (TENANT, "t"), (RECIPIENT, to)):
                taken[key].append((at, 1))
    for (limit, _), admitted in taken.items():
        assert worst_excess(three[limit], admitted) <= 0
