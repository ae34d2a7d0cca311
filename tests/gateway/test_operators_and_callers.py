"""Every RPC that there is, called by the wrong sort of identity: callers never operate, and operators never send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.api.methods import METHODS, Method
from gateway.audit.records import Decision
from gateway.policy.requests import ADMIN_GROUPS, PEER_GROUPS
from tests.appliance import OPERATOR, TENANT, TRUST_DOMAIN, Appliance, run
from tests.gateway.api.refusals import from_error
from tests.gateway.operation import Operation, configure, operating, rewrite

NODE = f"spiffe://{TRUST_DOMAIN}/gateway-2"
CALLER = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-0"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("sorts") / "site", operator=True)


@pytest.fixture
async def operation(appliance: Appliance) -> AsyncIterator[Operation]:
    """Run a node without a carrier."""
    configure(appliance, {})
    async with operating(appliance, {}) as running:
        yield running


def issue_node(appliance: Appliance) -> None:
    """Issue the SVID of another node."""
    configure(appliance, {})
    out = appliance.folder / "pki" / "node-2"
    run("ca", "issue", "--dir", str(appliance.folder / "ca"), "--spiffe-id", NODE, "--out", str(out))


async def call(channel: Any, method: Method) -> tuple[grpc.StatusCode, str]:
    """Call a method with an empty request, untyped; the code and the stable reason that it ends with."""
    try:
        if method.request_stream:
            async for _ in channel.stream_stream(method.name)(iter([b""]), timeout=30):
                pass
        elif method.response_stream:
            async for _ in channel.unary_stream(method.name)(b"", timeout=30):
                pass
        else:
            await channel.unary_unary(method.name)(b"", timeout=30)
    except grpc.aio.AioRpcError as error:
        refused = from_error(error)
        return refused.code, refused.reason
    return grpc.StatusCode.OK, ""


async def test_every_method_by_the_wrong_identity(operation: Operation) -> None:
    """Each refusal comes before the request is read, names why, and is on record under who it was."""
    operate = [method for method in METHODS.values() if method.permission.startswith((ADMIN_GROUPS, PEER_GROUPS))]
    send = [method for method in METHODS.values() if method not in operate]
    assert len(operate) >= 17
    assert len(send) >= 11
    denied = grpc.StatusCode.PERMISSION_DENIED
    stranger = operation.channel("caller-0", operation.node.admin_address)
    assert {method.name: await call(stranger, method) for method in operate} == {
        method.name: (denied, "NOT_AN_OPERATOR") for method in operate
    }
    operator = operation.channel("operator", operation.node.api_address)
    assert {method.name: await call(operator, method) for method in send} == {
        method.name: (denied, "OPERATOR_IDENTITY") for method in send
    }
    assert await operation.acts() == []
    told = {
        (record.caller, record.reason)
        for record in await operation.records()
        if isinstance(record, Decision) and not record.allowed
    }
    assert told == {(CALLER, "NOT_AN_OPERATOR"), (OPERATOR, "OPERATOR_IDENTITY")}


async def test_other_nodes_and_operators_do_nothing_of_each_others(appliance: Appliance) -> None:
    """A node that may follow the deny list fetches it, and does nothing else; an operator does not fetch it. No policy
    is asked, so that whoever tries raises no alert about policies."""
    issue_node(appliance)
    rewrite(appliance, lambda document: document.update(revocation={**document["revocation"], "followers": [NODE]}))
    async with operating(appliance, {}) as operation:
        node = operation.channel("node-2", operation.node.admin_address)
        operator = operation.channel("operator", operation.node.admin_address)
        for method in METHODS.values():
            if method.permission.startswith(ADMIN_GROUPS):
                assert await call(node, method) == (grpc.StatusCode.PERMISSION_DENIED, "NODE_IDENTITY")
            if method.permission.startswith(PEER_GROUPS):
                assert await call(operator, method) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_A_NODE")
        sends = operation.channel("node-2", operation.node.api_address)
        assert await call(sends, METHODS["/smsgw.v1.MessageService/SendMessage"]) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "NODE_IDENTITY",
        )
        fetched = METHODS["/smsgw.v1.RevocationService/GetDenyList"]
        assert await call(node, fetched) == (grpc.StatusCode.OK, "")
        assert (await operation.node.snapshot())["alerts"] == []


async def test_services_are_where_they_belong(operation: Operation) -> None:
    """The right identity finds no service of the other sort on its address, and those of its own are there."""
    operator = operation.channel("operator", operation.node.admin_address)
    caller = operation.channel("caller-0", operation.node.api_address)
    for method in METHODS.values():
        operates = method.permission.startswith((ADMIN_GROUPS, PEER_GROUPS))
        if not method.name.endswith("/Watch"):  # which ends when the node does
            here, there = (operator, caller) if operates else (caller, operator)
            assert (await call(there, method))[0] is grpc.StatusCode.UNIMPLEMENTED, method.name
            if not (method.response_stream or method.request_stream):
                assert (await call(here, method))[0] is not grpc.StatusCode.UNIMPLEMENTED, method.name
