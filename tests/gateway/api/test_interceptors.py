"""Guards that need no server."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.interceptors import Call, MethodTableGuard
from gateway.errors import Unsupported


class Context:
    """As much of a call's context as is asked for."""

    def peer(self) -> str:
        """Return gRPC's name of the peer."""
        return "ipv4:127.0.0.1:1"


async def test_method_table_guard() -> None:
    """A call without a row is refused; one with a row gets it."""
    context: Any = Context()
    guard = MethodTableGuard()
    call = Call("/smsgw.v1.MessageService/SendMessage", context, (guard,))
    guard.enter(call)
    assert call.method.permission == "message:send"
    with pytest.raises(Unsupported):
        guard.enter(Call("/other.Service/Method", context, (guard,)))
