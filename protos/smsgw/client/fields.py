"""The fields of a message as keyword arguments: what `send` takes in place of a Message."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TypedDict

from smsgw.client.messages import Binary, Category, Message


class MessageFields(TypedDict, total=False):
    """What `Message` is built from, and means there."""

    to: str
    sender: str
    category: Category | str
    text: str
    binary: Binary
    sealed_jwe: str
    sealed: bool
    validity: dt.timedelta
    not_before: dt.datetime
    idempotency_key: str
    client_reference: str
    labels: Mapping[str, str]


def message_of(message: Message | None, fields: MessageFields) -> Message:
    """Return the message that was given whole, or by its fields. Raises TypeError for both, or for missing fields."""
    if message is None:
        return Message(**fields)
    if fields:
        raise TypeError("give a Message or its fields, not both")
    return message
