"""Which carriers are to be given nothing at present, because an operator says so.

The router asks before it chooses; whoever changes it (`gateway.pipeline.fleet`) makes the change durable first. Pure:
no clock, no store, no links.
"""

from __future__ import annotations


class CarrierSwitches:
    """The carriers that are switched off. Belongs to one event loop."""

    __slots__ = ("closed",)

    def __init__(self) -> None:
        self.closed: set[str] = set()  # names; the router looks into it for each batch

    def close(self, carrier: str) -> None:
        """Give this carrier nothing new from now on; what it has been given stays there."""
        self.closed.add(carrier)

    def open(self, carrier: str) -> None:
        """Let the carrier take messages again."""
        self.closed.discard(carrier)
