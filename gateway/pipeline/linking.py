"""Making the links of carriers: those of one carrier share one pace."""

from __future__ import annotations

import time
from collections.abc import Callable

from carrier.contract import Link, LinkListener
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile


class LinkMaker:
    """Makes links that tell `listener`, and ask `may_write` before they write. Belongs to one event loop."""

    def __init__(self, listener: LinkListener, may_write: Callable[[], bool] = lambda: True) -> None:
        self._listener = listener
        self._may_write = may_write
        self._pacers: dict[str, Pacer] = {}

    def __call__(self, profile: CarrierProfile) -> Callable[[int], Link]:
        """Return what makes the links of a carrier by their numbers."""
        pacer = self._pacers[profile.name] = Pacer(profile.rate_pdus_s, now_ns=time.monotonic_ns())
        return lambda number: SmppLink(profile, number, self._listener, pacer, may_write=self._may_write)

    def pace(self, carrier: str, part: float) -> None:
        """Keep to this part of a carrier's rate: other nodes have the rest. Nothing is sent where it is 0."""
        if part:
            self._pacers[carrier].share(part)
