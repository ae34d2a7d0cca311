"""smsgw.v1.NodeService: what an operator does to the node as a whole."""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.api.interceptors import Context, current_call
from gateway.api.operating import Acts, reason_of
from gateway.audit.records import Record
from smsgw.v1 import node_service_pb2 as pb
from smsgw.v1.node_service_pb2_grpc import NodeServiceServicer


class Configuration(Protocol):
    """What is needed of `gateway.reloading.Reloader`."""

    async def reload(self, audit: Sequence[Record] = ()) -> list[str]:
        """Take over what has changed in the file; return what that is. Raises InvalidRequest."""


class NodeService(NodeServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, configuration: Configuration, acts: Acts) -> None:
        self._configuration = configuration
        self._acts = acts

    async def ReloadConfiguration(
        self, request: pb.ReloadConfigurationRequest, context: Context
    ) -> pb.ReloadConfigurationResponse:
        """Take over what has changed in the configuration file."""
        call, reason = current_call.get(), reason_of(request.reason, required=False)
        record = self._acts.record(call, "configuration reloaded", reason=reason)
        changes = await self._acts.do(record, self._configuration.reload)
        return pb.ReloadConfigurationResponse(changes=changes)
