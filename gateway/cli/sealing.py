"""`smsgw send --sealed`: the text leaves this process sealed to the node's payload key, as the client package does."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

from gateway.client import CALL_TIMEOUT_S
from smsgw.client.messages import Message
from smsgw.client.sealing import read_keys, seal
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # known to the stubs' types only


async def seal_text(stub: MessageServiceAsyncStub, message: pb.OutboundMessage) -> None:
    """Put a JWE in place of the message's text; it gets an idempotency key where it has none.

    Raises CannotSeal, and what the call raises.
    """
    response = await stub.GetPayloadKeys(api.GetPayloadKeysRequest(), timeout=CALL_TIMEOUT_S)
    given = Message(
        to=message.recipient,
        sender=message.sender,
        category=pb.Category.Name(message.category).removeprefix("CATEGORY_"),
        text=message.content.text,
        validity=message.validity.ToTimedelta() if message.HasField("validity") else None,
        not_before=message.not_before.ToDatetime(dt.UTC) if message.HasField("not_before") else None,
        idempotency_key=message.idempotency_key,
    )
    sealed = seal(given, read_keys(response, 0.0), time.time())
    message.content.sealed_jwe = sealed.sealed_jwe or ""
    message.idempotency_key = sealed.idempotency_key
