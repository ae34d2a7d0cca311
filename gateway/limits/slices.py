"""The slices of limits that nodes have which share a database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.limits.messages import MessageLimits


class Nodes(Protocol):
    """Who is there."""

    @property
    def nodes(self) -> int:
        """How many nodes there are, this one included."""


def sharing_of(nodes: Nodes, limits: MessageLimits) -> Callable[[], Awaitable[None]]:
    """Return what is to be done when nodes come or go."""

    async def share() -> None:
        limits.share(nodes.nodes)

    return share
