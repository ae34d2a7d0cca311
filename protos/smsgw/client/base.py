"""What both clients have in common: whom they call, as whom, and how they retry."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from smsgw.client.flow import FlowOptions
from smsgw.client.identity import IdentitySource, default_source
from smsgw.client.link import Link
from smsgw.client.retrying import Attempts, RetryBudget, RetryPolicy
from smsgw.client.sealing import PayloadKeys
from smsgw.client.server import Server
from smsgw.client.tracing import metadata


class Channels(Protocol):
    """What is exchanged when the identity changes."""

    rotations: int


ChannelsT = TypeVar("ChannelsT", bound=Channels)


class Base(Generic[ChannelsT]):
    """A client, whoever drives it."""

    def __init__(
        self,
        target: str,
        *,
        server_id: str,
        identity: IdentitySource | None = None,
        server_name: str | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Args:
        target: the gateway's address, host:port.
        server_id: its SPIFFE ID: whoever else answers gets nothing.
        identity: where our SVID comes from; what the environment names when left out (`default_source`).
        server_name: a DNS name that its certificate has to carry too; any when left out.
        retry: when failed calls are made again.
        """
        self._server = Server.parse(target, server_id, server_name)
        self._retry = retry or RetryPolicy()
        self._budget = RetryBudget(self._retry.budget)
        self._payload_keys: PayloadKeys | None = None  # that content is sealed to, as long as they may be kept
        self._channels = self._over(Link(self._server, identity or default_source()))

    def _over(self, link: Link) -> ChannelsT:
        """Return the channels of this sort of client."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.target!r}, server_id={str(self._server.spiffe_id)!r})"

    @property
    def rotations(self) -> int:
        """How often a changed identity was taken into use."""
        return self._channels.rotations

    def _attempts(self, deadline: float) -> Attempts:
        return Attempts(self._retry, self._budget, deadline=deadline, repeatable=True)

    def _flow(self, patience_s: float, frame_size: int, traceparent: str | None) -> FlowOptions:
        return FlowOptions(
            policy=self._retry,
            budget=self._budget,
            patience_s=patience_s,
            frame_size=frame_size,
            metadata=metadata(traceparent),
        )
