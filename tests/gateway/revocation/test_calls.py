"""The calls under way: who is refused and cut by a list, and all of them by a stale one."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.errors import GatewayError, Unauthenticated, Unavailable
from gateway.identity import Caller
from gateway.revocation.calls import RevokedCalls
from gateway.revocation.entries import DenyList
from tests.gateway.callers import caller
from tests.gateway.revocation.samples import certificate, deny_list

STOLEN = dataclasses.replace(caller(), serial="3d54", authority_key_id="1e44")
SEND, HEALTH = "/smsgw.v1.MessageService/SendMessage", "/grpc.health.v1.Health/Watch"


class UnderWay:
    """A call under way."""

    def __init__(self, who: Caller, name: str = SEND) -> None:
        self.caller = who
        self.name = name
        self.refusal: GatewayError | None = None

    def cut(self, refusal: GatewayError) -> None:
        """Write down why."""
        self.refusal = refusal


class Clocks:
    """Both clocks, in seconds."""

    def __init__(self) -> None:
        self.wall = self.monotonic = 1000.0

    def calls(self) -> RevokedCalls:
        """Return calls that go by them."""
        return RevokedCalls(DenyList(), lambda: self.wall, lambda: self.monotonic)


def test_a_new_entry_cuts_the_calls_of_its_identity_and_no_others() -> None:
    """The call of the revoked caller is cut, and told why; the other one goes on."""
    calls = RevokedCalls(DenyList())
    revoked, good = UnderWay(STOLEN), UnderWay(caller(spiffe_id="spiffe://example.org/demo/good"))
    for call in (revoked, good):
        calls.require(call)
        calls.begin(call)
    assert calls.apply(deny_list(certificate())) == 1
    assert isinstance(revoked.refusal, Unauthenticated)
    assert revoked.refusal.reason == "REVOKED"
    assert good.refusal is None
    with pytest.raises(Unauthenticated):
        calls.require(revoked)
    calls.require(good)
    calls.end(revoked)
    assert calls.apply(deny_list(certificate())) == 0


def test_a_stale_list_refuses_everybody_until_it_is_fresh() -> None:
    """Every call is refused, with a reason that says to come back; health may be asked, which says no."""
    clocks = Clocks()
    calls, asked = clocks.calls(), UnderWay(caller())
    calls.require(asked)  # a publisher's list does not grow stale
    calls.fresh_until(1060.0, 60.0)
    clocks.wall = clocks.monotonic = 1060.0
    calls.require(asked)
    clocks.wall = clocks.monotonic = 1060.1
    assert calls.stale
    with pytest.raises(Unavailable) as refused:
        calls.require(asked)
    assert refused.value.reason == "DENY_LIST_STALE"
    calls.require(UnderWay(caller(), HEALTH))
    calls.fresh_until(1120.0, 60.0)
    calls.require(asked)


def test_revoked_counts_before_stale() -> None:
    """Whoever is revoked learns that, and may not ask for the health either."""
    clocks = Clocks()
    calls = clocks.calls()
    calls.apply(deny_list(certificate()))
    calls.fresh_until(0.0, 0.0)
    clocks.monotonic += 1
    with pytest.raises(Unauthenticated):
        calls.require(UnderWay(STOLEN, HEALTH))


@pytest.mark.parametrize(("wall", "monotonic"), [(900.0, 1060.1), (1060.1, 1001.0)])
def test_neither_clock_alone_keeps_a_list_fresh(wall: float, monotonic: float) -> None:
    """A clock that is set back makes nothing fresh, nor does one that stood still while the machine slept."""
    clocks = Clocks()
    calls = clocks.calls()
    calls.fresh_until(1060.0, 60.0)
    clocks.wall, clocks.monotonic = wall, monotonic
    with pytest.raises(Unavailable):
        calls.require(UnderWay(caller()))


def test_going_stale_cuts_all_but_health() -> None:
    """Streams do not outlive what is known of their callers."""
    calls = RevokedCalls(DenyList())
    stream, health = UnderWay(caller()), UnderWay(caller(), HEALTH)
    for call in (stream, health):
        calls.begin(call)
    assert calls.cut_stale() == 1
    assert isinstance(stream.refusal, Unavailable)
    assert health.refusal is None
