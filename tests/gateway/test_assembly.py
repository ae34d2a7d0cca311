"""What the parts of a node are built with."""

from __future__ import annotations

import pytest

from carrier.congestion import Sign
from carrier.link import SmppLink
from carrier.profile import CarrierProfile, Secret
from gateway.pipeline.linking import LinkMaker
from tests.carrier.driver import Driver


def test_the_links_of_an_account_share_its_pace() -> None:
    """What one bind of a carrier is told of congestion slows down all of them, and no other carrier's."""
    make = LinkMaker(Driver())
    acme, beta = make(_profile("acme")), make(_profile("beta"))
    one, other, apart = acme(0), acme(1), beta(0)
    assert isinstance(one, SmppLink)
    one.take_sign(Sign.TOO_MUCH, 0.0)
    assert one.pace == pytest.approx(250.0, rel=0.05)
    assert (other.pace, apart.pace) == (one.pace, 500.0)


def _profile(name: str) -> CarrierProfile:
    return CarrierProfile(name=name, host="h", port=1, system_id="s", password=Secret(b""), binds=2)
